"""Whatever ends a run, and whenever: what was saved opens, and the run goes on to the same weights."""

import errno
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnistctl
from mnistctl.errors import WriteError
from mnistctl.models import checkpoint, hashed_safetensors
from mnistctl.run.run_folder import Run
from mnistctl.system import files
from tests.helpers import TINY_TRAINING, SimulatedKill

RUN = Run(Path("runs/it"))


class Injected:
    """Fails at one of the calls that write, flush or rename, counted from 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, how: str) -> None:
        self.calls = 0
        self._at, self._how = at, how
        for place, name in (
            (os, "fsync"),
            (os, "replace"),
            (Path, "write_bytes"),
            (files, "append_line"),
        ):
            monkeypatch.setattr(place, name, self._failing(getattr(place, name)))

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls - 1 != self._at:
                return real(*arguments, **options)
            if real.__name__ == "write_bytes":  # half of it is there
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if self._how == "killed":
                raise SimulatedKill
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # The one of these that is ours says it as all of `files` does.
            raise files.write_error(arguments[0], full) if real.__name__ == "append_line" else full

        return call


def check_whole(run: Run) -> None:
    """What lies in a run's folder under its name is whole."""
    if run.model_path.exists():
        checkpoint.load(run.model_path)
    if run.state_path.exists():
        hashed_safetensors.load(run.state_path)
    for path in (run.config_path, run.result_path):
        if path.exists():
            json.loads(path.read_text())
    if run.metrics_path.exists() and run.metrics_path.read_text().count("\n"):
        run.read_metrics()


def weights(run: Run) -> dict[str, Any]:
    return dict(checkpoint.load(run.model_path).tensors)


def train_or_go_on() -> None:
    begun = RUN.config_path.is_file()
    if begun:
        mnistctl.train(resume=RUN.folder.name, plots=False, save_every="4steps")
    else:
        mnistctl.train(**TINY_TRAINING, name=RUN.folder.name, save_every="4steps")


CASES = 58  # calls of an undisturbed run, which the test below holds


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("undisturbed"))
    try:
        train_or_go_on()
        return weights(RUN)
    finally:
        os.chdir(before)


@pytest.mark.slow
def test_every_call_that_writes_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    injected = Injected(monkeypatch, at=-1, how="")

    train_or_go_on()

    assert injected.calls == CASES


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "full"])
@pytest.mark.parametrize("at", range(CASES))
def test_a_failure_at_any_write_costs_nothing_that_was_saved(
    at: int, how: str, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        Injected(patched, at=at, how=how)
        try:
            train_or_go_on()
        except (SimulatedKill, WriteError):
            pass
        else:  # a folder that cannot be flushed, as on some network file systems
            assert how == "full"
            assert RUN.result_path.is_file()

    check_whole(RUN)
    if RUN.folder.exists() and not RUN.config_path.exists():
        RUN.folder.joinpath(".lock").unlink(missing_ok=True)
        for stray in RUN.folder.iterdir():
            stray.unlink()
        RUN.folder.rmdir()  # what nobody began is begun again
    train_or_go_on()
    for name, tensor in weights(RUN).items():
        np.testing.assert_array_equal(tensor, undisturbed[name])
    assert not list(RUN.folder.glob(f"*{files.TEMPORARY_SUFFIX}"))
    assert not list(RUN.folder.glob(f".*{files.TEMPORARY_SUFFIX}"))


def child(folder: str) -> None:
    """What the killed processes do."""
    import torch

    torch.set_num_threads(1)
    os.chdir(folder)
    train_or_go_on()


KILLS = 110


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
def test_kills_at_random_moments_cost_nothing_that_was_saved(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mnistctl.nn.trainer", "mnistctl.nn.calibration"])
    moments = random.Random(0)

    def start(folder: Path) -> Any:
        process = context.Process(target=child, args=(str(folder),))
        process.start()
        return process

    whole = tmp_path / "whole"
    whole.mkdir()
    begun = time.monotonic()
    process = start(whole)
    process.join()
    longest = time.monotonic() - begun
    assert process.exitcode == 0
    wanted = weights(Run(whole / RUN.folder))

    kills = finished = 0
    folder = tmp_path / "0"
    folder.mkdir()
    while kills < KILLS:
        process = start(folder)
        process.join(moments.uniform(0, longest))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
            check_whole(Run(folder / RUN.folder))
            continue
        assert process.exitcode == 0
        run = Run(folder / RUN.folder)
        for name, tensor in weights(run).items():
            np.testing.assert_array_equal(tensor, wanted[name])
        assert run.result_path.is_file()
        finished += 1
        folder = tmp_path / str(finished)
        folder.mkdir()
    print(f"{kills} kills, {finished} runs that came to their end all the same")
    assert finished
