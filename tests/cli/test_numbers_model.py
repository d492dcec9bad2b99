"""The commands that take a model, with a model for numbers."""

import json
import shutil
from pathlib import Path

import pytest

from mnistctl.evaluation import detection
from tests import detectors
from tests.helpers import Cli


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(detection, "PAGES", 12)
    return detectors.save_random(Path("numbers.safetensors"))


def test_eval_prints_shares_a_table_per_class_and_the_confusion_matrix(cli: Cli, model: Path) -> None:
    answer = cli("eval", model, "-q")

    lines = answer.out.splitlines()
    assert answer.code == 0, answer.err
    assert lines[0].startswith("accuracy ")
    assert lines[0].endswith(" of 12 pages that are composed of test images of digits")
    assert lines[1].startswith("pages without error ")
    assert lines[3].split() == ["class", "digits", "precision", "recall", "F1"]
    assert [line.split("  ")[0] for line in lines[4:16]] == [*"0123456789", "all", "any label"]
    assert lines[18].split()[-2:] == ["9", "missed"]
    assert lines[29].startswith("no digit ")


def test_the_report_in_json(cli: Cli, model: Path) -> None:
    report = json.loads(cli("eval", model, "--plots", "drawn", "--json").out)

    assert set(report) == {
        *("model", "dataset", "split", "pages", "digits", "found", "threshold", "accuracy"),
        *("precision", "recall", "f1", "detection_precision", "detection_recall", "page_accuracy"),
        *(
            "page_accuracy_interval",
            "per_class",
            "confusion",
            "most_confused",
            "not_calibrated",
            "plots",
        ),
    }
    assert (report["pages"], len(report["confusion"]), len(report["per_class"])) == (12, 11, 10)
    assert report["plots"] == [
        f"drawn/test-{name}.png" for name in ("confusion", "predictions", "mistakes")
    ]


def test_several_splits_are_shown_side_by_side(cli: Cli, model: Path) -> None:
    answer = cli("eval", model, "--split", "train,test", "--plots", "drawn", "-q")

    lines = answer.out.splitlines()
    assert answer.code == 0, answer.err
    assert lines[0].split() == ["digits", "train", "test"]
    assert lines[1].split() == ["pages", "12", "12"]
    assert lines[3].startswith("accuracy ")
    assert lines[9].startswith("pages without error ")
    assert lines[-1] == "6 plots in drawn"


def test_the_minimum_accuracy_is_checked(cli: Cli, model: Path) -> None:
    answer = cli("eval", model, "--min-accuracy", "1", "-q")

    assert answer.code == 6
    assert "on pages of digits test is below --min-accuracy" in answer.err


@pytest.mark.parametrize(
    "options", [("--robustness",), ("--predictions", "new.csv"), ("--arch", "net.py:Net")]
)
def test_eval_rejects_options_for_single_digits(
    options: tuple[str, ...], cli: Cli, model: Path
) -> None:
    answer = cli("eval", model, *options)

    assert answer.code == 2
    assert answer.err.strip() == f"mnistctl: {options[0]}: not for a model for numbers"
    assert not Path("new.csv").exists()


def test_info_names_the_task_the_input_the_outputs_and_the_threshold(cli: Cli, model: Path) -> None:
    text = cli("info", model).out
    values = json.loads(cli("info", model, "--json").out)

    rows = {line[:14].strip(): line[14:].strip() for line in text.splitlines()}
    assert rows["task"] == "find the digits of numbers on pages"
    assert rows["input"].startswith("pages: uint8 (batch, height, width), 0 = paper, 255 = ink")
    assert rows["calibration"].startswith("temperature 1; ignores digits with a score below 0.3")
    assert values["task"] == "numbers"
    assert values["signature"] == {
        "pages": "uint8 (batch, height, width)",
        "scores": "float32 (batch, 10, height / 4, width / 4)",
        "boxes": "float32 (batch, 4, height / 4, width / 4)",
    }


@pytest.mark.parametrize(
    "command",
    [
        "compare {model} {other}",
        "benchmark {model}",
        "ensemble {model} {other}",
        "predict picture.png --model {model}",
    ],
)
def test_commands_for_single_digits_reject_the_model_in_one_line(
    command: str, cli: Cli, model: Path, picture: Path
) -> None:
    shutil.copy(picture, "picture.png")
    other = Path(shutil.copy(model, "other.safetensors"))

    answer = cli(*command.format(model=model, other=other).split(), "-q")

    assert answer.code == 4
    assert answer.err.startswith(f"mnistctl: {model}: a model for the task 'numbers'")
    assert len(answer.err.splitlines()) == 1
    assert not Path("ensemble.safetensors").exists()


def test_plot_draws_the_pages_of_a_run(cli: Cli, model: Path, run_folder: Path) -> None:
    run = Path(shutil.copytree(run_folder, "runs/numbers"))
    shutil.copy(model, run / "model.safetensors")
    for name in ("confusion", "mistakes", "predictions", "reliability", "curves"):
        (run / f"{name}.png").unlink(missing_ok=True)

    answer = cli("plot", "runs/numbers", "--json", "-q")

    assert answer.code == 0, answer.err
    names = ("curves", "confusion", "predictions", "mistakes")
    assert json.loads(answer.out)["plots"] == [f"runs/numbers/{name}.png" for name in names]
