"""`mnistctl tune` as people and programs use it."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mnistctl
from tests.helpers import Cli
from tests.tuning.conftest import search

TUNE = ("tune", "a", "--arch", "mlp", "--dataset", "digits", "--device", "cpu", "--subset", "300")
SHORT = (*TUNE, "--epochs", "1", "--workers", "1", "--trials", "2")


def test_a_search_prints_the_best_trials_the_confirmation_and_what_to_do_next(cli: Cli) -> None:
    answer = cli(*SHORT, "--confirm", "2", "--workers", "2")

    assert answer.code == 0, answer.err
    assert "2 trials: 2 complete" in answer.out
    assert "confirmed by 2 runs with new seeds on another split: validation accuracy" in answer.out
    assert "test accuracy" in answer.out
    assert "  mnistctl train --config runs/a/best.toml" in answer.out
    assert [line.split(":")[0] for line in answer.err.splitlines()].count("trial 0") == 1
    plots = {path.name for path in Path("runs/a").glob("*.png")}
    assert plots == {"history.png", "parallel.png", "slices.png"}  # too few trials for importances


def test_a_search_prints_a_line_of_json_per_trial(cli: Cli) -> None:
    answer = cli(*SHORT, "--confirm", "0", "--jsonl", "--no-plots", "--quiet")

    assert [json.loads(line)["number"] for line in answer.out.splitlines()] == [0, 1]
    assert answer.err == ""


def test_a_study_is_shown_without_running_a_trial(cli: Cli) -> None:
    search("a", trials=3)

    answer = cli("tune", "a", "--show")
    shown = json.loads(cli("tune", "a", "--show", "--json").out)

    assert answer.code == 0
    assert len([line for line in answer.out.splitlines() if " complete " in line]) == 3
    assert [trial["number"] for trial in shown["trials"]] == [0, 1, 2]


def test_a_study_is_continued_with_more_trials(cli: Cli) -> None:
    search("a", trials=1)

    answer = cli("tune", "--resume", "a", "--trials", "2", "--workers", "1", "--no-plots", "--json")

    assert len(json.loads(answer.out)["trials"]) == 2


def test_a_settings_file_describes_a_study(cli: Cli) -> None:
    Path("study.toml").write_text(
        'arch = "mlp"\ndataset = "digits"\nsubset = 300\nepochs = 1\nlearning_rate = 0.02\n'
        '[search]\nhidden = [[8], [16, 8]]\ndropout = "0..0.5"\n'
    )

    answer = cli("tune", "a", "--config", "study.toml", "--trials", "1", "--confirm", "0", "--json")

    (trial,) = json.loads(answer.out)["trials"]
    assert set(trial["settings"]) == {"hidden", "dropout"}
    settings = json.loads(Path(trial["runs"][0], "config.json").read_text())
    assert settings["learning_rate"] == 0.02


def test_a_search_by_time_ends_in_time_and_is_confirmed(cli: Cli) -> None:
    started = time.monotonic()

    answer = cli(*TUNE, "--minutes", "0.4", "--epochs", "0.5", "--confirm", "1", "--no-plots", "--json")

    result = json.loads(answer.out)
    assert time.monotonic() - started < 120
    assert result["planned_trials"] is None
    assert len(result["confirmations"]) == 1
    states = [trial["state"] for trial in result["trials"]]
    assert states.count("complete") > 0
    assert "running" not in states


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_says_how_to_resume_it(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "mnistctl", *TUNE, "--epochs", "2000", "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(Path("runs/a").glob("trial-0/last.safetensors")):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert "mnistctl: interrupted; 0 trials are finished; resume with: mnistctl tune --resume a" in err
    (trial, *_) = mnistctl.read_study("a").trials
    assert trial.state == "interrupted"
    assert trial.epochs > 0


def test_a_custom_architecture_is_searched_and_named_again(cli: Cli) -> None:
    Path("net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, classes: int, width: int = 8):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), "
        "nn.Linear(width, classes))\n"
    )
    options = ("--arch", "net.py:Net", "--search", "width=4,8", "--sampler", "grid", "--no-plots")
    first = cli(
        *("tune", "a", *options, "--dataset", "digits", "--epochs", "1", "--confirm", "1"),
        *("--workers", "1", "--json"),
    )

    trials = json.loads(first.out)["trials"]
    assert sorted(trial["settings"]["width"] for trial in trials) == [4, 8]
    assert "width = " in Path("runs/a/best.toml").read_text()
    unnamed = cli("tune", "--resume", "a")
    assert unnamed.code == 2
    assert "if you trust it, add --arch net.py:Net" in unnamed.err
    assert cli("tune", "--resume", "a", "--arch", "net.py:Net", "--no-plots").code == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--search", "lr=1..2"), 2, "unknown setting 'lr'; did you mean 'learning_rate'?"),
        (("--search", "dropout=0.5..0.1"), 2, "an empty range"),
        (("--sampler", "tpo"), 2, "unknown sampler 'tpo'; did you mean 'tpe'?"),
        (("--pruner", "medain"), 2, "unknown pruner 'medain'; did you mean 'median'?"),
        (("--pruner", "wilcoxon"), 2, "--pruner wilcoxon compares seed by seed; use --seeds 2 or more"),
        (("--objective", "speed"), 2, "unknown objective 'speed'"),
        (("--objective", "loss,loss"), 2, "an objective is named twice"),
        (("--objective", "loss,parameters", "--pruner", "median"), 2, "cannot be pruned"),
        (("--sampler", "grid"), 2, "--sampler grid needs lists of values or a step"),
        (("--trials", "0"), 2, "--trials 0: expected from 1 to 100,000"),
        (("--seeds", "0"), 2, "--seeds 0: expected from 1 to 100"),
        (("--confirm", "-1"), 2, "--confirm -1: expected from 0 to 100"),
        (("--workers", "65"), 2, "--workers 65: expected from 1 to 64"),
        (("--minutes", "0"), 2, "--minutes 0: expected a number above 0"),
        (("--minutes", "nan"), 2, "--minutes nan: expected a number above 0"),
        (("--keep", "some"), 2, "unknown value of --keep 'some'; available: best, all"),
        (("--validation-size", "0"), 2, "--validation-size 0: a search needs validation images"),
        (("--resume", "b"), 2, "--resume b: a study keeps its dataset"),
        (("--json", "--jsonl"), 2, "--json and --jsonl: choose one"),
        (("--device", "cuda:99"), 2, "cuda:99"),
        (("--config", "nothing.toml"), 2, "--config nothing.toml"),
    ],
)
def test_bad_options_are_one_line(options: tuple[str, ...], code: int, message: str, cli: Cli) -> None:
    answer = cli("tune", "a", "--arch", "mlp", "--dataset", "digits", *options)

    assert answer.code == code
    assert message in answer.err
    lines = [line for line in answer.err.splitlines() if line.startswith("mnistctl: ")]
    assert len(lines) == 1
    assert not Path("runs/a").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--resume", "nothing"), "study 'nothing' not found in runs/"),
        (("--resume", "../up"), "study '../up': expected up to 100 letters"),
        (("nothing", "--show"), "study 'nothing' not found in runs/"),
        (("--show",), "--show: name the study"),
        (("a/b", "--arch", "mlp", "--dataset", "digits"), "study 'a/b': expected up to 100 letters"),
        (("--resume", "a", "--epochs", "3"), "--resume a: a study keeps its epochs"),
        (("--resume", "a", "--arch", "cnn"), "study 'a': its architecture is mlp, not cnn"),
    ],
)
def test_a_study_that_cannot_be_continued_is_one_line(
    arguments: tuple[str, ...], message: str, cli: Cli
) -> None:
    search("a", trials=1)

    answer = cli("tune", *arguments)

    assert answer.code == 2
    assert message in answer.err


def test_a_run_is_not_taken_for_a_study(cli: Cli) -> None:
    cli("train", "--dataset", "digits", "--epochs", "0.1", "--name", "a", "--no-plots")

    answer = cli(*SHORT)

    assert answer.code == 2
    assert "'a' is a run; choose another name for the study" in answer.err


def test_a_journal_that_cannot_grow_stays_as_it_was(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    search("a", trials=1)
    journal = Path("runs/a/study.journal")
    content = journal.read_bytes()
    original, target = os.fsync, journal.stat().st_ino

    def fail(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == target:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        answer = cli("tune", "--resume", "a", "--trials", "3", "--workers", "1")

    assert answer.code == 1
    assert "study.journal: cannot be written: No space left on device" in answer.err
    assert journal.read_bytes() == content


@pytest.mark.skipif(os.name == "nt", reason="limits of file sizes")
def test_a_full_disk_ends_the_search_in_one_line_and_it_can_be_resumed(cli: Cli) -> None:
    import resource

    limit = 60_000  # bytes of a file: enough for the journal, too little for a model
    command = [sys.executable, "-m", "mnistctl", *SHORT, "--confirm", "0", "--no-plots"]
    full = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )

    assert full.returncode == 1
    (line,) = [line for line in full.stderr.splitlines() if line.startswith("mnistctl: ")]
    assert "cannot be written: File too large" in line
    assert line.endswith("; resume with: mnistctl tune --resume a")
    again = cli("tune", "--resume", "a", "--workers", "1", "--no-plots", "--json")
    assert [trial["state"] for trial in json.loads(again.out)["trials"]] == ["complete"] * 2
