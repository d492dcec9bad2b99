"""The main commands on small data: train, eval, predict, export, info and download."""

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image

from mnistctl import datasets
from mnistctl.cli import export, terminal_art
from mnistctl.models import formats
from mnistctl.run import run_folder
from tests.helpers import Cli

TRAIN = ("train", "--dataset", "digits", "--device", "cpu", "--epochs", "2")


def test_train_writes_a_run_folder_and_prints_the_next_commands(cli: Cli) -> None:
    answer = cli(*TRAIN, "--name", "mine", "--validation-size", "100", "--seed", "5")

    assert answer.code == 0, answer.err
    folder = Path("runs/mine")
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "metrics.jsonl", "model.safetensors", "last.safetensors", "result.json"),
        ".lock",
        *("curves.png", "confusion.png", "predictions.png", "mistakes.png"),
        "reliability.png",
    }
    config = json.loads((folder / "config.json").read_text())
    assert (config["dataset"], config["seed"], config["validation_size"]) == ("digits", 5, 100)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    for command in ("eval", "predict digit.png --model", "export"):
        assert f"mnistctl {command} {folder}" in answer.out
    rows = [line.split() for line in answer.err.splitlines()]
    assert rows[1][0] == "epoch"
    assert [row[0] for row in rows[2:]] == ["1", "2", "calibrating"]
    assert "\x1b" not in answer.err + answer.out


def test_train_as_json_prints_only_the_result(cli: Cli) -> None:
    answer = cli(*TRAIN, "--arch", "mlp", "--json", "--quiet")

    result = json.loads(answer.out)
    assert answer.err == ""
    assert result["run"] == str(Path("runs/digits-mlp-1"))
    assert result["train_seconds"] <= result["total_seconds"]


def test_train_saves_the_model_with_the_best_validation_accuracy(cli: Cli) -> None:
    result = json.loads(cli(*TRAIN, "--epochs", "4", "--json", "--quiet").out)

    text = (Path(result["run"]) / "metrics.jsonl").read_text()
    accuracies = [json.loads(line)["validation_accuracy"] for line in text.splitlines()]
    measured = json.loads(cli("eval", result["run"], "--split", "validation", "--json").out)
    assert result["validation_accuracy"] == max(accuracies)
    assert measured["accuracy"] == pytest.approx(result["validation_accuracy"])
    assert measured["loss"] == pytest.approx(result["calibrated_validation_loss"], abs=1e-4)
    assert (
        result["validation_loss"]
        == json.loads(text.splitlines()[result["best_epoch"] - 1])["validation_loss"]
    )


def test_runs_are_numbered_and_never_overwritten(cli: Cli) -> None:
    for number in (1, 2):
        result = json.loads(cli(*TRAIN, "--epochs", "0.2", "--json", "--quiet").out)
        assert result["run"] == str(Path(f"runs/digits-cnn-{number}"))

    again = cli(*TRAIN, "--name", "digits-cnn-1")

    assert again.code == 2
    assert again.err.startswith("mnistctl: run 'digits-cnn-1' exists")


def test_train_uses_the_bundled_digits_with_one_warning_if_mnist_is_unavailable(cli: Cli) -> None:
    answer = cli("train", "--epochs", "0.2", "--json")

    assert answer.code == 0
    assert json.loads(answer.out)["dataset"] == "digits"
    assert answer.err.count("warning") == 1
    assert "MNIST is not on disk and could not be downloaded" in answer.err
    model = run_folder.find_all()[0].model_path
    assert json.loads(cli("info", model, "--json").out)["dataset"]["name"] == "digits"


def test_train_fails_if_mnist_is_requested_by_name_and_unavailable(cli: Cli) -> None:
    answer = cli("train", "--dataset", "mnist")

    assert answer.code == 3
    assert len(answer.err.splitlines()) == 1
    assert "download mnist --from FOLDER" in answer.err
    assert "--dataset digits" in answer.err
    assert not Path("runs").exists()


def test_eval_prints_every_metric(cli: Cli, run_folder: Path) -> None:
    answer = cli("eval", run_folder)
    result = json.loads(cli("eval", run_folder, "--json").out)

    for word in ("precision", "recall", "F1", "confusion matrix", "most confused", "95% interval"):
        assert word in answer.out
    assert result["accuracy_interval"][0] < result["accuracy"] < result["accuracy_interval"][1]


def test_eval_writes_predictions_and_fails_below_the_minimum_accuracy(
    cli: Cli, onnx_path: Path
) -> None:
    answer = cli("eval", onnx_path, "--predictions", "answers.csv", "--min-accuracy", "0.999")

    assert answer.code == 6
    assert answer.err == f"mnistctl: {answer.err.removeprefix('mnistctl: ').strip()}\n"
    assert "is below --min-accuracy 0.999" in answer.err
    assert "confusion" in answer.out
    assert len(Path("answers.csv").read_text().splitlines()) == 298


def test_predict_accepts_files_folders_and_standard_input(
    cli: Cli, onnx_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("pictures")
    folder.mkdir()
    for name in ("b.png", "a.jpg"):
        Image.open(picture).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(picture.read_bytes())))

    answer = cli("predict", picture, folder, "-", "--model", onnx_path, "--json", "--top", "2")

    results = json.loads(answer.out)
    assert [result["file"] for result in results] == [
        str(picture),
        str(folder / "a.jpg"),
        str(folder / "b.png"),
        "-",
    ]
    assert {result["label"] for result in results} == {"3"}
    assert all(result["top"][0]["label"] == "3" for result in results)
    assert all(len(result["top"]) == 2 for result in results)


def test_predict_prints_a_table_csv_and_a_preview(cli: Cli, onnx_path: Path, picture: Path) -> None:
    table = cli("predict", picture, "--model", onnx_path, "--preview").out
    text = cli("predict", picture, "--model", onnx_path, "--csv").out
    rows = list(csv.DictReader(io.StringIO(text)))

    assert "█" in table
    assert table.splitlines()[-1].split()[:2] == [str(picture), "3"]
    assert [row["label"] for row in rows] == ["3"]
    assert list(rows[0])[1:] == [
        *("label", "probability", "label_2", "probability_2", "label_3", "probability_3"),
        *("familiarity", "reason", "error"),
    ]
    assert float(rows[0]["probability"]) > float(rows[0]["probability_2"])


def test_predict_rejects_a_non_digit_and_keeps_the_best_guess(
    cli: Cli, onnx_path: Path, picture: Path
) -> None:
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (60, 60), dtype=np.uint8)).save("noise.png")

    def predict(*options: str) -> list[dict[str, object]]:
        answer = cli("predict", picture, "noise.png", "--model", onnx_path, "--json", *options)
        assert answer.code == 0, answer.err
        results: list[dict[str, object]] = json.loads(answer.out)
        return results

    three, noise = predict()
    assert (three["rejected"], three["reason"]) == (False, None)
    assert (noise["rejected"], noise["reason"]) == (True, "not a digit")
    assert {"label", "probability", "top"} <= set(noise)
    assert [result["reason"] for result in predict("--no-reject")] == [None, None]
    assert [result["rejected"] for result in predict("--threshold", "0")] == [False, False]
    assert [result["rejected"] for result in predict("--threshold", "1")] == [True, True]
    assert "not a digit; best guess" in cli("predict", "noise.png", "--model", onnx_path).out


def test_predict_reports_a_bad_picture_on_one_line_and_continues(
    cli: Cli, onnx_path: Path, picture: Path
) -> None:
    Path("bad.png").write_text("no picture")
    Image.new("L", (40, 40), 255).save("blank.png")

    answer = cli("predict", "bad.png", picture, "blank.png", "gone.png", "--model", onnx_path, "--json")

    results = json.loads(answer.out)
    assert answer.code == 6
    assert [set(result) for result in results] == [
        {"file", "error"},
        {"file", "box", "label", "probability", "top", "familiarity", "rejected", "reason"},
        {"file", "box", "label", "probability", "top", "familiarity", "rejected", "reason"},
        {"file", "error"},
    ]
    assert [result.get("reason") for result in results] == [None, None, "blank", None]
    assert [line.split(": ")[1] for line in answer.err.splitlines()[:2]] == ["bad.png", "gone.png"]
    assert answer.err.splitlines()[2] == "mnistctl: 2 of 4 pictures could not be read"


def test_export_prints_the_parity_and_the_next_commands(cli: Cli, run_folder: Path) -> None:
    answer = cli("export", run_folder, "--output", "out/model.onnx")

    assert answer.code == 0, answer.err
    assert "compared with PyTorch on 297 test images of digits" in answer.out
    for command in ("predict digit.png --model", "eval"):
        assert f"mnistctl {command} {Path('out/model.onnx')}" in answer.out
    assert [path.name for path in Path("out").iterdir()] == ["model.onnx"]


def test_export_as_json_has_the_size_of_the_file_and_the_parity(cli: Cli, run_folder: Path) -> None:
    (result,) = json.loads(cli("export", run_folder, "--output", "model.onnx", "--json", "-q").out)

    assert result["bytes"] == Path("model.onnx").stat().st_size
    assert result["parity"]["holds"] is True
    assert result["parity"]["batch_sizes"] == [1, 7, 256]


def test_export_replaces_an_existing_file_only_with_force(cli: Cli, run_folder: Path) -> None:
    Path("model.onnx").write_text("mine")

    rejected = cli("export", run_folder, "--output", "model.onnx")
    kept = Path("model.onnx").read_text()
    forced = cli("export", run_folder, "--output", "model.onnx", "--force")

    assert (rejected.code, kept, forced.code) == (2, "mine", 0)
    assert "--force" in rejected.err


def test_export_never_overwrites_the_model_itself(cli: Cli, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    model = tmp_path / "run" / "model.safetensors"

    answer = cli("export", model, "--output", model, "--force")

    assert answer.code == 2
    assert cli("info", model).code == 0


def test_eval_and_data_do_not_replace_existing_files(cli: Cli, onnx_path: Path) -> None:
    Path("mine.png").write_text("precious")

    for arguments in (
        ("eval", onnx_path, "--predictions", "mine.png"),
        ("data", "digits", "--output", "mine.png"),
    ):
        answer = cli(*arguments)

        assert (answer.code, answer.err) == (
            2,
            "mnistctl: mine.png exists; delete it or choose another name\n",
        )
    assert Path("mine.png").read_text() == "precious"


def test_export_leaves_no_file_if_the_parity_check_fails(
    cli: Cli, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnistctl.exports import parity

    monkeypatch.setattr(parity, "RELATIVE_TOLERANCE", 0.0)  # not even rounding is allowed

    answer = cli("export", run_folder, "--output", "out/model.onnx")

    assert answer.code == 6
    assert "out/model.onnx: not written" in answer.err.replace("\\", "/")
    assert list(Path("out").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows quotes in another way")
def test_commands_to_paste_are_quoted(cli: Cli, checkpoint_path: Path) -> None:
    Path("my models").mkdir()
    onnx = "my models/digits.onnx"

    exported = cli("export", checkpoint_path, "--output", onnx)

    assert exported.code == 0, exported.err
    assert f"mnistctl predict digit.png --model '{onnx}'" in exported.out
    assert f"mnistctl eval '{onnx}'" in exported.out
    assert "next:" not in cli("export", checkpoint_path, "--output", onnx, "--force", "-q").out


def test_info_shows_format_input_and_parameters(
    cli: Cli, checkpoint_path: Path, onnx_path: Path
) -> None:
    for path, kind in ((checkpoint_path, "safetensors"), (onnx_path, "onnx")):
        result = json.loads(cli("info", path, "--json").out)
        text = cli("info", path).out

        assert result["format"] == kind
        assert result["signature"]["images"] == "uint8 (batch, 28, 28)"
        assert (result["arch"], result["parameters"]) == ("cnn", 215_194)
        assert "215,194 parameters" in text
        assert "digits (SHA-256" in text


def test_export_offers_every_opset_and_input() -> None:
    hints = get_type_hints(export.export)

    assert get_args(hints["opset"]) == tuple(formats.IR_VERSIONS)
    assert get_args(hints["input_type"]) == tuple(formats.INPUTS)


def test_export_rejects_an_exported_file(cli: Cli, onnx_path: Path) -> None:
    answer = cli("export", onnx_path, "--output", "again.onnx")

    assert (answer.code, answer.out) == (2, "")
    assert "already exported" in answer.err


def test_predict_reports_an_empty_folder_on_one_line_and_continues(
    cli: Cli, onnx_path: Path, picture: Path
) -> None:
    Path("none").mkdir()

    answer = cli("predict", "none", picture, "--model", onnx_path, "--json")

    assert answer.code == 6
    assert answer.err.splitlines()[0] == "mnistctl: none: no pictures in this folder"
    assert json.loads(answer.out)[1]["label"] == "3"


def test_predict_shows_the_label_after_a_long_path(cli: Cli, onnx_path: Path, picture: Path) -> None:
    folder = Path("/".join(["a-rather-long-name-of-a-folder"] * 5))
    folder.mkdir(parents=True)
    Image.open(picture).save(folder / "three.png")

    answer = cli("predict", folder / "three.png", "--model", onnx_path)

    assert answer.out.splitlines()[-1].split()[:2] == [str(folder / "three.png"), "3"]


def test_a_preview_has_one_line_per_row_of_pixels() -> None:
    image = datasets.load("digits", "test").images[0]

    lines = terminal_art.block_art(image).splitlines()

    assert len(lines) == 28
    assert {len(line) for line in lines} == {56}
    for row, line in zip(image, lines, strict=True):
        assert ("█" in line) == bool((row >= 224).any())


@pytest.mark.mnist
def test_download_copies_mnist_from_a_folder_only_once(cli: Cli) -> None:
    source = os.environ["MNISTCTL_TEST_MNIST"]

    first = json.loads(cli("download", "--from", source, "--data-dir", "here", "--json").out)
    second = json.loads(cli("download", "--data-dir", "here", "--json").out)

    assert [file["status"] for file in first] == ["copied"] * 4
    assert [file["status"] for file in second] == ["present"] * 4


@pytest.mark.mnist
def test_train_eval_and_export_work_on_real_mnist(cli: Cli) -> None:
    trained = json.loads(cli("train", "--epochs", "0.5", "--json", "-q").out)
    report = json.loads(cli("eval", "--json", "-q").out)
    exported = cli("export", "--json", "-q")
    onnx = json.loads(cli("eval", Path(trained["run"]) / "model.onnx", "--json").out)

    assert trained["dataset"] == "mnist"
    assert report["images"] == 10_000
    assert report["accuracy"] > 0.97
    assert exported.code == 0, exported.err
    assert json.loads(exported.out)[0]["parity"]["images"] == 10_000
    assert onnx["accuracy"] == report["accuracy"]
