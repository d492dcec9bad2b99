"""A worker process: it runs trials of a study until all are finished, then confirms the best settings."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from mnistctl.errors import MnistctlError

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
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides
    try:
        work(task)
    except MnistctlError as error:
        stdout.write(json.dumps(asdict(Failure(str(error), error.exit_code))).encode())
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
        while (number := study.claim_confirmation(best.number)) is not None:
            trials.confirm(study, best, number, data_dir)


def _exit_with_parent(stdin: BinaryIO) -> None:
    """End this process as soon as the process that started it has ended in any way."""
    stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
