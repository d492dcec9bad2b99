"""The bundled model."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.evaluation.corruptions import CORRUPTIONS, Corruption
from mnistctl.evaluation.report import measure
from mnistctl.models import formats
from mnistctl.settings import recipes
from mnistctl.settings.architectures import NUMBERS
from tests.helpers import ROOT, Cli

REFERENCE = ROOT / "docs" / "reference"
CARD = (REFERENCE / "model-card.md").read_text(encoding="utf-8")
NUMBERS_CARD = (REFERENCE / "model-card-numbers.md").read_text(encoding="utf-8")
FORMATS = (formats.SAFETENSORS, formats.ONNX)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_bundled_model_has_the_settings_of_its_recipe_and_its_card(kind: str) -> None:
    format_name, metadata = models.describe(models.bundled(kind))

    settings = recipes.find_recipe("small").replace(dataset="mnist").to_json()
    assert format_name == kind
    assert metadata.parameters + metadata.familiarity_parameters <= 300_000
    assert metadata.calibration_images == 5_000
    assert all(settings[name] == value for name, value in metadata.config.items())
    assert metadata.card == CARD


def test_the_bundled_files_are_small() -> None:
    assert sum(models.bundled(kind).stat().st_size for kind in FORMATS) <= 2_500_000


@pytest.mark.parametrize("kind", FORMATS)
def test_the_bundled_model_for_numbers_has_the_settings_of_its_recipe_and_its_card(kind: str) -> None:
    format_name, metadata = models.describe(models.bundled(kind, task=NUMBERS))

    settings = recipes.find_recipe("numbers").replace(dataset="mnist").to_json()
    assert format_name == kind
    assert metadata.task == NUMBERS
    assert metadata.threshold is not None
    assert all(settings[name] == value for name, value in metadata.config.items())
    assert metadata.card == NUMBERS_CARD


def test_the_bundled_files_for_numbers_are_at_most_6_mb_in_the_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wheel", "w", zipfile.ZIP_DEFLATED) as wheel:
        for kind in FORMATS:
            wheel.write(models.bundled(kind, task=NUMBERS))

    assert (tmp_path / "wheel").stat().st_size <= 6_000_000


def test_the_bundled_checkpoint_and_onnx_file_for_numbers_find_the_same_digits() -> None:
    pages = np.zeros((2, 64, 96), dtype=np.uint8)
    pages[:, 10:50, 40:46] = 255

    outputs = [
        models.open_page_predictor(models.bundled(kind, task=NUMBERS))(pages) for kind in FORMATS
    ]

    np.testing.assert_allclose(outputs[0].scores, outputs[1].scores, atol=1e-4)


@pytest.mark.mnist
@pytest.mark.slow
def test_the_bundled_model_for_numbers_is_as_accurate_as_its_card_says(cli: Cli) -> None:
    answer = cli("eval", "bundled-numbers", "--json")

    report = json.loads(answer.out)
    assert f"| {100 * report['precision']:.2f}% | {100 * report['recall']:.2f}% |" in NUMBERS_CARD


def test_the_newest_run_is_found_by_its_task(cli: Cli) -> None:
    train = ("train", "--dataset", "digits", "--no-plots", "-q")
    numbers = ("--recipe", "numbers", "--widths", "8,8,8,8", "--batch-size", "4", "--epochs", "0.01")
    cli(*train, "--arch", "linear", "--epochs", "1", "--name", "digit")
    cli(*train, *numbers, "--name", "numbers")

    assert models.find_model(None) == Path("runs/digit/model.safetensors")
    assert models.find_model(None, task=NUMBERS) == Path("runs/numbers/model.safetensors")


def test_the_bundled_checkpoint_and_onnx_file_give_the_same_outputs() -> None:
    images = datasets.load("digits", "test").images

    outputs = [models.open_predictor(models.bundled(kind))(images) for kind in FORMATS]

    for checkpoint, onnx in zip(*outputs, strict=True):
        np.testing.assert_allclose(checkpoint, onnx, atol=1e-4)  # the tolerance of parity


@pytest.mark.mnist
def test_the_bundled_model_is_as_accurate_as_its_card_says(cli: Cli) -> None:
    answer = cli("eval", "bundled", "--json")

    report = json.loads(answer.out)
    assert f"**{100 * report['accuracy']:.2f}%** of the 10,000 test images" in CARD
    assert f"**{100 * report['calibration_error']:.2f}%**" in CARD
    assert report["accuracy"] >= 0.997
    assert report["calibration_error"] <= 0.003
    assert report["rejected"] <= 0.01


# Corruption -> strengths at which 98% of the predictions must be correct.
TOLERATED = {"shift": (3,), "rotation": (15,), "scale": (0.8, 1.2), "noise": (0.2,), "blur": (1,)}


@pytest.mark.mnist
@pytest.mark.parametrize(
    "corruption", [item for item in CORRUPTIONS if item.name in TOLERATED], ids=lambda item: item.name
)
def test_the_bundled_model_tolerates_corruptions(corruption: Corruption) -> None:
    split = datasets.load("mnist", "test")
    predictor = models.open_predictor(models.bundled(formats.ONNX))

    for strength in TOLERATED[corruption.name]:
        corrupted = corruption.corrupt(split.images, strength, np.random.default_rng(0))
        report, _ = measure(
            predictor, replace(split, images=corrupted), model="bundled", batch_size=256
        )
        assert report.accuracy >= 0.98


def test_predict_uses_the_bundled_model_if_there_is_no_run(cli: Cli, picture: Path) -> None:
    answer = cli("predict", picture, "--json")

    assert answer.code == 0
    assert json.loads(answer.out)[0]["label"] == "3"
    assert "using the bundled model: no runs in runs/" in answer.err


def test_the_bundled_model_is_found_by_a_path_too() -> None:
    assert models.find_model(Path("bundled")) == models.bundled(formats.SAFETENSORS)


def test_a_run_is_preferred_to_the_bundled_model_unless_it_is_named(cli: Cli, picture: Path) -> None:
    cli("train", "--arch", "linear", "--dataset", "digits", "--epochs", "1", "-q", "--name", "mine")

    newest, named = cli("info", "--json"), cli("info", "bundled", "--json")

    assert json.loads(newest.out)["arch"] == "linear"
    assert json.loads(named.out)["config"]["recipe"] == "small"


def test_training_can_start_from_the_bundled_model(cli: Cli) -> None:
    train = ("train", "--init", "bundled", "--dataset", "digits", "--min-steps", "2")

    answer = cli(*train, "--epochs", "0.01", "--no-plots", "--json", "-q")

    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["validation_accuracy"] > 0.9


def test_the_bundled_model_is_exported_to_the_working_folder(cli: Cli) -> None:
    answer = cli("export", "bundled", "--dataset", "digits", "--json")

    assert answer.code == 0, answer.err
    assert json.loads(answer.out)[0]["path"] == "model.onnx"


def test_info_prints_the_model_card(cli: Cli) -> None:
    answer = cli("info", "bundled", "--card")

    assert answer.code == 0
    assert answer.out.startswith("# Model card")


def test_predicting_with_the_bundled_model_does_not_import_torch(picture: Path) -> None:
    code = """
import sys
from mnistctl.cli import app
app.main(sys.argv[1:])
print("torch" in sys.modules)
"""

    answer = subprocess.run(
        [sys.executable, "-c", code, "predict", str(picture), "-q"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.splitlines()[-1] == "False"


def test_the_wheel_contains_the_bundled_model(tmp_path: Path) -> None:
    pytest.importorskip("hatchling.build")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"

    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, check=True, capture_output=True
    )

    (wheel,) = tmp_path.glob("*.whl")
    files = set(zipfile.ZipFile(wheel).namelist())
    assert {f"mnistctl/bundled/model.{kind}" for kind in FORMATS} <= files
    assert {"mnistctl/web/page.html", "mnistctl/web/style.css", "mnistctl/web/main.js"} <= files
