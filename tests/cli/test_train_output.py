"""What `train` and `runs` print: the epoch table, the summary, hints, interrupted runs."""

import dataclasses
import json
import logging
from pathlib import Path

import pytest

import mnistctl
from mnistctl.api.train import TrainResult
from mnistctl.cli import display
from mnistctl.cli.train import _render
from mnistctl.run import progress
from mnistctl.run.epoch import Epoch
from mnistctl.run.run_folder import Run
from tests.helpers import TINY_TRAINING, Cli

TRAIN = ("train", "--dataset", "digits", "--device", "cpu", "--no-plots", "--arch", "linear")
EPOCH = Epoch(
    epoch=1,
    steps=10,
    train_loss=0.5,
    train_accuracy=0.8,
    validation_loss=3.5e21,
    validation_accuracy=0.9,
    learning_rate=0.01,
    train_seconds=1.0,
    finished=True,
)


@pytest.mark.parametrize(("epochs", "rows"), [(3, 3), (25, 25), (26, 13), (400, 25)])
def test_the_epoch_table_has_at_most_25_rows(
    epochs: int, rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with display.live(quiet=False):
        receiver = progress.current()
        receiver.training(images=1, epochs=epochs)
        for number in range(1, epochs + 1):
            receiver.epoch(dataclasses.replace(EPOCH, epoch=number), best=number == epochs // 2)
        receiver.trained()

    lines = capsys.readouterr().err.splitlines()
    table = lines[lines.index(next(line for line in lines if line.startswith("epoch"))) + 1 :]
    assert len(table) == rows
    assert table[-1].split()[0] == str(epochs)
    (saved,) = [line.split()[0] for line in table if line.endswith("*")]
    assert saved == str(epochs // 2)
    assert ("metrics.jsonl in the run folder has all" in lines[0]) == (epochs > 25)


def test_the_epoch_table_shows_a_huge_loss_with_an_exponent(capsys: pytest.CaptureFixture[str]) -> None:
    with display.live(quiet=False):
        progress.current().epoch(EPOCH, best=True)

    row = capsys.readouterr().err.splitlines()[0]
    assert row.split() == ["1", "0.5000", "80.00%", "3.50e+21", "90.00%", "1.0", "*"]


def test_a_quiet_run_prints_only_its_result(cli: Cli) -> None:
    answer = cli(*TRAIN, "--epochs", "1", "--quiet")

    assert answer.err == ""
    assert answer.out.startswith("linear (7,850 parameters) on digits")
    assert "next:" not in answer.out


def test_a_run_names_the_command_for_its_final_accuracies(cli: Cli) -> None:
    with_validation = cli(*TRAIN, "--epochs", "1", "--name", "a")
    without = cli(*TRAIN, "--epochs", "1", "--validation-size", "0", "--name", "b")

    assert "mnistctl eval runs/a --split train,validation,test" in with_validation.out
    assert "mnistctl eval runs/b --split train,test" in without.out


def test_a_run_that_is_no_better_than_chance_says_so_and_suggests_no_export() -> None:
    result = mnistctl.train(**TINY_TRAINING)
    assert result.chance_accuracy is not None
    assert 0.1 <= result.chance_accuracy < 0.2
    result = dataclasses.replace(result, validation_accuracy=result.chance_accuracy)

    text = "\n".join(map(str, _render(result, quiet=False)))

    assert "no better than always predicting the most frequent class" in text
    assert "export" not in text


def test_the_name_of_a_run_has_the_recipe(cli: Cli) -> None:
    result = json.loads(
        cli("train", "--recipe", "mlp-128", "--dataset", "digits", "--epochs", "0.1", "--json").out
    )

    assert Path(result["run"]).name == "digits-mlp-128-1"


def test_the_epochs_are_logged_without_a_display(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mnistctl"):
        mnistctl.train(**TINY_TRAINING)

    messages = [message for message in caplog.messages if message.startswith("epoch ")]
    assert len(messages) == TINY_TRAINING["epochs"]
    assert messages[0].startswith("epoch 1: train loss ")


def test_the_validation_loss_is_the_same_in_the_table_the_result_and_the_lists(cli: Cli) -> None:
    trained = cli(*TRAIN, "--epochs", "2", "--name", "a", "--json")

    result = json.loads(trained.out)
    (listed,) = json.loads(cli("runs", "--json").out)
    info = json.loads(cli("info", "a", "--json").out)
    rows = [line.split() for line in trained.err.splitlines()]
    (row,) = [row for row in rows if row[:1] == [str(result["best_epoch"])]]
    assert row[3] == f"{result['validation_loss']:.4f}"
    assert listed["validation_loss"] == result["validation_loss"]
    assert info["metrics"]["validation_loss"] == result["validation_loss"]
    assert info["metrics"]["calibrated_validation_loss"] == result["calibrated_validation_loss"]
    assert result["calibrated_validation_loss"] < result["validation_loss"]


def test_an_interrupted_run_is_listed_with_the_metrics_of_its_saved_model(cli: Cli) -> None:
    cli(*TRAIN, "--epochs", "3", "--name", "a")
    run = Run(Path("runs/a"))
    first, second, _ = run.read_metrics()
    partial = dataclasses.replace(second, finished=False, validation_accuracy=1.0)
    run.result_path.unlink()
    run.metrics_path.write_text("".join(f"{json.dumps(row.to_json())}\n" for row in (first, partial)))

    (listed,) = json.loads(cli("runs", "--json").out)
    shown = cli("runs").out

    assert (listed["status"], listed["epochs"], listed["planned_epochs"]) == ("interrupted", 2, 3)
    assert (listed["best_epoch"], listed["validation_accuracy"]) == (1, first.validation_accuracy)
    assert "interrupted, epoch 2 of 3" in shown


def test_runs_are_sorted_and_show_any_setting(cli: Cli) -> None:
    for name, rate in (("a", "0.001"), ("b", "0.1"), ("c", "0.01")):
        cli(*TRAIN, "--epochs", "1", "--learning-rate", rate, "--name", name)

    shown = cli("runs", "--columns", "learning_rate,hidden", "--sort", "learning_rate").out
    by_accuracy = json.loads(cli("runs", "--sort", "validation_accuracy", "--json").out)

    rows = [line.split() for line in shown.splitlines()]
    assert rows == [
        ["run", "learning", "rate", "hidden"],
        ["a", "0.001", "–"],
        ["c", "0.01", "–"],
        ["b", "0.1", "–"],
    ]
    accuracies = [run["validation_accuracy"] for run in by_accuracy]
    assert accuracies == sorted(accuracies, reverse=True)


def test_a_setting_without_effect_is_reported(cli: Cli) -> None:
    answer = cli(*TRAIN, "--epochs", "1", "--step-epochs", "2", "--quiet")

    assert answer.code == 0
    assert "warning: --step-epochs has no effect with --schedule cosine" in answer.err


def test_arguments_of_a_custom_architecture_are_options(cli: Cli) -> None:
    Path("net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, classes, width=4, kind='a'):\n"
        "        super().__init__(\n"
        "            nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, classes))\n"
    )
    arguments = ("--arch-arg", "width=8", "--arch-arg", "kind=plain")

    answer = cli(*TRAIN[:-2], "--arch", "net.py:Net", "--epochs", "1", *arguments, "--json", "-q")

    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    config = json.loads((Path(result["run"]) / "config.json").read_text())
    assert config["arch_args"] == {"width": 8, "kind": "plain"}
    assert result["parameters"] == 784 * 8 + 8 + 8 * 10 + 10


def test_the_accuracy_of_every_seed_is_shown_as_soon_as_it_is_trained(cli: Cli) -> None:
    answer = cli(*TRAIN, "--epochs", "1", "--seeds", "2", "--name", "a")

    lines = [line for line in answer.err.splitlines() if line.startswith("seed ")]
    assert [line.split(", validation accuracy")[0] for line in lines] == [
        f"seed {seed}: {Path(f'runs/a-seed{seed}')}" for seed in (0, 1)
    ]


def test_the_result_has_no_calibrated_loss_with_few_validation_images() -> None:
    result: TrainResult = mnistctl.train(**{**TINY_TRAINING, "validation_size": 30})

    assert result.validation_loss is not None
    assert result.calibrated_validation_loss is None
