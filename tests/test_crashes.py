"""A run can be interrupted at any moment: its files stay whole, and it resumes to the same weights."""

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
from mnistctl.system import files, temporary
from tests.helpers import TINY_TRAINING, SimulatedKill

RUN = Run(Path("runs/run"))


class FailingWrite:
    """Makes one of the calls that write, flush or rename fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, number: int, failure: str) -> None:
        self.has_failed = False
        self._calls = 0
        self._number, self._failure = number, failure  # counted from 0; "killed" or "full"
        for owner, name in (
            (os, "fsync"),
            (os, "replace"),
            (Path, "write_bytes"),
            (files, "append_line"),
        ):
            monkeypatch.setattr(owner, name, self._patched(getattr(owner, name)))

    def _patched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._calls += 1
            if self._calls - 1 != self._number:
                return function(*arguments, **options)
            self.has_failed = True
            if function.__name__ == "write_bytes":  # half of the content is written
                function(arguments[0], arguments[1][: len(arguments[1]) // 2])
            if self._failure == "killed":
                raise SimulatedKill
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if function.__name__ == "append_line":  # raises what it would make of the system's error
                raise files.write_error(arguments[0], error)
            raise error

        return call


def assert_files_are_whole(run: Run) -> None:
    if run.model_path.exists():
        checkpoint.load(run.model_path)
    if run.state_path.exists():
        hashed_safetensors.load(run.state_path)
    for path in (run.config_path, run.result_path):
        if path.exists():
            json.loads(path.read_text())
    if run.metrics_path.exists() and run.metrics_path.read_text().count("\n"):
        run.read_metrics()


def weights_of(run: Run) -> dict[str, Any]:
    return dict(checkpoint.load(run.model_path).tensors)


def assert_same_weights(run: Run, expected: dict[str, Any]) -> None:
    for name, tensor in weights_of(run).items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def train_or_resume() -> None:
    if RUN.config_path.is_file():
        mnistctl.train(resume=RUN.folder.name, plots=False, save_every="4steps")
    else:
        mnistctl.train(**TINY_TRAINING, name=RUN.folder.name, save_every="4steps")


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["killed", "full"])
def test_a_failure_of_any_write_leaves_a_run_that_resumes_to_the_same_weights(
    failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    train_or_resume()
    expected = weights_of(RUN)

    for number in range(1_000):  # more than a run has
        folder = tmp_path / f"write-{number}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        with subtests.test(write=number):
            if not fail_and_resume(number, failure, expected, monkeypatch):
                break
    assert 0 < number < 999


def fail_and_resume(
    number: int, failure: str, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Train with one failing write, then resume; False: the run has fewer writes than this number."""
    with monkeypatch.context() as patched:
        write = FailingWrite(patched, number=number, failure=failure)
        try:
            train_or_resume()
        except (SimulatedKill, WriteError):
            assert write.has_failed
        else:  # nothing failed, or a folder that cannot be flushed, as on some network file systems
            assert not (write.has_failed and failure == "killed")
            assert RUN.result_path.is_file()
    if not write.has_failed:
        return False

    assert_files_are_whole(RUN)
    train_or_resume()

    assert_same_weights(RUN, expected)
    assert not list(RUN.folder.glob(f".*{temporary.SUFFIX}"))
    return True


KILLS = 110


def train_in_process(folder: str) -> None:
    """The target of the processes that are killed."""
    import torch

    torch.set_num_threads(1)
    os.chdir(folder)
    train_or_resume()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_kills_at_random_moments_leave_a_run_that_resumes_to_the_same_weights(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mnistctl.nn.trainer", "mnistctl.nn.calibration"])
    generator = random.Random(0)

    def start(folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        process = context.Process(target=train_in_process, args=(str(folder),))
        process.start()
        return process

    whole = tmp_path / "whole"
    started = time.monotonic()
    process = start(whole)
    process.join()
    whole_s = time.monotonic() - started
    assert process.exitcode == 0
    expected = weights_of(Run(whole / RUN.folder))

    kills = finished = 0
    while kills < KILLS:
        folder = tmp_path / str(finished)
        run = Run(folder / RUN.folder)
        process = start(folder)
        process.join(generator.uniform(0, whole_s))
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
            assert_files_are_whole(run)
            continue
        assert process.exitcode == 0
        assert_same_weights(run, expected)
        assert run.result_path.is_file()
        finished += 1
    print(f"{kills} kills, {finished} runs finished")
    assert finished
