"""Studies whose processes are killed again and again end like studies that were left alone."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

import mnistctl
from mnistctl.tuning.result import TuneResult
from tests.tuning.conftest import Postgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]
KILLS = 32
TRIALS = 16


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "mnistctl", "tune", *options]


def start(*options: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command(*options), stderr=subprocess.DEVNULL, env=environment)


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def kill(process: int) -> bool:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def weights(run: str) -> dict[str, bytes]:
    tensors = load_file(Path(run) / "model.safetensors")
    return {name: array.tobytes() for name, array in tensors.items()}


def check_same(killed: TuneResult, reference: TuneResult) -> None:
    """Check trials, metrics and weights, bit for bit."""
    assert [trial.number for trial in killed.trials] == list(range(TRIALS))
    assert {trial.state for trial in killed.trials} == {"complete"}
    for one, other in zip(killed.trials, reference.trials, strict=True):
        assert (one.settings, one.objectives, one.validation_loss) == (
            other.settings,
            other.objectives,
            other.validation_loss,
        )
        assert weights(one.runs[0]) == weights(other.runs[0])
    runs = [[item.run for item in result.confirmations] for result in (killed, reference)]
    for name, other in zip(*runs, strict=True):
        assert weights(name) == weights(other)
    assert killed.confirmed_accuracy == reference.confirmed_accuracy


@pytest.mark.parametrize("kind", ["journal", "postgres"])
def test_killed_studies_end_like_others_bit_for_bit(kind: str, request: pytest.FixtureRequest) -> None:
    storage = ""
    if kind == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        storage = server.url
    options = ["--storage", storage] if storage else []
    describe = [
        *("--arch", "mlp", "--dataset", "digits", "--device", "cpu", "--epochs", "30"),
        *("--sampler", "random", "--pruner", "none", "--keep", "all", "--trials", str(TRIALS)),
        *("--confirm", "2", "--workers", "2", "--no-plots", *options),
    ]
    choose = random.Random(kind)

    assert start("reference", *describe).wait(500) == 0
    main = start("killed", *describe)
    kills = 0
    deadline = time.monotonic() + 500
    while kills < KILLS:
        assert time.monotonic() < deadline
        time.sleep(choose.uniform(1, 3.5))
        if main.poll() is not None:  # killed, or it has given up after five killed workers
            assert main.returncode != 0, f"finished after {kills} kills"
            main = start("--resume", "killed", "--workers", "2", "--no-plots", *options)
        elif choose.random() < 0.15:
            kills += kill(main.pid)
            main.wait()
        elif processes := children(main.pid):
            kills += kill(choose.choice(processes))
    if main.wait(500) != 0:
        assert start("--resume", "killed", "--workers", "2", "--no-plots", *options).wait(500) == 0

    check_same(
        mnistctl.read_study("killed", storage=storage or None),
        mnistctl.read_study("reference", storage=storage or None),
    )
