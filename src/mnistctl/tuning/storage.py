"""Where studies are stored: a journal file in the study's folder, or a PostgreSQL database."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock  # not among the public names
from sqlalchemy.exc import SQLAlchemyError

from mnistctl.errors import DataError, UsageError, one_line
from mnistctl.system import files
from mnistctl.tuning.claims import Claims, FolderClaims, PostgresClaims

JOURNAL = "study.journal"
_LOCKS = ".locks"
_SCHEMES = ("postgresql://", "postgres://")
_DRIVER = "postgresql+psycopg://"


def check_url(url: str | None) -> None:
    """Check the address of a database; None: a journal file.

    Raises:
        UsageError: it is not that of a PostgreSQL database. The message does not quote it, because it
            may contain a password.
    """
    if url is not None and not url.startswith(_SCHEMES):
        raise UsageError("--storage: expected postgresql://USER@HOST/DATABASE")


def open_claims(url: str | None, folder: Path, study: str) -> Claims:
    """The claims of this process on the parts of a study.

    Raises:
        DataError: the database cannot be reached.
    """
    return FolderClaims(folder / _LOCKS) if url is None else PostgresClaims(url, study)


@contextlib.contextmanager
def open_storage(url: str | None, folder: Path, claims: Claims) -> Iterator[BaseStorage]:
    """Optuna's storage of a study; no other process creates it at the same time.

    Raises:
        DataError: the database or the journal cannot be read.
    """
    if url is None:
        with claims.exclusive():
            journal = JournalStorage(_Journal(folder / JOURNAL))
        yield journal
        return
    with errors():
        try:
            with claims.exclusive():
                address = _DRIVER + url.partition("://")[2]
                database = RDBStorage(address, engine_kwargs={"pool_pre_ping": True})
        except RuntimeError as error:  # tables of another version of Optuna
            raise DataError(f"--storage: {one_line(error)}") from error
        try:
            yield database
        finally:
            database.remove_session()
            database.engine.dispose()


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Raise the errors of a storage as DataError, without the address of the database.

    Raises:
        DataError: the storage cannot be read or written.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        raise DataError(f"--storage: the database failed: {one_line(cause)}") from error


class _Lock(BaseJournalFileLock):
    """A lock that ends with its process. Optuna's own stays, and then costs half a minute."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class _Journal(JournalFileBackend):
    """Optuna's journal, which stays whole if a process is killed or the disk is full.

    Optuna appends to a line that was written in part, and can never read the journal again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        files.make_folder(path.parent / _LOCKS)
        self._writing = _Lock(path.parent / _LOCKS / "journal.lock")
        with files.os_errors_as(DataError, path):
            super().__init__(str(path), self._writing)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """Yield the lines from a number on.

        Raises:
            DataError: the journal is damaged or cannot be read.
        """
        with files.os_errors_as(DataError, self._path):
            try:
                yield from super().read_logs(log_number_from)
            except ValueError as error:
                raise DataError(f"{self._path}: damaged ({one_line(error)})") from error

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, all or none of them.

        Raises:
            WriteError: the journal cannot be written.
        """
        text = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs)
        self._writing.acquire()
        try:
            with self._path.open("rb+", buffering=0) as journal:
                end = _end_of_last_line(journal)
                try:
                    journal.truncate(end)
                    journal.seek(end)
                    rest = memoryview(text.encode())
                    while rest:
                        rest = rest[journal.write(rest) :]
                    os.fsync(journal.fileno())
                except OSError:
                    with contextlib.suppress(OSError):
                        journal.truncate(end)
                    raise
        except OSError as error:
            raise files.write_error(self._path, error) from error
        finally:
            self._writing.release()


def _end_of_last_line(journal: Any) -> int:
    """The size of a file without its last line, if that is incomplete."""
    size = journal.seek(0, os.SEEK_END)
    position, block = size, 4096
    while position:
        start = max(0, position - block)
        journal.seek(start)
        newline = journal.read(position - start).rfind(b"\n")
        if newline >= 0:
            return int(start + newline + 1)
        position = start
    return 0
