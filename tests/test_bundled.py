"""The model inside the package."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.evaluation.corruptions import CORRUPTIONS
from mnistctl.evaluation.report import measure
from mnistctl.models import formats
from mnistctl.settings import recipes
from tests.helpers import Cli

ROOT = Path(__file__).parents[1]
CARD = (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8")
BOTH = (formats.SAFETENSORS, formats.ONNX)


@pytest.mark.parametrize("kind", BOTH)
def test_it_says_what_it_is(kind: str) -> None:
    found, about = models.describe(models.bundled(kind))

    wanted = recipes.find_recipe("small").replace(dataset="mnist").to_json()
    assert found == kind
    assert about.parameters <= 300_000
    assert about.calibration_images == 5_000
    assert all(wanted[name] == value for name, value in about.config.items())
    assert about.card == CARD


def test_both_files_are_small() -> None:
    assert sum(models.bundled(kind).stat().st_size for kind in BOTH) <= 2_500_000


def test_both_files_say_the_same() -> None:
    images = datasets.load("digits", "test").images

    ours, theirs = (models.open_predictor(models.bundled(kind))(images) for kind in BOTH)

    for first, second in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-4)  # as parity has it


@pytest.mark.mnist
def test_it_is_as_good_as_it_says(cli: Cli) -> None:
    answer = cli("eval", "bundled", "--json")

    report = json.loads(answer.out)
    assert f"**{100 * report['accuracy']:.2f}%** of the 10,000 test images" in CARD
    assert f"**{100 * report['calibration_error']:.2f}%**" in CARD
    assert report["accuracy"] >= 0.997
    assert report["calibration_error"] <= 0.003
    assert report["rejected"] <= 0.01


# What it is to bear, and still be right on 98 of 100.
BORNE = {"shift": (3,), "rotation": (15,), "scale": (0.8, 1.2), "noise": (0.2,), "blur": (1,)}


@pytest.mark.mnist
@pytest.mark.parametrize(
    "how", [how for how in CORRUPTIONS if how.name in BORNE], ids=lambda how: how.name
)
def test_it_bears_what_pictures_go_through(how: object) -> None:
    assert isinstance(how, type(CORRUPTIONS[0]))
    split = datasets.load("mnist", "test")
    predictor = models.open_predictor(models.bundled(formats.ONNX))

    for strength in BORNE[how.name]:
        spoilt = how.corrupt(split.images, strength, np.random.default_rng(0))
        moved = split.take(slice(None), name="test")
        object.__setattr__(moved, "images", spoilt)
        report, _ = measure(predictor, moved, model="it", batch_size=256)
        assert report.accuracy >= 0.98


def test_it_reads_where_there_is_no_run(cli: Cli, picture: Path) -> None:
    answer = cli("predict", picture, "--json")

    assert answer.code == 0
    assert json.loads(answer.out)[0]["label"] == "3"
    assert "model: the bundled one" in answer.err


def test_a_run_comes_first_and_its_name_still_means_it(cli: Cli, picture: Path) -> None:
    cli("train", "--arch", "linear", "--dataset", "digits", "--epochs", "1", "-q", "--name", "mine")

    newest, named = cli("info", "--json"), cli("info", "bundled", "--json")

    assert json.loads(newest.out)["arch"] == "linear"
    assert json.loads(named.out)["config"]["recipe"] == "small"


def test_it_is_a_start_for_a_model_of_ones_own(cli: Cli) -> None:
    train = (
        "train",
        "--init",
        "bundled",
        "--dataset",
        "digits",
        "--min-steps",
        "2",
        "--epochs",
        "0.01",
    )

    answer = cli(*train, "--no-plots", "--json", "-q")

    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["validation_accuracy"] > 0.9


def test_its_export_goes_to_the_working_folder(cli: Cli) -> None:
    answer = cli("export", "bundled", "--dataset", "digits", "--json")

    assert answer.code == 0, answer.err
    assert json.loads(answer.out)[0]["path"] == "model.onnx"


def test_its_card_is_printed(cli: Cli) -> None:
    answer = cli("info", "bundled", "--card")

    assert answer.code == 0
    assert answer.out.startswith("# Model card")


def test_reading_with_it_needs_no_torch(picture: Path) -> None:
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


def test_it_is_in_the_wheel(tmp_path: Path) -> None:
    hatchling = pytest.importorskip("hatchling.build")
    del hatchling
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"

    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, check=True, capture_output=True
    )

    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {f"mnistctl/bundled/model.{kind}" for kind in BOTH} <= inside
