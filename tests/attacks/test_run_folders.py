"""Run folders from other people: their files are checked when they are read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnistctl.api import listings, plot
from mnistctl.api import train as training
from mnistctl.errors import ModelError
from mnistctl.run.run_folder import Run
from tests.attacks.attack import attack

HUGE = 10**300
DEEP = "[" * 300 + "]" * 300

CONFIG: dict[str, dict[str, Any]] = {
    "arch null": {"arch": None},
    "arch a number": {"arch": 5},
    "seed huge": {"seed": HUGE},
    "seed of text": {"seed": "x"},
    "clip norm huge": {"clip_norm": HUGE},
    "epochs infinite": {"epochs": float("inf")},
    "epochs of ten million": {"epochs": 10**7},
    "steps without end": {"min_steps": 10**12},
    "batch size negative": {"batch_size": -1},
    "dataset with a surrogate": {"dataset": "\ud800"},
    "dataset with an escape sequence": {"dataset": "\x1b[31m"},
    "dataset a list": {"dataset": ["mnist"]},
    "arguments deep": {"arch_args": {"hidden": json.loads(DEEP)}},
    "an unknown setting": {"more": 1},
}
METRICS: dict[str, dict[str, Any]] = {
    "epoch null": {"epoch": None},
    "epoch huge": {"epoch": HUGE},
    "epoch of 10^15": {"epoch": 10**15},
    "epoch 0": {"epoch": 0},
    "epoch of text": {"epoch": "1"},
    "steps null": {"steps": None},
    "seconds null": {"train_seconds": None},
    "seconds huge": {"train_seconds": HUGE},
    "seconds infinite": {"train_seconds": float("inf")},
    "loss huge": {"train_loss": HUGE},
    "loss NaN": {"validation_loss": float("nan")},
    "loss deep": {"train_loss": json.loads(DEEP)},
    "accuracy of 2": {"validation_accuracy": 2},
    "accuracy of text": {"validation_accuracy": "1"},
    "learning rate null": {"learning_rate": None},
    "finished null": {"finished": None},
    "an unknown metric": {"more": 1},
}
RESULT: dict[str, dict[str, Any]] = {
    "epochs null": {"epochs": None},
    "epochs of text": {"epochs": "5"},
    "seconds huge": {"train_seconds": HUGE},
    "plots a number": {"plots": 5},
    "plots of numbers": {"plots": [5]},
    "accuracy of text": {"validation_accuracy": "1"},
    "parameters null": {"parameters": None},
    "run null": {"run": None},
}
TEXTS = {
    "nothing": "",
    "null": "null",
    "a list": "[1]",
    "a number": "1" * 10_000,
    "deep": DEEP,
    "deeper": "[" * 100_000,
    "deep objects": '{"a":' * 5_000 + "1" + "}" * 5_000,
    "not UTF-8": "\udcff",
}


@pytest.fixture
def run(run_folder: Path) -> Run:
    """A copy of a finished run, `runs/mine`."""
    shutil.copytree(run_folder, Path("runs") / "mine")
    return Run(Path("runs") / "mine")


def replace(path: Path, **changes: Any) -> None:
    """Change the JSON object in a file, or the last one of several lines."""
    *others, last = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    path.write_text("".join(f"{line}\n" for line in (*others, json.dumps(json.loads(last) | changes))))


def check_rejected(action: Callable[[], Any], path: Path) -> None:
    with pytest.raises(ModelError) as error:
        action()

    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("name", CONFIG)
def test_a_configuration_with_wrong_values_is_rejected_in_one_line(name: str, run: Run) -> None:
    replace(run.config_path, **CONFIG[name])

    check_rejected(run.read_settings, run.config_path)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_with_wrong_values_are_rejected_in_one_line(name: str, run: Run) -> None:
    replace(run.metrics_path, **METRICS[name])

    check_rejected(lambda: plot.plot(run.folder), run.metrics_path)


@pytest.mark.parametrize("name", RESULT)
def test_a_result_with_wrong_values_is_rejected_in_one_line(name: str, run: Run) -> None:
    replace(run.result_path, **RESULT[name])

    check_rejected(lambda: training.train(resume=run.folder), run.result_path)


@pytest.mark.parametrize("file", ["config.json", "metrics.jsonl", "result.json"])
@pytest.mark.parametrize("name", TEXTS)
def test_files_of_other_content_are_rejected_in_one_line(name: str, file: str, run: Run) -> None:
    path = run.folder / file
    path.write_bytes((TEXTS[name] + "\n").encode(errors="surrogateescape"))
    actions: dict[str, Callable[[], Any]] = {
        "config.json": run.read_settings,
        "metrics.jsonl": run.read_metrics,
        "result.json": lambda: run.read_result(training.TrainResult),
    }

    check_rejected(actions[file], path)


def test_the_list_of_runs_leaves_out_a_hostile_run(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(run.folder, "runs/hostile")
    replace(Path("runs/hostile/metrics.jsonl"), train_seconds=HUGE)

    rows = listings.runs()

    assert [row.name for row in rows] == ["mine"]
    assert "runs/hostile/metrics.jsonl: not the metrics of a run" in caplog.text


def sparse(path: Path) -> None:
    path.unlink()
    with path.open("wb") as file:
        file.truncate(20 << 30)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def waiting(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("make", [sparse, endless, waiting])
@pytest.mark.parametrize("file", ["config.json", "metrics.jsonl"])
def test_the_list_of_runs_does_not_wait_for_a_file(
    file: str, make: Callable[[Path], None], run: Run, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, "runs/hostile")
    make(Path("runs/hostile") / file)

    outcome = attack("runs", folder=tmp_path)

    outcome.check_succeeded()
    assert "mine" in outcome.out
    assert "hostile" not in outcome.out


@pytest.mark.parametrize(
    ("file", "make"),
    [
        ("config.json", sparse),
        ("config.json", endless),
        ("config.json", waiting),
        ("result.json", sparse),
        ("last.safetensors", sparse),
        ("last.safetensors", endless),
        ("last.safetensors", waiting),
    ],
)
def test_resuming_does_not_wait_for_a_file(
    file: str, make: Callable[[Path], None], run: Run, tmp_path: Path
) -> None:
    make(run.folder / file)
    if file == "last.safetensors":
        run.result_path.unlink()

    outcome = attack("train", "--resume", "mine", folder=tmp_path, cpu_s=30)

    outcome.check_survived()
    assert outcome.code in (2, 4), outcome.err
    assert len([line for line in outcome.err.splitlines() if line.startswith("mnistctl: ")]) == 1


def test_a_run_of_another_architecture_is_not_resumed(run: Run, tmp_path: Path) -> None:
    replace(run.config_path, arch="torchvision:squeezenet1_1", arch_args={})
    run.result_path.unlink()

    attack("train", "--resume", "mine", folder=tmp_path, cpu_s=60).check_failed(4, "last.safetensors")


OVERSIZED = [
    ("--arch", "mlp", "--hidden", ",".join(["8192"] * 30)),
    (
        "--arch",
        "cnn",
        "--widths",
        ",".join(["8192"] * 5),
        "--kernels",
        "3",
        "--same-padding",
        "--pools",
        "1",
    ),
    ("--arch", "cnn", "--widths", "8,8", "--kernels", "8191", "--same-padding"),
    ("--arch", "cnn", "--widths", ",".join(["8"] * 5_000), "--kernels", "1", "--pools", "1"),
    ("--arch", "mlp", "--hidden", ",".join(["1"] * 100_00)),
]


@pytest.mark.parametrize("options", OVERSIZED)
def test_an_oversized_net_is_rejected_before_it_is_built(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    attack("train", "--dataset", "digits", *options, folder=tmp_path).check_failed(2, "at most")
