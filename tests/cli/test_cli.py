"""The program: help, errors, completion, signals and the terminal."""

import contextlib
import gzip
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from mnistctl import __version__
from mnistctl.cli import app
from mnistctl.datasets import catalog
from mnistctl.models import checkpoint, formats
from mnistctl.run import run_folder
from mnistctl.system import files
from tests.datasets.servers import answer, serving
from tests.helpers import Cli, environment_without_coverage, tiny_dataset

TRAIN = ("train", "--dataset", "digits", "--device", "cpu", "--epochs", "2")


def test_version_and_help_are_printed(cli: Cli) -> None:
    assert cli("--version").out == cli("-V").out == f"mnistctl {__version__}\n"
    assert "train" in cli("--help").out
    assert cli("train", "-h").code == 0


def test_the_command_help_shows_the_help_of_a_command(cli: Cli) -> None:
    assert cli("help").out == cli("--help").out
    assert cli("help", "train").out == cli("train", "--help").out
    assert cli("help", "trian").err == "mnistctl: unknown command 'trian'; did you mean 'train'?\n"


def test_help_groups_every_command_in_a_panel(cli: Cli) -> None:
    lines = cli("--help").out.splitlines()

    panels = [line.split("─ ")[1].split(" ─")[0] for line in lines if line.startswith("╭─ ")]
    assert panels == ["Options", "First steps", "Models", "Data", "Runs", "Setup"]


@pytest.mark.parametrize("command", app.app.registered_commands, ids=lambda command: command.name)
def test_help_shows_examples_one_per_line_and_no_technical_types(
    command: typer.models.CommandInfo, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    text = cli(str(command.name), "--help").out

    examples = [line.strip() for line in text.split("Examples")[1].splitlines() if line.strip()]
    assert len(examples) >= 2
    assert all(line.startswith("mnistctl ") for line in examples)
    assert not re.search(r"<\w+|\{\w+\}|<=", text)


@pytest.mark.parametrize("command", app.app.registered_commands, ids=lambda command: command.name)
def test_examples_in_help_use_existing_options(command: typer.models.CommandInfo) -> None:
    group = typer.main.get_group(app.app)

    for line in str(command.epilog).splitlines()[1:]:
        program, name, *arguments = shlex.split(line.split(" > ")[0])
        assert program == "mnistctl"
        with contextlib.suppress(typer.Exit):  # --version and --help end here
            group.commands[name].make_context(name, arguments)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("trian",), 2, "unknown command 'trian'; did you mean 'train'?"),
        (("xyzzy",), 2, "unknown command 'xyzzy'; see 'mnistctl --help'"),
        (("--vers",), 2, "unknown option '--vers'; did you mean '--version'?"),
        (
            ("train", "--epoch", "3"),
            2,
            "unknown option '--epoch'; did you mean '--epochs VALUE'?",
        ),
        (("train", "--recipes", "x"), 2, "unknown option '--recipes'; did you mean '--recipe NAME'?"),
        (("train", "--bs", "3"), 2, "unknown option '--bs'; did you mean '--batch-size N'?"),
        (("train", "-e", "3"), 2, "unknown option '-e'. Try 'mnistctl train --help'"),
        (("train", "--lr", "1000"), 2, "--learning-rate 1000: expected a number above 0"),
        (("train", "cnn"), 2, "unexpected argument 'cnn'; did you mean '--arch cnn'?"),
        (("train", "fast"), 2, "unexpected argument 'fast'; did you mean '--recipe fast'?"),
        (("train", "digits"), 2, "unexpected argument 'digits'; did you mean '--dataset digits'?"),
        (("runs", "x"), 2, "unexpected argument 'x'. Try 'mnistctl runs --help'"),
        (("ensemble",), 2, "Missing argument 'MODEL'. Try 'mnistctl ensemble --help'"),
        (
            ("train", "--arch", "fast"),
            2,
            "'fast' is a recipe, not an architecture: use '--rec",
        ),
        (("train", "--arch", "resnet18"), 2, "did you mean 'torchvision:resnet18'?"),
        (("train", "--arch", "zzz"), 2, "unknown architecture 'zzz'; see 'mnistctl archs'"),
        (("train", "--recipe", "fats"), 2, "unknown recipe 'fats'; did you mean 'fast'?"),
        (("train", "--recipe", "resnet18"), 2, "use '--arch torchvision:resnet18'"),
        (
            ("train", "--dataset", "fashion"),
            2,
            "did you mean 'fashion-mnist'?",
        ),
        (("data", "kmnits"), 2, "unknown dataset 'kmnits'; did you mean 'kmnist'?"),
        (("data", "--dataset=kmnits"), 2, "unknown dataset 'kmnits'; did you mean 'kmnist'?"),
        (("download", "--dataset", "kmnits"), 2, "did you mean 'kmnist'?"),
        (("eval", "--model", "nothing"), 4, "nothing: no such file"),
        (("train", "--arch", "cmn"), 2, "unknown architecture 'cmn'; did you mean 'cnn'?"),
        (("train", "--dataset", "digit"), 2, "unknown dataset 'digit'; did you mean 'digits'?"),
        (("train", "--epochs", "0"), 2, "--epochs 0: expected a number above 0"),
        (("train", "--epochs", "many"), 2, "Invalid value for '--epochs': expected a number"),
        (("train", "--learning-rate", "-1"), 2, "--learning-rate -1: expected a number above 0"),
        (("train", "--batch-size", "0"), 2, "--batch-size 0: expected a whole number from 1"),
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
        (("eval", "nothing"), 4, "nothing: no such file, run folder or run; available: bundled"),
        (("eval", "x", "--plots", "p", "--no-plots"), 2, "--plots and --no-plots: choose one"),
        (("info", "x", "--card", "--json"), 2, "--card and --json: choose one"),
        (("predict", "x.png", "--threshold", "2"), 2, "--threshold 2: expected a value from 0 to 1"),
        (("predict", "x.png", "--threshold", "0.5", "--no-reject"), 2, "choose one"),
        (
            ("eval", "x", "--dataset", "digits", "--split", "tset"),
            2,
            "did you mean 'test'?",
        ),
        (("eval", "x", "--batch-size", "0"), 2, "--batch-size 0: expected 1 or more"),
        (("eval", "x", "--min-accuracy", "99"), 2, "--min-accuracy 99: expected a value from 0 to 1"),
        (("eval", "x", "--min-accuracy", "all"), 2, "--min-accuracy all: expected a value from 0"),
        (("eval", "x", "--batch-size", "all"), 2, "'--batch-size': expected a whole number"),
        (("predict",), 2, "no pictures: name some"),
        (("predict", "x.png", "--top", "0"), 2, "--top 0: expected 1 or more"),
        (("predict", "x.png", "--json", "--csv"), 2, "--json, --jsonl and --csv: choose one"),
        (("export", "x", "--format", "onx"), 2, "unknown format 'onx'; did you mean 'onnx'?"),
        (("export", "x", "--opset", "17"), 2, "'17' is not one of '18', '19', '20', '21'"),
        (("export", "x", "--input", "int8"), 2, "'int8' is not one of 'uint8', 'float32'"),
        (("download", "digits"), 2, "is part of mnistctl; there is nothing to download"),
        (("download", "--from", "nowhere"), 3, "--from nowhere: neither a folder nor a URL"),
        (("download", "--from", "."), 3, "neither train-images-idx3-ubyte nor"),
        (("download",), 3, "train-images-idx3-ubyte.gz could not be downloaded (127.0.0.1: could not"),
    ],
)
def test_bad_input_gives_one_line_and_an_exit_code(
    arguments: tuple[str, ...], code: int, message: str, cli: Cli
) -> None:
    answer = cli(*arguments)

    assert answer.code == code
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    assert answer.err.startswith("mnistctl: ")
    assert message in answer.err


def test_a_bug_gives_a_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "find_all", lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        cli("eval")


def complete(line: str) -> list[str]:
    """The completions that bash offers at the end of a line, which it splits at colons and at "="."""
    words = [word for part in line.split(" ") for word in re.findall("[^:=]+|[:=]", part) or [""]]
    code = (
        "import sys; from mnistctl.cli import app\n"
        "try: app.run()\n"
        "finally: assert not {'torch', 'onnx', 'matplotlib'} & sys.modules.keys()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "_MNISTCTL_COMPLETE": "complete_bash",
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stderr == ""
    return answer.stdout.split()


@pytest.fixture
def two_runs() -> None:
    for name in ("mine", "my-best"):
        (Path("runs") / name).mkdir(parents=True)
        (Path("runs") / name / "model.safetensors").touch()
    Path("my.onnx").touch()


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("mnistctl ev", ["eval"]),
        ("mnistctl help ev", ["eval"]),
        ("mnistctl train --learning", ["--learning-rate"]),
        ("mnistctl train --arch ", ["cnn", "detector", "lenet5", "linear", "mlp", "torchvision:"]),
        ("mnistctl train --arch c", ["cnn"]),
        ("mnistctl train --arch torchvision:resnet1", ["resnet101", "resnet152", "resnet18"]),
        ("mnistctl train --arch torchvision:resnet18 --optimizer ada", ["adadelta", "adam", "adamw"]),
        ("mnistctl train --dataset ", sorted(catalog.DATASETS)),
        ("mnistctl train --recipe mlp-", ["mlp-128", "mlp-128-64", "mlp-sgd"]),
        ("mnistctl recipes mlp-s", ["mlp-sgd"]),
        ("mnistctl train --device ", ["auto", "cpu", "cuda", "mps"]),
        ("mnistctl train --precision ", ["auto", "bf16", "float32"]),
        ("mnistctl train --track tens", ["tensorboard"]),
        ("mnistctl train --resume m", ["mine", "my-best"]),
        ("mnistctl train --init bun", ["bundled"]),
        ("mnistctl data fa", ["fashion-mnist"]),
        ("mnistctl data --dataset fa", ["fashion-mnist"]),
        ("mnistctl download fa", ["fashion-mnist"]),
        ("mnistctl eval ", ["bundled", "mine", "my-best", "my.onnx"]),
        ("mnistctl eval --model my-", ["my-best"]),
        ("mnistctl eval --split te", ["test"]),
        ("mnistctl eval --dataset qmnist --split test,tes", ["test,test10k", "test,test50k"]),
        ("mnistctl predict x.png --model my-", ["my-best"]),
        ("mnistctl label photos --model bu", ["bundled"]),
        ("mnistctl compare mine bu", ["bundled"]),
        ("mnistctl ensemble mine my-", ["my-best"]),
        ("mnistctl plot mi", ["mine"]),
        ("mnistctl export --format onnx,onnx", ["onnx,onnx-fp16", "onnx,onnx-int8"]),
        ("mnistctl export --format=op", ["openvino"]),
        ("mnistctl export --format=", sorted(formats.FORMATS)),
        ("mnistctl benchmark --format openvino,to", ["openvino,torch"]),
    ],
)
def test_bash_completes_names(line: str, completions: list[str]) -> None:
    assert sorted(complete(line)) == completions


def start_program(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mnistctl", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_a_usable_model(number: int, code: int, cli: Cli) -> None:
    with start_program(*TRAIN, "--epochs", "10000", "--name", "long") as process:
        metrics = Path("runs/long/metrics.jsonl")
        deadline = time.monotonic() + 60
        while not metrics.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

    assert process.returncode == code
    assert err.splitlines()[-1].startswith("mnistctl: interrupted in epoch")
    assert "is in runs/long/model.safetensors; resume with: mnistctl train --resume long" in err
    assert "Traceback" not in err
    assert cli("eval", "long", "--json").code == 0


def test_a_run_that_diverges_fails_and_saves_no_model(cli: Cli, checkpoint_path: Path) -> None:
    model = checkpoint.load(checkpoint_path)
    huge = {name: tensor * np.float32(1e30) for name, tensor in model.tensors.items()}
    checkpoint.save(Path("huge.safetensors"), huge, model.metadata)

    answer = cli(*TRAIN, "--init", "huge.safetensors", "--name", "wild", "-q", "--json")

    assert (answer.code, answer.out) == (1, "")
    assert "diverged in epoch 1" in answer.err
    assert "no model was saved" in answer.err
    assert {path.name for path in Path("runs/wild").iterdir()} == {"config.json", ".lock"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no POSIX signals")
def test_ctrl_c_outside_training_gives_one_line(onnx_path: Path) -> None:
    code = """
import os, signal, sys, time
from mnistctl.api import models
from mnistctl.cli import app
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
models.find_model = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGINT) or time.sleep(60)
sys.exit(app.main(["eval"]))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (answer.returncode, answer.stderr) == (130, "mnistctl: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no resource limits")
def test_a_full_disk_gives_one_line_and_no_partial_file() -> None:
    import resource

    def allow_100_kb() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with start_program(
        *TRAIN, "--name", "full", preexec_fn=allow_100_kb, env=environment_without_coverage()
    ) as process:
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert err.splitlines()[-1] == (
        "mnistctl: runs/full/model.safetensors: cannot be written: File too large; "
        "free some space, then run: mnistctl train --resume full"
    )
    assert sorted(path.name for path in Path("runs/full").iterdir()) == [
        ".lock",
        "config.json",
        "metrics.jsonl",
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no POSIX signals")
@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_a_closed_pipe_gives_no_traceback(option: str, onnx_path: Path) -> None:
    process = start_program("eval", str(onnx_path), option)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None

    _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (141, "")  # as if SIGPIPE had ended it


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_a_terminal_shows_a_bar_with_speed_and_remaining_time() -> None:
    import pty

    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "mnistctl", *TRAIN, "--epochs", "30"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        output = b""
        with contextlib.suppress(OSError):  # on Linux: the other end is closed
            while chunk := os.read(controller, 65_536):
                output += chunk
        os.close(controller)

    text = output.decode()
    assert process.returncode == 0
    assert "━" in text
    assert "images/s" in text
    assert re.search(r"\d\d:\d\d", text)
    assert re.search(r"30 +0\.\d{4} +\d+\.\d\d% +0\.\d{4}", text)


def test_download_prints_one_plain_line_per_file_without_a_terminal(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = struct.pack(">HBBI", 0, 8, 1, 500_000) + os.urandom(500_000)
    raw = catalog.RawFile("labels-idx1-ubyte", len(content), files.sha256(content))
    monkeypatch.setattr(catalog, "DATASETS", {"tiny": tiny_dataset(raw)})
    archive = gzip.compress(content)
    with serving(lambda connection, path: connection.sendall(answer(archive))) as server:
        downloaded = cli("download", "tiny", "--from", server.address)

    assert downloaded.code == 0
    assert downloaded.err == "downloading labels-idx1-ubyte.gz\n"


def test_tables_are_not_truncated_on_a_narrow_terminal(
    cli: Cli, onnx_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    report = cli("eval", onnx_path, "-q").out
    prediction = cli("predict", picture, "--model", onnx_path, "--top", "10").out

    assert "…" not in report + prediction
    assert str(picture) in prediction


def test_main_uses_the_arguments_of_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mnistctl", "--version"])

    with pytest.raises(SystemExit) as stop:
        app.run()

    assert stop.value.code == 0
    assert capsys.readouterr().out == f"mnistctl {__version__}\n"
