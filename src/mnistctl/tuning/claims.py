"""Claims: at most one process works on a trial, and the claim of a process ends with the process.

A trial that is not finished, and that no process has claimed, was interrupted. Any process may claim
and resume it. Optuna has no such locks.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from mnistctl.errors import DataError
from mnistctl.system import files

_PING_SECONDS = 15
_LOST_SECONDS = 60  # after which a database ends the claims of a machine that is silent
_CONNECT_SECONDS = 10


class Claims(Protocol):
    """The claims of this process on parts of a study, by name."""

    def claim(self, name: str) -> bool:
        """Claim something; False: another process has claimed it."""
        ...

    def release(self, name: str) -> None:
        """Give a claim back."""
        ...

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """Wait until no other process is in this block."""
        ...

    def check(self) -> None:
        """Check that this process still has its claims.

        Raises:
            DataError: the connection to the database was lost, and the claims with it.
        """
        ...

    def close(self) -> None:
        """Give all claims back."""
        ...


class FolderClaims:
    """Claims by locks of files, which the system releases when a process ends.

    Args:
        folder: for the files; on one machine, or shared by several.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[str, FileLock] = {}
        files.make_folder(folder)

    def claim(self, name: str) -> bool:
        """See `Claims`."""
        lock = FileLock(self._folder / f"{name}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return False
        except OSError as error:
            raise files.write_error(self._folder, error) from error
        self._locks[name] = lock
        return True

    def release(self, name: str) -> None:
        """See `Claims`."""
        self._locks.pop(name).release()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """See `Claims`."""
        try:
            lock = FileLock(self._folder / "study.lock").acquire()
        except OSError as error:
            raise files.write_error(self._folder, error) from error
        with lock:
            yield

    def check(self) -> None:
        """See `Claims`: locks of files are never lost."""

    def close(self) -> None:
        """See `Claims`."""
        for name in list(self._locks):
            self.release(name)


class PostgresClaims:
    """Claims by advisory locks, which PostgreSQL releases when the connection ends.

    The connection ends with its process. If the whole machine disappears, the database ends the
    connection after a minute, because nothing has come from it.

    Args:
        url: of the database, postgresql://…
        study: the name of the study.

    Raises:
        DataError: the database cannot be reached.
    """

    def __init__(self, url: str, study: str) -> None:
        import psycopg

        self._study = study
        self._errors = psycopg.Error
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._is_lost = False
        try:
            self._connection = psycopg.connect(
                url, autocommit=True, connect_timeout=_CONNECT_SECONDS, application_name="mnistctl"
            )
            self._run(f"SET idle_session_timeout = '{_LOST_SECONDS}s'")
        except psycopg.errors.UndefinedObject as error:
            raise DataError("--storage: PostgreSQL 14 or newer is needed") from error
        except psycopg.Error as error:
            raise DataError(f"--storage: {_without_password(str(error), url)}") from error
        threading.Thread(target=self._ping, daemon=True).start()

    def claim(self, name: str) -> bool:
        """See `Claims`."""
        return bool(self._query("SELECT pg_try_advisory_lock(%s)", self._key(name)))

    def release(self, name: str) -> None:
        """See `Claims`."""
        self._query("SELECT pg_advisory_unlock(%s)", self._key(name))

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """See `Claims`."""
        self._query("SELECT pg_advisory_lock(%s)", self._key("study"))
        try:
            yield
        finally:
            self.release("study")

    def check(self) -> None:
        """See `Claims`."""
        if self._is_lost:
            raise DataError("--storage: the connection to the database was lost")

    def close(self) -> None:
        """See `Claims`."""
        self._closed.set()
        with contextlib.suppress(self._errors):
            self._connection.close()

    def _key(self, name: str) -> int:
        digest = hashlib.sha256(f"mnistctl/{self._study}/{name}".encode()).digest()
        return int.from_bytes(digest[:8], signed=True)

    def _query(self, query: str, key: int) -> Any:
        try:
            return self._run(query, (key,))
        except self._errors as error:
            self._is_lost = True
            raise DataError("--storage: the connection to the database was lost") from error

    def _run(self, query: Any, values: tuple[int, ...] = ()) -> Any:
        with self._lock, self._connection.cursor() as cursor:
            cursor.execute(query, values)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def _ping(self) -> None:
        while not self._closed.wait(_PING_SECONDS):
            try:
                self._run("SELECT 1")
            except self._errors:
                self._is_lost = True
                return


def _without_password(message: str, url: str) -> str:
    """The first line of a database's message; it never contains the password, but who knows."""
    from psycopg.conninfo import conninfo_to_dict

    line = message.strip().partition("\n")[0]
    with contextlib.suppress(Exception):
        password = conninfo_to_dict(url).get("password")
        if password:
            line = line.replace(str(password), "…")
    return line
