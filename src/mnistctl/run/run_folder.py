"""Run folders, `runs/<name>/`: their files, and how they are named and found."""

import contextlib
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mnistctl.errors import MnistctlError, ModelError, UsageError, one_line, shorten
from mnistctl.run.epoch import Epoch
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import files, records, temporary

T = TypeVar("T")

ROOT = Path("runs")  # in the working folder, so that no hidden setting decides where runs are
MODEL_NAME = "model.safetensors"
_LOCK = ".lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Run:
    """The folder of a training run."""

    folder: Path

    @property
    def config_path(self) -> Path:
        """The settings of the run."""
        return self.folder / "config.json"

    @property
    def metrics_path(self) -> Path:
        """The metrics, as JSON Lines: one line per epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def model_path(self) -> Path:
        """The model with the best validation accuracy; without validation the last one."""
        return self.folder / MODEL_NAME

    @property
    def state_path(self) -> Path:
        """The training state, for resuming: weights, optimizer, weight average."""
        return self.folder / "last.safetensors"

    @property
    def result_path(self) -> Path:
        """The result of the run; it exists once the run is finished."""
        return self.folder / "result.json"

    @property
    def resume_command(self) -> str:
        """The command that resumes the run: with its name if it is in `runs`, else with its folder."""
        name = self.folder.name if self.folder.parent == ROOT else str(self.folder)
        return f"mnistctl train --resume {shlex.quote(name)}"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing this run, and remove what killed ones have left.

        Raises:
            UsageError: another process holds the lock.
        """
        with self._lock():
            temporary.clean_up(self.folder)
            yield

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """The lock ends with its process."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UsageError(f"{self.folder}: another process is training this run") from error
        except OSError as error:
            raise files.write_error(self.folder, error) from error
        try:
            yield
        finally:
            lock.release()

    def is_interrupted(self) -> bool:
        """Whether the run can be resumed: started, not finished, and no process is training it."""
        if not self.state_path.is_file() or self.result_path.is_file():
            return False
        try:
            with self._lock():
                return True
        except MnistctlError:
            return False

    def is_free(self) -> bool:
        """Whether a new run can use the folder: no such folder, or its run was killed at the start."""
        if not self.folder.is_dir():
            return not self.folder.exists()
        return all(
            path.name == _LOCK or path.suffix == temporary.SUFFIX for path in self.folder.iterdir()
        )

    def discard(self) -> None:
        """Remove the folder of a run that never started, unless it contains other files."""
        files.remove(self.config_path)
        files.remove(self.folder / _LOCK)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def read_config(self) -> dict[str, Any]:
        """The content of `config.json`; its values are not checked.

        Raises:
            ModelError: the file cannot be read, or is not a JSON object.
        """
        return _read(self.config_path, "the settings of a run", records.parse)

    def read_settings(self) -> TrainSettings:
        """The settings of the run.

        Raises:
            ModelError: they cannot be read, or one of them is wrong.
        """
        return _read(
            self.config_path,
            "the settings of a run",
            lambda text: records.build(TrainSettings, records.parse(text)),
        )

    def read_metrics(self) -> list[Epoch]:
        """The metrics of its epochs, without a last line that is incomplete.

        Raises:
            ModelError: they cannot be read, or there are none.
        """

        def parse_lines(text: str) -> list[Epoch]:
            epochs = [records.build(Epoch, records.parse(line)) for line in text.split("\n")[:-1]]
            if not epochs:
                raise ValueError("no epochs")
            return epochs

        return _read(self.metrics_path, "the metrics of a run", parse_lines)

    def read_result(self, kind: type[T]) -> T:
        """The result of a finished run.

        Args:
            kind: the dataclass of the result.

        Raises:
            ModelError: the result cannot be read, or is from another version of mnistctl.
        """
        return _read(
            self.result_path,
            "the result of a run by this version of mnistctl",
            lambda text: records.build(kind, records.parse(text)),
        )

    def truncate_metrics(self, epochs: int) -> None:
        """Keep the lines of the first `epochs` epochs; training will write the others again."""
        if not epochs:
            files.remove(self.metrics_path)
            return
        lines = [json.dumps(epoch.to_json()) for epoch in self.read_metrics() if epoch.epoch <= epochs]
        files.write_bytes(self.metrics_path, "".join(f"{line}\n" for line in lines).encode())

    def append_metrics(self, epoch: Epoch) -> None:
        """Add the line of an epoch."""
        files.append_line(self.metrics_path, json.dumps(epoch.to_json()))


@contextlib.contextmanager
def create(*, name: str | None, dataset: str, kind: str, root: Path = ROOT) -> Iterator[Run]:
    """Create and lock the folder of a new run.

    Args:
        name: the name of the run; None: `<dataset>-<kind>-<number>` with the first free number.
        dataset: a name or a folder; the name of the run contains the last part.
        kind: the recipe, or else the architecture; the name contains the part after the colon.
        root: the folder that it is created in.

    Raises:
        UsageError: the name exists or is not a valid folder name.
        WriteError: the folder cannot be created.
    """
    if name is None:
        run = Run(create_numbered(dataset, kind))
    else:
        check_new(name, root=root)
        run = Run(root / name)
        files.make_folder(run.folder)
    with run.locked():
        if not run.is_free():  # another process was faster
            raise _exists(run)
        yield run


def create_numbered(dataset: str, kind: str) -> Path:
    """Create the folder `runs/<dataset>-<kind>-<number>`, with the first free number.

    Raises:
        WriteError: it cannot be created.
    """
    short = re.sub(r"[^A-Za-z0-9._]+", "-", Path(dataset).resolve().name).strip("-._") or "own"
    stem = f"{short}-{kind.rpartition(':')[2]}-"
    number = 1 + max(
        (int(run.folder.name.removeprefix(stem)) for run in _all_folders() if _is_numbered(run, stem)),
        default=0,
    )
    while True:
        folder = ROOT / f"{stem}{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # another process has just created it
            number += 1
        except OSError as error:
            raise files.write_error(folder, error) from error
        else:
            return folder


def check_new(name: str, *, root: Path = ROOT) -> None:
    """Check the name of a new run.

    Raises:
        UsageError: the name exists or is not a valid folder name.
    """
    check_name(name)
    run = Run(root / name)
    if not run.is_free():
        raise _exists(run)


def check_name(name: str, option: str = "--name") -> None:
    """Check that a name, which an option gives, can be that of a folder in `runs`.

    Raises:
        UsageError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{option} '{shorten(name)}': expected up to 100 letters, digits, '.', '_' and '-', "
            "starting with a letter or digit"
        )


def _exists(run: Run) -> UsageError:
    fix = "choose another --name or delete it"
    if run.is_interrupted():
        fix = f"it was interrupted; resume it with: {run.resume_command}"
    return UsageError(f"run '{run.folder.name}' exists ({run.folder}); {fix}")


def run_of_model(path: Path) -> Run | None:
    """The run that a model file belongs to; None: no run."""
    run = Run(path.parent)
    return run if path.name == MODEL_NAME and run.config_path.is_file() else None


def find(name: str | Path) -> Run | None:
    """The run of this name or folder, with or without a model; None: there is none."""
    with contextlib.suppress(OSError):  # a name that is too long
        for run in (Run(Path(name)), Run(ROOT / name)):
            if run.config_path.is_file():
                return run
    return None


def find_all() -> list[Run]:
    """The runs in the working folder that have a model, the newest last."""
    runs = [run for run in _all_folders() if run.model_path.is_file()]
    return sorted(runs, key=lambda run: run.model_path.stat().st_mtime_ns)


def newest() -> Run | None:
    """The run in the working folder that was started last, with or without a model."""
    runs = [run for run in _all_folders() if run.config_path.is_file()]
    return max(runs, key=lambda run: run.config_path.stat().st_mtime_ns, default=None)


def _read(path: Path, content: str, convert: Callable[[str], T]) -> T:
    """The converted text of a file; an error says that the file is not `content`."""
    text = files.read_text(path, ModelError)
    try:
        return convert(text)
    except (ValueError, TypeError, UsageError) as error:
        raise ModelError(f"{path}: not {content} ({one_line(error)})") from error


def _all_folders() -> list[Run]:
    with files.os_errors_as(ModelError, ROOT):
        return [Run(folder) for folder in ROOT.iterdir()] if ROOT.is_dir() else []


def _is_numbered(run: Run, stem: str) -> bool:
    return run.folder.name.startswith(stem) and run.folder.name.removeprefix(stem).isdecimal()
