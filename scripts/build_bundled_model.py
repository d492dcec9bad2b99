"""Build the model inside the package, and its card.

    python scripts/build_bundled_model.py [--run RUN]

Trains the recipe `small` with seed 0, fixed beforehand, or takes a run that did; calibrates it; exports
it with its check; measures both; writes `src/mnistctl/bundled/` and `docs/model-card.md`, which is also
in the files' own metadata. MNIST must be in the data folder, and `pip install --group measure` done.
"""

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import measure_rejection
import mnistctl
from build_sizes import count
from mnistctl import datasets
from mnistctl.api import models
from mnistctl.errors import UsageError
from mnistctl.evaluation.report import Report
from mnistctl.models import checkpoint, formats
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.nn import calibration, nets, outliers, torch_predictor
from mnistctl.settings import recipes
from mnistctl.system import files

RECIPE, SEED = "small", 0
CARD = Path(__file__).parents[1] / "docs" / "model-card.md"
EACH = 1_000  # pictures of each kind that is to be refused
MOST_BYTES, MOST_PARAMETERS, LEAST_ACCURACY = 2_500_000, 300_000, 0.9975


def trained(run: str | None) -> Checkpoint:
    """The checkpoint of the run that is named, or of a new one."""
    wanted = recipes.find_recipe(RECIPE).replace(seed=SEED, dataset="mnist").to_json()
    if run is None:
        run = mnistctl.train(recipe=RECIPE, seed=SEED, dataset="mnist", plots=False).run
    found = checkpoint.load(models.find(run))
    differs = [name for name, value in wanted.items() if found.metadata.config.get(name) != value]
    if differs:
        raise UsageError(f"{run}: not the recipe '{RECIPE}' with seed {SEED}: {differs[0]} differs")
    return calibrated(found)


def calibrated(found: Checkpoint) -> Checkpoint:
    """The same net, calibrated as this version does it, whichever trained it."""
    train, validation = datasets.load_for_training("mnist")
    net = torch_predictor.from_checkpoint(found, device=torch.device("cpu")).reader.get_submodule("net")
    reader, metadata = calibration.complete(
        net,
        found.metadata,
        train,
        validation,
        images_seen=found.metadata.metrics["steps"] * found.metadata.config["batch_size"],
    )
    return Checkpoint(found.path, metadata, torch_predictor.state_of(reader), "")


def card(model: Checkpoint, report: Report, refusal: dict[str, Any]) -> Iterator[str]:
    """The model card's lines."""
    about = model.metadata
    config = recipes.find_recipe(RECIPE)
    shapes = nets.build_shapes(about.arch, arch_args=about.arch_args, classes=len(about.class_names))
    low, high = report.accuracy_interval
    made = {name: about.versions[name] for name in ("mnistctl", "torch", "numpy", "python")}
    yield from (
        "# Model card: the digit reader inside mnistctl",
        "",
        "Reads one handwritten digit, 28×28 grey pixels, and says how sure it is and how much the "
        "picture looks like a digit at all. Made by `python scripts/build_bundled_model.py`; every "
        "figure here was measured by that script on the very weights it describes.",
        "",
        "| | |",
        "| --- | --- |",
        f"| net | `{about.arch}`: {json.dumps(about.arch_args)} |",
        f"| parameters | {about.parameters:,}, of which {count(shapes)[0]:,} of the net |",
        f"| multiply-adds an image | {count(shapes)[1] / 1e6:.1f} million for the net |",
        "| takes | `images`: uint8 (batch, 28, 28), 0 = paper, 255 = ink |",
        "| gives | `logits` and `probabilities`: float32 (batch, 10); `familiarity`: float32 (batch,) |",
        f"| trained on | MNIST's {60_000 - about.calibration_images:,} training images that are not "
        f"validation; raw data SHA-256 `{about.dataset['sha256']}` |",
        f"| recipe | `{RECIPE}`, seed {SEED}, fixed beforehand; {config.epochs:g} epochs, "
        f"{about.metrics['train_seconds']:.0f} s; the model is that of epoch "
        f"{about.metrics['epoch']}, the best on validation |",
        f"| made with | {', '.join(f'{name} {version}' for name, version in made.items())} |",
        f"| temperature | {about.temperature:.4f}, fitted on {about.calibration_images:,} validation "
        "images |",
        f"| refuses | below `familiarity` {about.threshold:.4f}: that is {100 * calibration.REJECTED:g}% of "
        "the validation images |",
        "",
        "## How well it reads",
        "",
        f"**{100 * report.accuracy:.2f}%** of the {report.images:,} test images of MNIST (95% interval "
        f"{100 * low:.2f} to {100 * high:.2f}); cross-entropy {report.loss:.4f}. On the validation "
        f"images {100 * about.metrics['validation_accuracy']:.2f}%. The test images chose nothing: "
        "neither settings, nor epoch, nor temperature, nor threshold.",
        "",
        "| digit | images | precision | recall | F1 |",
        "| --- | --- | --- | --- | --- |",
    )
    for row in report.per_class:
        figures = " | ".join(f"{100 * row[name]:.2f}%" for name in ("precision", "recall", "f1"))
        yield f"| {row['label']} | {row['images']:,} | {figures} |"
    pairs = (f"{row['label']} as {row['predicted']} ({row['images']})" for row in report.most_confused)
    yield from (
        "",
        f"Most confused: {', '.join(pairs)}.",
        "",
        "## How far its probabilities hold",
        "",
        f"Expected calibration error on the test images, 15 bins: "
        f"**{100 * report.calibration_error:.2f}%**.",
        "",
        "| said to be | images | right |",
        "| --- | --- | --- |",
    )
    for row in report.reliability:
        yield (f"| {100 * row['confidence']:.1f}% | {row['images']:,} | {100 * row['accuracy']:.1f}% |")
    yield from (
        "",
        "## What it refuses",
        "",
        "Measured by `scripts/measure_rejection.py`, on letters, fonts and generators other than those "
        "that it was fitted on. Letters that look like a digit are left out: the script lists them.",
        "",
        *measure_rejection.render(refusal),
        "",
        "## How much it bears",
        "",
        "`mnistctl eval bundled --robustness`: accuracy on spoilt test images.",
        "",
        "| corruption | strength: accuracy |",
        "| --- | --- |",
    )
    lines: dict[str, list[str]] = {}
    for row in report.robustness:
        name = f"{row['corruption']}, {row['unit']}".removesuffix(", ")
        lines.setdefault(name, []).append(f"{row['strength']:g}: {100 * row['accuracy']:.2f}%")
    for name, shares in lines.items():
        yield f"| {name} | {', '.join(shares)} |"
    yield from (
        "",
        "## What it is for, and what not",
        "",
        "- For single digits, upright, 0 to 9, written by hand, on paper that has been told from the "
        "ink: `mnistctl predict` does that. Printed digits are often read too; its data had none.",
        "- MNIST was written by employees of the American Census Bureau and by American pupils, around "
        "1990. Other habits (a 1 with a long upstroke, a crossed 7, other numerals) are rarer there "
        "or missing, so expect more mistakes.",
        "- It knows nothing of context: a postcode or a sum of money deserves a check of its own. Do "
        "not let it decide alone where a misread digit does harm.",
        f"- `familiarity` was fitted to {len(outliers.LETTERS)} letters and signs, scribbles, noise, blank "
        "paper, lines, textures, pairs and pieces of digits. What is like none of these, nor like a "
        "digit, may still pass.",
        "- Faint, inverted or strongly blurred images are beyond it, as the table above shows.",
        "",
        "## Where it comes from",
        "",
        "Data: MNIST, LeCun, Cortes and Burges, of NIST's Special Databases 1 and 3. Letters for "
        "fitting `familiarity`: DejaVu fonts, as matplotlib ships them. The model is under the licence of "
        "mnistctl.",
    )


def main() -> None:
    """Train or take, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", help="a finished run of the recipe with that seed")
    asked = parser.parse_args()
    model = trained(asked.run)
    digits = datasets.load("mnist", "test")
    with tempfile.TemporaryDirectory() as folder:
        unfinished, exported = Path(folder) / "model.safetensors", Path(folder) / "model.onnx"
        checkpoint.save(unfinished, model.tensors, model.metadata)
        mnistctl.export(unfinished, output=exported)
        report = mnistctl.evaluate(exported, robustness=True)
        refusal = measure_rejection.measure(models.open_predictor(exported), digits, each=EACH)
    text = "\n".join(card(model, report, refusal)) + "\n"
    metadata = dataclasses.replace(model.metadata, card=text)
    target = models.bundled(formats.SAFETENSORS)
    files.make_folder(target.parent)
    checkpoint.save(target, model.tensors, metadata)
    mnistctl.export(target, output=models.bundled(formats.ONNX), force=True)
    files.write_bytes(CARD, text.encode())
    size = sum(models.bundled(name).stat().st_size for name in (formats.SAFETENSORS, formats.ONNX))
    print(text)
    for what, value, holds in (
        ("bytes", size, size <= MOST_BYTES),
        ("parameters", metadata.parameters, metadata.parameters <= MOST_PARAMETERS),
        ("test accuracy", report.accuracy, report.accuracy >= LEAST_ACCURACY),
    ):
        print(f"{what}: {value:,}{'' if holds else '  NOT WITHIN ITS LIMIT'}")


if __name__ == "__main__":
    main()
