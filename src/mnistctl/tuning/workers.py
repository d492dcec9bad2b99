"""The worker processes of a search on this machine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO

from mnistctl.errors import LostProcessError, MnistctlError, printable, shorten
from mnistctl.system import processes
from mnistctl.tuning.worker import Failure, Task

_MAX_LOST = 5  # processes that end without a reason, with no epoch finished between
_STOP_SECONDS = 60  # to save the states of the runs


class Workers:
    """Processes that do a task. One that was killed is replaced by another, which resumes its trial.

    Args:
        task: what they do.
        count: the number of processes.
    """

    def __init__(self, task: Task, count: int) -> None:
        self._task = task
        self._threads = max(1, processes.usable_cores() // count) if count > 1 else None
        self._workers = [_Worker(task, self._threads) for _ in range(count)]
        self._lost = 0

    def check(self) -> None:
        """Replace processes that have ended; the study is not finished.

        Raises:
            LostProcessError: too many were killed.
            MnistctlError: a process has failed, with its message and its exit code.
        """
        for number, worker in enumerate(self._workers):
            if worker.is_running:
                continue
            if (failure := worker.failure()) is not None:
                error = MnistctlError(failure.message)
                error.exit_code = failure.exit_code
                raise error
            self._lost += worker.code != 0
            if self._lost > _MAX_LOST:
                raise LostProcessError(
                    f"worker processes have ended {self._lost} times, the last one with "
                    f"{_describe(worker.code)}; {worker.last_words()}"
                )
            self._workers[number] = _Worker(self._task, self._threads)

    def note_progress(self) -> None:
        """An epoch was finished: the processes work."""
        self._lost = 0

    def stop(self) -> None:
        """Let the processes save the states of their runs, and end."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.wait(_STOP_SECONDS)


@contextlib.contextmanager
def start(task: Task, count: int) -> Iterator[Workers]:
    """Start processes, and stop them in the end."""
    workers = Workers(task, count)
    try:
        yield workers
    finally:
        workers.stop()


class _Worker:
    """A process. It ends if this one ends, because it reads from a pipe."""

    def __init__(self, task: Task, threads: int | None) -> None:
        environment = dict(os.environ)
        if threads is not None:
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `wait`
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mnistctl.tuning.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
        )
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asdict(task)).encode() + b"\n")
            self._process.stdin.flush()

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        """The exit code; None: it has not ended."""
        return self._process.poll()

    def failure(self) -> Failure | None:
        """Why it has failed; None: it was killed, or there is a mistake in this program."""
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        text = self._process.stdout.read()
        return Failure(**json.loads(text)) if text else None

    def last_words(self) -> str:
        """The last line that it has written to stderr."""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return shorten(printable(lines[-1])) if lines else "it has written no message"

    def terminate(self) -> None:
        """Ask it to save the state of its run, and to end."""
        if self.is_running:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait for its end, and kill it if it takes too long."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def _describe(code: int | None) -> str:
    """An exit code in words."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"the signal {signal.Signals(-code).name}"
    return f"the exit code {code}"
