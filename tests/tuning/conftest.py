"""A real PostgreSQL, and studies that take seconds."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mnistctl.tuning import tune as tuning
from mnistctl.tuning import worker
from mnistctl.tuning.study import Study, folder_of

PASSWORD = "dinosaur-7"
TINY: dict[str, Any] = {
    "dataset": "digits",
    "device": "cpu",
    "subset": 300,
    "epochs": 2,
    "search": ["learning_rate=1e-4..1e-1:log", "hidden=8,16,8-8", "batch_size=32,64"],
}


def program(name: str) -> str | None:
    """A program of PostgreSQL: on the path, or where Debian puts it."""
    found = shutil.which(name)
    others = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found or (str(others[-1]) if others else None)


class Postgres:
    """A server of its own, with a password. PostgreSQL refuses to run as root.

    Its folder is not one of pytest's, which other users cannot enter.
    """

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp())
        self.folder = folder / "cluster"
        self.user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            self.user = {"user": "postgres", "group": "postgres"}
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        self._run("initdb", "-D", self.folder, "-U", "tuner", "-A", "scram-sha-256",
                  f"--pwfile={folder / 'password'}", "--no-sync")  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://tuner:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-k {self.folder} -p {self.port} -h 127.0.0.1 -F"
        self._run(
            "pg_ctl", "-D", self.folder, "-l", self.folder.parent / "log", "-o", options, "-w", "start"
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.folder, "-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder.parent)

    def _run(self, name: str, *arguments: str | Path) -> None:
        path = program(name) or name
        subprocess.run(
            [path, *map(str, arguments)],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **self.user,
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, if it is installed."""
    if program("initdb") is None:
        pytest.skip("PostgreSQL is not installed")
    server = Postgres()
    yield server
    server.remove()


def search(name: str, *, trials: int = 3, confirm: int = 0, keep: str = "best", **options: Any) -> Any:
    """Run a whole study in this process, and return its result, as `tune` does."""
    definition = tuning.define("mlp", {**TINY, **options}, data_dir=None)
    folder_of(name).mkdir(parents=True, exist_ok=True)
    with Study.open(name, None, definition=definition) as study:
        study.set_goal(tuning.choose_goal(study, trials, None, confirm, keep))
        worker.work(worker.Task(name, None, None, is_search=True))
        return tuning.finish(study, plots=False)
