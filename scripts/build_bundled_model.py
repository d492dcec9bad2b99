"""Build the model inside the package, and its card.

    python scripts/build_bundled_model.py [--run RUN | --keep-weights]

The script trains the recipe `small` with seed 0 (both fixed beforehand), or takes a finished run of
it. Then it calibrates the model. With --keep-weights it keeps the bundled model's weights and
calibration, and measures its validation losses again. The script exports the model, evaluates both
files, and writes `src/mnistctl/bundled/` and `docs/reference/model-card.md`. The card is also in the
metadata of both files. MNIST must be in the data folder, and the dependency group `measure` must be
installed.
"""

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import bundled_source
import measure_rejection
import mnistctl
from build_sizes import count
from bundled_source import SEED
from mnistctl import datasets
from mnistctl.api import models
from mnistctl.api.training import session
from mnistctl.evaluation.metrics import cross_entropy
from mnistctl.evaluation.report import Report
from mnistctl.models import checkpoint, formats
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import predict_all
from mnistctl.nn import calibration, nets, outliers, torch_predictor
from mnistctl.settings import recipes
from mnistctl.system import files

RECIPE = "small"
CARD = Path(__file__).parents[1] / "docs" / "reference" / "model-card.md"
PICTURES_PER_KIND = 1_000  # pictures that must be rejected
MAX_BYTES, MAX_PARAMETERS, MIN_ACCURACY = 2_500_000, 300_000, 0.9975


def calibrate(trained: Checkpoint) -> Checkpoint:
    """The same network, calibrated by this version of mnistctl."""
    settings = recipes.find_recipe(RECIPE).replace(seed=SEED, dataset="mnist")
    train_split, validation_split = session.load_splits(settings, None, None)
    predictor = torch_predictor.from_checkpoint(trained, device=torch.device("cpu"))
    classifier, metadata = calibration.calibrate(
        predictor.classifier.get_submodule("net"),
        trained.metadata,
        train_split,
        validation_split,
        images_seen=trained.metadata.metrics["steps"] * trained.metadata.config["batch_size"],
    )
    return Checkpoint(trained.path, metadata, torch_predictor.to_arrays(classifier), "")


def keep(bundled: Checkpoint) -> Checkpoint:
    """The bundled model, with its parameters counted and its validation losses measured again."""
    _, split = datasets.load_for_training("mnist")
    predictor = torch_predictor.from_checkpoint(bundled, device=torch.device("cpu"))
    outputs = predict_all(predictor, split.images, batch_size=500)
    before = torch.softmax(torch.from_numpy(outputs.logits), dim=1).numpy()
    sizes = dict.fromkeys(("net", "familiarity"), 0)
    for name, parameter in predictor.classifier.named_parameters():
        sizes[name.split(".")[0]] += parameter.numel()
    metadata = dataclasses.replace(
        bundled.metadata,
        parameters=sizes["net"],
        familiarity_parameters=sizes["familiarity"],
        metrics=bundled.metadata.metrics
        | {
            "validation_loss": cross_entropy(before, split.labels),
            "calibrated_validation_loss": cross_entropy(outputs.probabilities, split.labels),
        },
    )
    return dataclasses.replace(bundled, metadata=metadata)


def card(metadata: Metadata, report: Report, rejection: dict[str, Any]) -> Iterator[str]:
    """The lines of the model card."""
    yield from (
        "# Model card: the bundled digit classifier of mnistctl",
        "",
        "The model reads one handwritten digit from a 28×28 grey image. It returns a probability for "
        "each digit, and how much the image resembles a digit at all (`familiarity`). "
        "`python scripts/build_bundled_model.py` made this card and measured every number in it on "
        "exactly these weights.",
        "",
    )
    yield from facts(metadata)
    yield from accuracy(metadata, report)
    yield from calibration_section(report)
    yield from (
        "",
        "## Rejection",
        "",
        "Measured by `scripts/measure_rejection.py`, with fonts and generators that were not used to "
        "fit `familiarity`. Letters that look like a digit are left out; the script lists "
        "them.",
        "",
        *measure_rejection.render(rejection),
    )
    yield from robustness(report)
    yield from limitations()


def facts(metadata: Metadata) -> Iterator[str]:
    """The table of facts about the model."""
    settings = recipes.find_recipe(RECIPE)
    net = nets.build_shapes(
        metadata.arch, arch_args=metadata.arch_args, classes=len(metadata.class_names)
    )
    _, multiply_adds = count(net)
    packages = ("mnistctl", "torch", "numpy", "python")
    rejected = f"{100 * calibration.REJECTED_SHARE:g}%"
    yield from (
        "| | |",
        "| --- | --- |",
        f"| architecture | `{metadata.arch}`: {json.dumps(metadata.arch_args)} |",
        f"| parameters | {metadata.parameters:,} in the network, "
        f"{metadata.familiarity_parameters:,} for `familiarity` |",
        f"| multiply-adds per image | {multiply_adds / 1e6:.1f} million in the network |",
        "| input | `images`: uint8 (batch, 28, 28), 0 = paper, 255 = ink |",
        "| output | `logits` and `probabilities`: float32 (batch, 10); `familiarity`: float32 (batch,) "
        "|",
        f"| training data | {60_000 - metadata.calibration_images:,} training images of MNIST, without "
        f"the validation images; {settings.variants:,} digits drawn from templates and from the fonts "
        "of [fonts.md](fonts.md); the training images of the bundled dataset `digits`; SHA-256 of the "
        f"raw data of MNIST `{metadata.dataset['sha256']}` |",
        f"| training | recipe `{RECIPE}`, seed {SEED}, both fixed beforehand; {settings.epochs:g} "
        f"epochs, {metadata.metrics['train_seconds']:.0f} s; epoch {metadata.metrics['epoch']} was the "
        "best on validation |",
        f"| versions | {', '.join(f'{name} {metadata.versions[name]}' for name in packages)} |",
        f"| temperature | {metadata.temperature:.4f}, fitted on {metadata.calibration_images:,} "
        "validation images |",
        f"| rejection | `familiarity` below {metadata.threshold:.4f}, which rejects {rejected} of the "
        "validation images |",
    )


def accuracy(metadata: Metadata, report: Report) -> Iterator[str]:
    """The section on accuracy."""
    low, high = report.accuracy_interval
    validation_accuracy = metadata.metrics["validation_accuracy"]
    assert validation_accuracy is not None  # the recipe holds out validation images
    yield from (
        "",
        "## Accuracy",
        "",
        f"**{100 * report.accuracy:.2f}%** of the {report.images:,} test images of MNIST (95% interval "
        f"{100 * low:.2f} to {100 * high:.2f}); cross-entropy {report.loss:.4f}. On the validation "
        f"images: {100 * validation_accuracy:.2f}%. The test images were not used "
        "to choose settings, epoch, temperature or threshold.",
        "",
        "| digit | images | precision | recall | F1 |",
        "| --- | --- | --- | --- | --- |",
    )
    for row in report.per_class:
        shares = " | ".join(f"{100 * row[name]:.2f}%" for name in ("precision", "recall", "f1"))
        yield f"| {row['label']} | {row['images']:,} | {shares} |"
    pairs = (f"{row['label']} as {row['predicted']} ({row['images']})" for row in report.most_confused)
    yield from ("", f"Most confused: {', '.join(pairs)}.")


def calibration_section(report: Report) -> Iterator[str]:
    """The section on calibration."""
    yield from (
        "",
        "## Calibration",
        "",
        f"Expected calibration error on the test images, 15 bins: "
        f"**{100 * report.calibration_error:.2f}%**.",
        "",
        "| mean probability | images | correct |",
        "| --- | --- | --- |",
    )
    for row in report.reliability:
        yield f"| {100 * row['confidence']:.1f}% | {row['images']:,} | {100 * row['accuracy']:.1f}% |"


def robustness(report: Report) -> Iterator[str]:
    """The section on corrupted images."""
    yield from (
        "",
        "## Robustness",
        "",
        "Accuracy on corrupted test images (`mnistctl eval bundled --robustness`).",
        "",
        "| corruption | strength: accuracy |",
        "| --- | --- |",
    )
    by_corruption: dict[str, list[str]] = {}
    for row in report.robustness:
        name = f"{row['corruption']}, {row['unit']}".removesuffix(", ")
        by_corruption.setdefault(name, []).append(f"{row['strength']:g}: {100 * row['accuracy']:.2f}%")
    for name, shares in by_corruption.items():
        yield f"| {name} | {', '.join(shares)} |"


def limitations() -> Iterator[str]:
    """The sections on use and sources."""
    yield from (
        "",
        "## Intended use and limitations",
        "",
        "- The model is for single, upright digits from 0 to 9, handwritten or printed, cropped and "
        "centred without the paper. `mnistctl predict` prepares pictures in this way.",
        "- Employees of the American Census Bureau and American pupils wrote MNIST around 1990, and "
        "people in Turkey the bundled digits. Other writing habits (a 1 with a long upstroke, a "
        "crossed 7) are known to the model from drawn digits only, other numerals not at all. Expect "
        "more mistakes on them.",
        "- The model has no context. Check postcodes and sums of money by other means. Do not let the "
        "model decide alone where a misread digit does harm.",
        f"- `familiarity` was fitted on {len(outliers.LETTERS)} letters and signs in print, letters of "
        "handwriting fonts, scribbles, doodles, noise, blank paper, lines, textures, pairs and pieces "
        "of digits. A picture of another kind may be accepted.",
        "- The model fails on very faint, inverted or strongly blurred images, as the table above "
        "shows.",
        "",
        "## Sources",
        "",
        "Data: MNIST by LeCun, Cortes and Burges, from NIST's Special Databases 1 and 3; the bundled "
        "digits by Alpaydin and Kaynak. Drawn digits: templates that are part of mnistctl, and the "
        "fonts of [fonts.md](fonts.md). Letters for fitting `familiarity`: the same fonts, and the "
        "DejaVu fonts that matplotlib ships. The model has the licence of mnistctl.",
    )


def write(model: Checkpoint) -> None:
    """Evaluate the model; write both files and the card."""
    digits = datasets.load("mnist", "test")
    with tempfile.TemporaryDirectory() as folder:
        unfinished, exported = Path(folder) / "model.safetensors", Path(folder) / "model.onnx"
        checkpoint.save(unfinished, model.tensors, model.metadata)
        mnistctl.export(unfinished, output=exported)
        report = mnistctl.evaluate(exported, robustness=True, plots=False)
        predictor = models.open_predictor(exported)
        rejection = measure_rejection.measure(predictor, digits, each=PICTURES_PER_KIND)
    text = "\n".join(card(model.metadata, report, rejection)) + "\n"
    target = models.bundled(formats.SAFETENSORS)
    files.make_folder(target.parent)
    checkpoint.save(target, model.tensors, dataclasses.replace(model.metadata, card=text))
    mnistctl.export(target, output=models.bundled(formats.ONNX), force=True)
    files.write_bytes(CARD, text.encode())
    print(text)
    size = sum(models.bundled(name).stat().st_size for name in (formats.SAFETENSORS, formats.ONNX))
    parameters = model.metadata.parameters + model.metadata.familiarity_parameters
    for name, value, is_within in (
        ("bytes", size, size <= MAX_BYTES),
        ("parameters", parameters, parameters <= MAX_PARAMETERS),
        ("test accuracy", report.accuracy, report.accuracy >= MIN_ACCURACY),
    ):
        print(f"{name}: {value:,}{'' if is_within else '  OUTSIDE ITS LIMIT'}")


def main() -> None:
    """Train a model, or take one; evaluate it and write the files."""
    arguments = bundled_source.parse_options(__doc__)
    if arguments.keep_weights:
        write(keep(checkpoint.load(models.bundled(formats.SAFETENSORS))))
    else:
        write(calibrate(bundled_source.train(RECIPE, arguments.run)))


if __name__ == "__main__":
    main()
