"""Run folders: what lies where in `runs/<name>/`."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnistctl.errors import MnistctlError, ModelError, UsageError
from mnistctl.run.epoch import Epoch
from mnistctl.system import files

ROOT = Path("runs")  # in the working folder, never a hidden setting
MODEL_NAME = "model.safetensors"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Run:
    """One training run's folder."""

    folder: Path

    @property
    def config_path(self) -> Path:
        """The choices that decide the run."""
        return self.folder / "config.json"

    @property
    def metrics_path(self) -> Path:
        """One JSON object a line, one line an epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def model_path(self) -> Path:
        """The best model on validation; the last epoch's when there is no validation."""
        return self.folder / MODEL_NAME

    @property
    def state_path(self) -> Path:
        """Where training has come to, for going on: weights, optimizer, average."""
        return self.folder / "last.safetensors"

    @property
    def result_path(self) -> Path:
        """What the run came to; there when it is finished."""
        return self.folder / "result.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing this run; the lock dies with its owner.

        Raises:
            UsageError: another process has it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UsageError(f"{self.folder}: another process is training this run") from error
        except OSError as error:
            raise files.write_error(self.folder, error) from error
        try:
            files.remove_partials(self.folder)  # of writers that were killed
            yield
        finally:
            lock.release()

    def is_cut_short(self) -> bool:
        """Whether it can go on: begun, not finished, and trained by no process now."""
        if not self.state_path.is_file() or self.result_path.is_file():
            return False
        try:
            with self.locked():
                return True
        except MnistctlError:
            return False

    def discard(self) -> None:
        """Remove the folder of a run that never began; whatever else is in it stays, and so it."""
        files.remove(self.config_path)
        files.remove(self.folder / ".lock")
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def read_config(self) -> dict[str, Any]:
        """The settings in its `config.json`.

        Raises:
            ModelError: there is none that can be read.
        """
        try:
            config = json.loads(self.config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{self.config_path}: not the settings of a run ({error})") from error
        if not isinstance(config, dict):
            raise ModelError(f"{self.config_path}: not the settings of a run")
        return config

    def read_metrics(self) -> list[Epoch]:
        """What its epochs came to; a last line that was not written to its end is left out.

        Raises:
            ModelError: it cannot be read, or holds no epoch.
        """
        try:
            lines = self.metrics_path.read_text(encoding="utf-8").split("\n")
            epochs = [Epoch(**json.loads(line)) for line in lines[:-1]]
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise ModelError(f"{self.metrics_path}: not the metrics of a run ({error})") from error
        numbers = (value for epoch in epochs for value in vars(epoch).values())
        if not epochs or not all(isinstance(value, int | float | None) for value in numbers):
            raise ModelError(f"{self.metrics_path}: not the metrics of a run")
        return epochs

    def read_result(self) -> dict[str, Any]:
        """What a finished run came to.

        Raises:
            ModelError: it cannot be read.
        """
        try:
            result = json.loads(self.result_path.read_text(encoding="utf-8"))
            return {str(name): value for name, value in result.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise ModelError(f"{self.result_path}: not what a run came to ({error})") from error

    def cut_metrics(self, epochs: int) -> None:
        """Keep the lines of so many epochs: what came after them will come again."""
        if not epochs:
            files.remove(self.metrics_path)
            return
        lines = [json.dumps(epoch.to_json()) for epoch in self.read_metrics() if epoch.epoch <= epochs]
        files.write_bytes(self.metrics_path, "".join(f"{line}\n" for line in lines).encode())

    def append_metrics(self, epoch: Epoch) -> None:
        """Add an epoch's line."""
        files.append_line(self.metrics_path, json.dumps(epoch.to_json()))


def create(*, name: str | None, dataset: str, arch: str) -> Run:
    """Make a new run's folder; without a name it is `<dataset>-<arch>-<number>`.

    Args:
        name: its name; None: one that is free.
        dataset: a name, or a folder, whose own name is taken then.
        arch: an architecture's name; of `torchvision:NAME` and `FILE.py:CLASS` the last part is taken.

    Raises:
        UsageError: the name is taken, or is no name for a folder.
        WriteError: the folder cannot be made.
    """
    if name is not None:
        check_new(name)
        return _make(ROOT / name)
    short = re.sub(r"[^A-Za-z0-9._]+", "-", Path(dataset).resolve().name).strip("-._") or "own"
    stem = f"{short}-{arch.rpartition(':')[2]}-"
    number = 1 + max(
        (int(run.folder.name.removeprefix(stem)) for run in _all_folders() if _numbered(run, stem)),
        default=0,
    )
    while (ROOT / f"{stem}{number}").exists():  # somebody else has just made it
        number += 1
    return _make(ROOT / f"{stem}{number}")


def check_new(name: str) -> None:
    """Check a new run's name before any work is done for it.

    Raises:
        UsageError: the name is taken, or is no name for a folder.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--name '{name}': expected up to 100 letters, digits, '.', '_' and '-', "
            "a letter or digit first"
        )
    if (ROOT / name).exists():
        way_out = "choose another --name or delete it"
        if Run(ROOT / name).is_cut_short():
            way_out = f"it was cut short: mnistctl train --resume {name} goes on with it"
        raise UsageError(f"run '{name}' exists ({ROOT / name}); {way_out}")


def of(path: Path) -> Run | None:
    """The run that a model file is the model of; None: of none."""
    run = Run(path.parent)
    return run if path.name == MODEL_NAME and run.config_path.is_file() else None


def find_all() -> list[Run]:
    """The runs here that have a model, the newest last."""
    found = [run for run in _all_folders() if run.model_path.is_file()]
    return sorted(found, key=lambda run: run.model_path.stat().st_mtime_ns)


def newest() -> Run | None:
    """The run here that was begun last, with a model or without."""
    begun = [run for run in _all_folders() if run.config_path.is_file()]
    return max(begun, key=lambda run: run.config_path.stat().st_mtime_ns, default=None)


def _all_folders() -> list[Run]:
    try:
        return [Run(folder) for folder in ROOT.iterdir()] if ROOT.is_dir() else []
    except OSError as error:
        raise ModelError(f"{ROOT}: {error.strerror or error}") from error


def _numbered(run: Run, stem: str) -> bool:
    return run.folder.name.startswith(stem) and run.folder.name.removeprefix(stem).isdecimal()


def _make(folder: Path) -> Run:
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise UsageError(f"run '{folder.name}' exists ({folder}); choose another --name") from error
    except OSError as error:
        raise files.write_error(folder, error) from error
    return Run(folder)
