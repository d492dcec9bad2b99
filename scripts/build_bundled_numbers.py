"""Build the model for numbers inside the package, and its card.

    python scripts/build_bundled_numbers.py [--run RUN | --keep-weights]

The script trains the recipe `numbers` with seed 0 (both fixed beforehand), or takes a finished run of
it. With --keep-weights it keeps the bundled model's weights and calibration. It measures the model,
exports it, and writes both files to `src/mnistctl/bundled/` and the card to
`docs/reference/model-card-numbers.md`. The card is also in the metadata of both files. MNIST must be
in the data folder, and the dependency group `measure` must be installed.
"""

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

import bundled_source
import measure_numbers
import mnistctl
from bundled_source import SEED
from mnistctl import datasets
from mnistctl.api import models
from mnistctl.evaluation.detection import NumbersReport
from mnistctl.models import checkpoint, formats
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.models.metadata import Metadata
from mnistctl.nn import tasks
from mnistctl.settings import recipes
from mnistctl.settings.architectures import NUMBERS
from mnistctl.system import files

RECIPE = "numbers"
CARD = Path(__file__).parents[1] / "docs" / "reference" / "model-card-numbers.md"
MAX_BYTES = 6_300_000  # both files; compressed in the wheel, at most 6 MB


def calibrate(trained: Checkpoint) -> Checkpoint:
    """The same network, calibrated by this version of mnistctl."""
    splits = datasets.load_for_training("mnist")
    task = tasks.build(recipes.find_recipe(RECIPE), *splits, device=torch.device("cpu"))
    return task.calibrate(trained, images_seen=0)


def card(metadata: Metadata, report: NumbersReport, strings: list[str]) -> Iterator[str]:
    """The lines of the model card."""
    yield from (
        "# Model card: the bundled model for numbers of mnistctl",
        "",
        "The model finds the handwritten digits in a grey picture: a box, a label and a score for "
        "each. `mnistctl predict --numbers` reads lines and words from them. "
        "`python scripts/build_bundled_numbers.py` made this card and measured every number in it on "
        "exactly these weights.",
        "",
    )
    yield from facts(metadata)
    yield from (
        "",
        "## Digits on composed pages",
        "",
        f"`mnistctl eval bundled-numbers`: {report.pages:,} pages composed of MNIST's test images, "
        "drawn templates and fonts, with printed paper, letters, and digits cut off by the edge. A "
        "digit is found if the box overlaps its own by half of their union.",
        "",
        "| precision | recall | F1 | found, whatever the label | pages without an error |",
        "| --- | --- | --- | --- | --- |",
        f"| {100 * report.precision:.2f}% | {100 * report.recall:.2f}% | {100 * report.f1:.2f}% "
        f"| {100 * report.detection_recall:.2f}% | {100 * report.page_accuracy:.1f}% |",
        "",
        "## Strings in composed pictures",
        "",
        "`python scripts/measure_numbers.py`, which reads as `mnistctl predict --numbers` does: with "
        "the bundled classifier of single digits, which reads every digit once more.",
        "",
        *strings,
    )
    yield from limitations()


def facts(metadata: Metadata) -> Iterator[str]:
    """The table of facts about the model."""
    settings = recipes.find_recipe(RECIPE)
    packages = ("mnistctl", "torch", "numpy", "python")
    pages = int(metadata.metrics["steps"] or 0) * settings.batch_size
    minutes = float(metadata.metrics["train_seconds"] or 0) / 60
    yield from (
        "| | |",
        "| --- | --- |",
        f"| architecture | `{metadata.arch}`: {json.dumps(metadata.arch_args)} |",
        f"| parameters | {metadata.parameters:,} |",
        "| input | `pages`: uint8 (batch, height, width), 0 = paper, 255 = ink; height and width are "
        "multiples of 16 |",
        "| output | `scores`: float32 (batch, 10, height / 4, width / 4); `boxes`: float32 "
        "(batch, 4, height / 4, width / 4) |",
        f"| training data | {pages:,} pages composed of {60_000 - 5_000:,} training images of MNIST "
        "and of digits drawn from templates; SHA-256 of the raw data "
        f"`{metadata.dataset['sha256']}` |",
        f"| training | recipe `{RECIPE}`, seed {SEED}, both fixed beforehand; "
        f"{minutes:.0f} minutes on two cores |",
        f"| versions | {', '.join(f'{name} {metadata.versions[name]}' for name in packages)} |",
        f"| calibration | temperature {metadata.temperature:.4f}; a score below "
        f"{metadata.threshold:.2f} is no digit; both fitted on {metadata.calibration_images:,} pages "
        "of validation images |",
    )


def limitations() -> Iterator[str]:
    """The sections on use and sources."""
    yield from (
        "",
        "## Intended use and limitations",
        "",
        "- The model is for handwritten digits from 0 to 9 in upright pictures: fields of forms, "
        "amounts, lists, pages. It reads digits best where they are 12 to 60 pixels high; `predict "
        "--numbers` looks at a picture in several sizes.",
        "- It was trained on composed pages alone. In real photographs it makes more mistakes than the "
        "tables above show, most of all with faint pencil, with thick borders close to the digits, and "
        "with digits that run into each other.",
        "- Letters that look like a digit (O, l, I, S, B, Z) may be read as one. So may other strokes.",
        "- The model has no context. Check postcodes and sums of money by other means. Do not let the "
        "model decide alone where a misread digit does harm.",
        "",
        "## Sources",
        "",
        "Data: MNIST by LeCun, Cortes and Burges, from NIST's Special Databases 1 and 3. Other shapes "
        "of digits: templates that are part of mnistctl. The model has the licence of mnistctl.",
    )


def write(model: Checkpoint) -> None:
    """Evaluate the model; write both files and the card."""
    with tempfile.TemporaryDirectory() as folder:
        unfinished, exported = Path(folder) / "numbers.safetensors", Path(folder) / "numbers.onnx"
        checkpoint.save(unfinished, model.tensors, model.metadata)
        mnistctl.export(unfinished, output=exported)
        report = mnistctl.evaluate(exported, plots=False)
        assert isinstance(report, NumbersReport)
        strings = list(measure_numbers.measure(str(exported), each=2_000, pages=60, without=400))
    text = "\n".join(card(model.metadata, report, strings)) + "\n"
    target = models.bundled(formats.SAFETENSORS, task=NUMBERS)
    checkpoint.save(target, model.tensors, dataclasses.replace(model.metadata, card=text))
    mnistctl.export(target, output=models.bundled(formats.ONNX, task=NUMBERS), force=True)
    files.write_bytes(CARD, text.encode())
    print(text)
    kinds = (formats.SAFETENSORS, formats.ONNX)
    size = sum(models.bundled(name, task=NUMBERS).stat().st_size for name in kinds)
    print(f"bytes: {size:,}{'' if size <= MAX_BYTES else '  OUTSIDE ITS LIMIT'}")


def main() -> None:
    """Train a model, or take one; evaluate it and write the files."""
    arguments = bundled_source.parse_options(__doc__)
    if arguments.keep_weights:
        write(checkpoint.load(models.bundled(formats.SAFETENSORS, task=NUMBERS)))
    else:
        write(calibrate(bundled_source.train(RECIPE, arguments.run)))


if __name__ == "__main__":
    main()
