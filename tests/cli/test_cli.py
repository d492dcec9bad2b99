"""The command line: every command on real parts, and what it says to bad input."""

import contextlib
import csv
import gzip
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnistctl import __version__, datasets
from mnistctl.cli import app, terminal_art
from mnistctl.datasets import catalog
from mnistctl.models import checkpoint
from mnistctl.run import run_folder
from mnistctl.system import files
from tests.conftest import Cli, tiny_dataset, unmeasured
from tests.datasets.servers import answer, serving

TRAIN = ("train", "--dataset", "digits", "--device", "cpu", "--epochs", "2")


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").out == f"mnistctl {__version__}\n"
    assert "train" in cli("--help").out
    assert cli("train", "-h").code == 0


def test_train_writes_a_run_and_says_what_to_do_next(cli: Cli) -> None:
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
    assert rows[0][0] == "epoch"
    assert [row[0] for row in rows[1:]] == ["1", "2", "calibrating"]
    assert "\x1b" not in answer.err + answer.out


def test_train_as_json_has_the_documented_keys(cli: Cli) -> None:
    answer = cli(*TRAIN, "--arch", "mlp", "--json", "--quiet")

    result = json.loads(answer.out)
    assert answer.err == ""
    assert set(result) >= {
        "run",
        "arch",
        "dataset",
        "device",
        "precision",
        "seed",
        "epochs",
        "train_seconds",
        "total_seconds",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
    }
    assert result["run"] == str(Path("runs/digits-mlp-1"))
    assert result["train_seconds"] <= result["total_seconds"]


def test_the_saved_model_is_the_best_on_validation(cli: Cli) -> None:
    result = json.loads(cli(*TRAIN, "--epochs", "4", "--json", "--quiet").out)

    text = (Path(result["run"]) / "metrics.jsonl").read_text()
    accuracies = [json.loads(line)["validation_accuracy"] for line in text.splitlines()]
    measured = json.loads(cli("eval", result["run"], "--split", "validation", "--json").out)
    assert result["validation_accuracy"] == max(accuracies)
    assert measured["accuracy"] == pytest.approx(result["validation_accuracy"])
    assert measured["loss"] == pytest.approx(result["validation_loss"], abs=1e-4)


def test_runs_are_numbered_and_never_overwritten(cli: Cli) -> None:
    for number in (1, 2):
        result = json.loads(cli(*TRAIN, "--epochs", "0.2", "--json", "--quiet").out)
        assert result["run"] == str(Path(f"runs/digits-cnn-{number}"))

    again = cli(*TRAIN, "--name", "digits-cnn-1")

    assert again.code == 2
    assert again.err.startswith("mnistctl: run 'digits-cnn-1' exists")


def test_without_mnist_and_network_the_embedded_digits_stand_in_after_one_warning(cli: Cli) -> None:
    answer = cli("train", "--epochs", "0.2", "--json")

    assert answer.code == 0
    assert json.loads(answer.out)["dataset"] == "digits"
    assert answer.err.count("warning") == 1
    assert "no MNIST here and none to be had" in answer.err
    model = run_folder.find_all()[0].model_path
    assert json.loads(cli("info", model, "--json").out)["dataset"]["name"] == "digits"


def test_mnist_by_name_has_no_stand_in(cli: Cli) -> None:
    answer = cli("train", "--dataset", "mnist")

    assert answer.code == 3
    assert len(answer.err.splitlines()) == 1
    assert "download mnist --from FOLDER" in answer.err
    assert "--dataset digits" in answer.err
    assert not Path("runs").exists()


def test_eval_says_everything_it_measures(cli: Cli, run_folder: Path) -> None:
    answer = cli("eval", run_folder)
    result = json.loads(cli("eval", run_folder, "--json").out)

    for word in ("precision", "recall", "F1", "confusion", "most confused", "95% interval"):
        assert word in answer.out
    assert {
        "model",
        "dataset",
        "split",
        "images",
        "accuracy",
        "accuracy_interval",
        "loss",
        "per_class",
        "confusion",
    } <= set(result)
    assert result["accuracy_interval"][0] < result["accuracy"] < result["accuracy_interval"][1]


def test_eval_writes_predictions_and_holds_a_minimum(cli: Cli, onnx_path: Path) -> None:
    answer = cli("eval", onnx_path, "--predictions", "answers.csv", "--min-accuracy", "0.999")

    assert answer.code == 6
    assert answer.err == f"mnistctl: {answer.err.removeprefix('mnistctl: ').strip()}\n"
    assert "is below --min-accuracy 0.999" in answer.err
    assert "confusion" in answer.out
    assert len(Path("answers.csv").read_text().splitlines()) == 298


def test_predict_reads_files_folders_and_standard_input(
    cli: Cli, onnx_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("pictures")
    folder.mkdir()
    for name in ("b.png", "a.jpg"):
        Image.open(picture).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(picture.read_bytes())))

    answer = cli("predict", picture, folder, "-", "--model", onnx_path, "--json", "--top", "2")

    readings = json.loads(answer.out)
    assert [reading["file"] for reading in readings] == [
        str(picture),
        str(folder / "a.jpg"),
        str(folder / "b.png"),
        "-",
    ]
    assert {reading["label"] for reading in readings} == {"3"}
    assert all(reading["top"][0]["label"] == "3" for reading in readings)
    assert all(len(reading["top"]) == 2 for reading in readings)


def test_predict_shows_a_table_csv_and_what_the_model_sees(
    cli: Cli, onnx_path: Path, picture: Path
) -> None:
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


def test_what_is_no_digit_is_rejected_and_the_best_guess_is_kept(
    cli: Cli, onnx_path: Path, picture: Path
) -> None:
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (60, 60), dtype=np.uint8)).save("noise.png")

    def read(*options: str) -> list[dict[str, object]]:
        answer = cli("predict", picture, "noise.png", "--model", onnx_path, "--json", *options)
        assert answer.code == 0, answer.err
        found: list[dict[str, object]] = json.loads(answer.out)
        return found

    three, noise = read()
    assert (three["rejected"], three["reason"]) == (False, None)
    assert (noise["rejected"], noise["reason"]) == (True, "not a digit")
    assert {"label", "probability", "top"} <= set(noise)
    assert [reading["reason"] for reading in read("--no-reject")] == [None, None]
    assert [reading["rejected"] for reading in read("--threshold", "0")] == [False, False]
    assert [reading["rejected"] for reading in read("--threshold", "1")] == [True, True]
    assert "not a digit; at best a" in cli("predict", "noise.png", "--model", onnx_path).out


def test_one_bad_picture_is_one_line_and_the_others_are_read(
    cli: Cli, onnx_path: Path, picture: Path
) -> None:
    Path("bad.png").write_text("no picture")
    Image.new("L", (40, 40), 255).save("blank.png")

    answer = cli("predict", "bad.png", picture, "blank.png", "gone.png", "--model", onnx_path, "--json")

    readings = json.loads(answer.out)
    assert answer.code == 6
    assert [set(reading) for reading in readings] == [
        {"file", "error"},
        {"file", "box", "label", "probability", "top", "familiarity", "rejected", "reason"},
        {"file", "box", "label", "probability", "top", "familiarity", "rejected", "reason"},
        {"file", "error"},
    ]
    assert [reading.get("reason") for reading in readings] == [None, None, "blank", None]
    assert [line.split(": ")[1] for line in answer.err.splitlines()[:2]] == ["bad.png", "gone.png"]
    assert answer.err.splitlines()[2] == "mnistctl: 2 of 4 pictures could not be read"


def test_an_export_is_checked_and_says_what_to_do_next(cli: Cli, run_folder: Path) -> None:
    answer = cli("export", run_folder, "--output", "out/it.onnx")

    assert answer.code == 0, answer.err
    assert "images with another answer" in answer.out
    for command in ("predict digit.png --model", "eval"):
        assert f"mnistctl {command} {Path('out/it.onnx')}" in answer.out
    assert [path.name for path in Path("out").iterdir()] == ["it.onnx"]


def test_an_export_as_json_has_the_documented_keys(cli: Cli, run_folder: Path) -> None:
    (result,) = json.loads(cli("export", run_folder, "--output", "it.onnx", "--json", "-q").out)

    assert {"path", "format", "bytes", "parity", "graph_sha256"} == set(result)
    assert result["bytes"] == Path("it.onnx").stat().st_size
    assert result["parity"]["holds"] is True
    assert result["parity"]["batch_sizes"] == [1, 7, 256]


def test_an_existing_output_is_replaced_by_force_only(cli: Cli, run_folder: Path) -> None:
    Path("it.onnx").write_text("mine")

    refused = cli("export", run_folder, "--output", "it.onnx")
    kept = Path("it.onnx").read_text()
    forced = cli("export", run_folder, "--output", "it.onnx", "--force")

    assert (refused.code, kept, forced.code) == (2, "mine", 0)
    assert "--force" in refused.err


def test_the_model_itself_is_never_the_output(cli: Cli, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    model = tmp_path / "run" / "model.safetensors"

    answer = cli("export", model, "--output", model, "--force")

    assert answer.code == 2
    assert cli("info", model).code == 0


def test_an_output_that_exists_is_not_replaced(cli: Cli, onnx_path: Path) -> None:
    Path("mine").write_text("precious")

    for arguments in (
        ("eval", onnx_path, "--predictions", "mine"),
        ("data", "--dataset", "digits", "--output", "mine"),
    ):
        answer = cli(*arguments)

        assert (answer.code, answer.err) == (
            2,
            "mnistctl: mine exists; delete it or choose another name\n",
        )
    assert Path("mine").read_text() == "precious"


def test_tables_are_never_cut(
    cli: Cli, onnx_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    confusion = cli("eval", onnx_path, "-q").out
    read = cli("predict", picture, "--model", onnx_path, "--top", "10").out

    assert "…" not in confusion + read
    assert str(picture) in read


def test_a_failed_check_leaves_no_file(
    cli: Cli, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnistctl.exports import parity

    monkeypatch.setattr(parity, "RELATIVE_TOLERANCE", 0.0)  # not even rounding is allowed

    answer = cli("export", run_folder, "--output", "out/it.onnx")

    assert answer.code == 6
    assert "out/it.onnx: not written" in answer.err.replace("\\", "/")
    assert list(Path("out").iterdir()) == []


def test_info_says_what_a_file_is(cli: Cli, checkpoint_path: Path, onnx_path: Path) -> None:
    for path, kind in ((checkpoint_path, "safetensors"), (onnx_path, "onnx")):
        result = json.loads(cli("info", path, "--json").out)
        text = cli("info", path).out

        assert result["format"] == kind
        assert result["signature"]["images"] == "uint8 (batch, 28, 28)"
        assert (result["arch"], result["parameters"]) == ("cnn", 247_771)
        assert "247,771 parameters" in text
        assert "digits (SHA-256" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("trian",), 2, "No such command 'trian'. Did you mean 'train'?"),
        (("train", "--epoch", "3"), 2, "No such option: --epoch"),
        (("train", "--arch", "cmn"), 2, "unknown architecture 'cmn'; did you mean 'cnn'?"),
        (("train", "--dataset", "digit"), 2, "unknown dataset 'digit'; did you mean 'digits'?"),
        (("train", "--epochs", "0"), 2, "--epochs 0.0: expected a value above 0"),
        (("train", "--epochs", "many"), 2, "Invalid value for '--epochs'"),
        (("train", "--learning-rate", "-1"), 2, "--learning-rate -1.0: expected a value above 0"),
        (("train", "--batch-size", "0"), 2, "--batch-size 0: expected a value between"),
        (("train", "--seed", "-1"), 2, "--seed -1: expected"),
        (("train", "--device", "gpu"), 2, "unknown device 'gpu'"),
        (("train", "--device", "cuda:99"), 2, "--device cuda:99: torch finds"),
        ((*TRAIN, "--validation-size", "1500"), 2, "--validation-size 1,500: there are only 1,500"),
        (("train", "--name", "../up"), 2, "--name '../up': expected up to 100 letters"),
        (("train", "--name", ""), 2, "--name '': expected up to 100 letters"),
        (("train", "--dataset", ""), 2, "unknown dataset ''"),
        (("train", "--arch", ""), 2, "unknown architecture ''"),
        (("eval", ""), 4, "the model's name is empty"),
        (("download", "--from", ""), 3, "--from : neither a folder"),
        (("download", "--from", "x", "--mirror", "http://x"), 3, "--from x: neither a folder"),
        (("eval", "nothing"), 4, "nothing: no such file, run folder or run; known here: bundled"),
        (("eval", "x", "--pictures", "p", "--no-plots"), 2, "--pictures and --no-plots: choose one"),
        (("info", "x", "--card", "--json"), 2, "--card and --json: choose one"),
        (("predict", "x.png", "--threshold", "2"), 2, "Invalid value for '--threshold'"),
        (("predict", "x.png", "--threshold", "0.5", "--no-reject"), 2, "choose one"),
        (
            ("eval", "x", "--dataset", "digits", "--split", "tset"),
            2,
            "did you mean 'test'?",
        ),
        (("eval", "x", "--batch-size", "0"), 2, "--batch-size 0: expected 1 or more"),
        (("eval", "x", "--min-accuracy", "99"), 2, "Invalid value for '--min-accuracy'"),
        (("predict",), 2, "no pictures: name some"),
        (("predict", "x.png", "--top", "0"), 2, "--top 0: expected 1 or more"),
        (("predict", "x.png", "--json", "--csv"), 2, "--json, --jsonl and --csv: choose one"),
        (("export", "x", "--format", "onx"), 2, "unknown format 'onx'; did you mean 'onnx'?"),
        (("download", "digits"), 2, "is part of mnistctl; there is nothing to download"),
        (("download", "--from", "nowhere"), 3, "--from nowhere: neither a folder nor an address"),
        (("download", "--from", "."), 3, "has neither train-images-idx3-ubyte nor"),
        (("download",), 3, "could not be downloaded"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(
    arguments: tuple[str, ...], code: int, message: str, cli: Cli
) -> None:
    answer = cli(*arguments)

    assert answer.code == code
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    assert answer.err.startswith("mnistctl: ")
    assert message in answer.err


def test_an_exported_file_cannot_be_exported_again(cli: Cli, onnx_path: Path) -> None:
    answer = cli("export", onnx_path, "--output", "again.onnx")

    assert (answer.code, answer.out) == (2, "")
    assert "already exported" in answer.err


def test_a_bug_of_ours_is_a_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "find_all", lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        cli("eval")


def complete(line: str) -> list[str]:
    """What bash would offer at the end of a line."""
    words = line.split(" ")
    answer = subprocess.run(
        [sys.executable, "-m", "mnistctl"],
        env={
            **os.environ,
            "_MNISTCTL_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.split()


def test_a_shell_completes_commands_architectures_datasets_and_runs() -> None:
    for name in ("mine", "my-best"):
        (Path("runs") / name).mkdir(parents=True)
        (Path("runs") / name / "model.safetensors").touch()

    assert complete("mnistctl ev") == ["eval"]
    assert complete("mnistctl train --arch c") == ["cnn"]
    assert complete("mnistctl train --dataset ") == list(catalog.DATASETS)
    assert sorted(complete("mnistctl eval m")) == ["mine", "my-best"]
    assert complete("mnistctl predict x.png --model my-") == ["my-best"]


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mnistctl", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_a_usable_model(number: int, code: int, cli: Cli) -> None:
    with start(*TRAIN, "--epochs", "10000", "--name", "long") as process:
        metrics = Path("runs/long/metrics.jsonl")
        deadline = time.monotonic() + 60
        while not metrics.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

    assert process.returncode == code
    assert err.splitlines()[-1].startswith("mnistctl: interrupted in epoch")
    assert "safe in runs/long/model.safetensors; go on with: mnistctl train --resume long" in err
    assert "Traceback" not in err
    assert cli("eval", "long", "--json").code == 0


def test_a_run_that_diverges_fails_and_keeps_nothing_that_is_not_finite(
    cli: Cli, checkpoint_path: Path
) -> None:
    opened = checkpoint.load(checkpoint_path)
    vast = {name: tensor * np.float32(1e30) for name, tensor in opened.tensors.items()}
    checkpoint.save(Path("vast.safetensors"), vast, opened.metadata)

    answer = cli(*TRAIN, "--init", "vast.safetensors", "--name", "wild", "-q", "--json")

    assert (answer.code, answer.out) == (1, "")
    assert "diverged in epoch 1" in answer.err
    assert "nothing was saved" in answer.err
    assert {path.name for path in Path("runs/wild").iterdir()} == {"config.json", ".lock"}


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
def test_ctrl_c_outside_of_training_is_one_line(onnx_path: Path) -> None:
    code = """
import os, signal, sys, time
from mnistctl import models
from mnistctl.cli import app
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
models.find = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGINT) or time.sleep(60)
sys.exit(app.main(["eval"]))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (answer.returncode, answer.stderr) == (130, "mnistctl: interrupted\n")


def test_an_empty_folder_of_pictures_is_one_line_and_the_others_are_read(
    cli: Cli, onnx_path: Path, picture: Path
) -> None:
    Path("none").mkdir()

    answer = cli("predict", "none", picture, "--model", onnx_path, "--json")

    assert answer.code == 6
    assert answer.err.splitlines()[0] == "mnistctl: none: a folder without pictures"
    assert json.loads(answer.out)[1]["label"] == "3"


def test_a_long_path_does_not_push_the_answer_out(cli: Cli, onnx_path: Path, picture: Path) -> None:
    folder = Path("/".join(["a-rather-long-name-of-a-folder"] * 5))
    folder.mkdir(parents=True)
    Image.open(picture).save(folder / "three.png")

    answer = cli("predict", folder / "three.png", "--model", onnx_path)

    assert answer.out.splitlines()[-1].split()[:2] == [str(folder / "three.png"), "3"]


def test_downloads_are_one_plain_line_a_file_off_a_terminal(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = struct.pack(">HBBI", 0, 8, 1, 500_000) + os.urandom(500_000)
    raw = catalog.RawFile("labels-idx1-ubyte", len(content), files.sha256(content))
    monkeypatch.setattr(catalog, "DATASETS", {"tiny": tiny_dataset(raw)})
    archive = gzip.compress(content)
    with serving(lambda connection, path: connection.sendall(answer(archive))) as server:
        said = cli("download", "tiny", "--from", server.address)

    assert said.code == 0
    assert said.err == "downloading labels-idx1-ubyte.gz\n"


@pytest.mark.skipif(os.name == "nt", reason="no such limits there")
def test_a_disk_that_is_full_is_one_line_and_no_half_file() -> None:
    import resource

    def allow_100_kb() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with start(*TRAIN, "--name", "full", preexec_fn=allow_100_kb, env=unmeasured()) as process:
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert err.splitlines()[-1] == (
        "mnistctl: runs/full/model.safetensors: cannot be written: File too large; what was saved "
        "before is safe; make room, then go on with: mnistctl train --resume full"
    )
    assert sorted(path.name for path in Path("runs/full").iterdir()) == [
        ".lock",
        "config.json",
        "metrics.jsonl",
    ]


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_a_reader_that_has_had_enough_is_no_traceback(option: str, onnx_path: Path) -> None:
    process = start("eval", str(onnx_path), option)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None

    _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (1, "")


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals there")
def test_a_terminal_shows_a_bar_with_speed_and_time_left() -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mnistctl", *TRAIN, "--epochs", "30"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that nobody writes any more
            while piece := os.read(ours, 65_536):
                shown += piece
        os.close(ours)

    text = shown.decode()
    assert process.returncode == 0
    assert "━" in text
    assert "images/s" in text
    assert re.search(r"\d\d:\d\d", text)
    assert re.search(r"30 +0\.\d{4} +\d+\.\d\d% +0\.\d{4}", text)


def test_a_preview_has_a_row_of_text_for_each_row_of_pixels() -> None:
    image = datasets.load("digits", "test").images[0]

    lines = terminal_art.shaded(image).splitlines()

    assert len(lines) == 28
    assert {len(line) for line in lines} == {56}
    for row, line in zip(image, lines, strict=True):
        assert ("█" in line) == bool((row >= 224).any())


@pytest.mark.mnist
def test_mnist_is_downloaded_from_a_folder_and_not_twice(cli: Cli) -> None:
    source = os.environ["MNISTCTL_TEST_MNIST"]

    first = json.loads(cli("download", "--from", source, "--data-dir", "here", "--json").out)
    second = json.loads(cli("download", "--data-dir", "here", "--json").out)

    assert [file["status"] for file in first] == ["copied"] * 4
    assert [file["status"] for file in second] == ["present"] * 4


@pytest.mark.mnist
def test_the_whole_way_on_real_mnist(cli: Cli) -> None:
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


def test_main_takes_arguments_from_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mnistctl", "--version"])

    with pytest.raises(SystemExit) as stop:
        app.run()

    assert stop.value.code == 0
    assert capsys.readouterr().out == f"mnistctl {__version__}\n"
