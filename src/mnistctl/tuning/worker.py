"""A worker process: it runs the trials of a study, and then confirms the best settings."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from mnistctl.errors import MnistctlError, WriteError

_WAIT_SECONDS = 0.5  # for trials of other processes


@dataclass(frozen=True)
class Task:
    """What a worker is started for."""

    study: str
    url: str | None  # of the database; None: the journal in the study's folder
    data_dir: str | None
    is_search: bool  # otherwise no trials are run, only the best settings are confirmed


@dataclass(frozen=True)
class Failure:
    """Why a worker has ended before its task was done."""

    message: str
    exit_code: int


def main() -> None:
    """Read a task from stdin, and do it. A failure is written to stdout, as JSON."""
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may write there
    task = Task(**json.loads(stdin.readline()))
    threading.Thread(target=_exit_with_parent, args=(stdin,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the main process, which decides
    try:
        work(task)
    except MnistctlError as error:
        # The advice in the error of a run is to resume the run; here it is the study.
        message = str(error.__cause__ if isinstance(error.__cause__, WriteError) else error)
        stdout.write(json.dumps(asdict(Failure(message, error.exit_code))).encode())
        stdout.flush()
        sys.exit(1)


def work(task: Task) -> None:
    """Do a task.

    Raises:
        MnistctlError: a trial failed in a way that its settings do not explain.
    """
    from mnistctl.tuning import trial as trials  # imports torch, 1.2 s
    from mnistctl.tuning.study import Study

    data_dir = None if task.data_dir is None else Path(task.data_dir)
    with Study.open(task.study, task.url) as study:
        while task.is_search:
            trial = study.claim_trial()
            if trial is not None:
                trials.run_trial(study, trial, data_dir)
            elif study.is_searched():
                break
            else:
                time.sleep(_WAIT_SECONDS)
        best = study.best()
        if best is None:
            return
        while not study.is_confirmed(best.number):
            number = study.claim_confirmation(best.number)
            if number is None:
                time.sleep(_WAIT_SECONDS)
            else:
                trials.confirm(study, best, number, data_dir)


def _exit_with_parent(stdin: BinaryIO) -> None:
    """End this process as soon as the process that started it has ended in any way."""
    stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
