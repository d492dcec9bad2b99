"""The log of the server on stderr, as text or as JSON, written by a thread of its own.

A full disk or a reader that has stopped reading costs log lines, but no request waits for it.
"""

import contextlib
import datetime
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from mnistctl.errors import printable, shorten
from mnistctl.serving.options import LogFormat

_MAX_WAITING = 10_000  # lines; the oldest are dropped
_PERIOD_S = 0.1  # between two writes: waking the thread for every line would slow the server down
_END_S = 1.0  # for the last write


class RequestRecord(NamedTuple):
    """A request in the log."""

    request_id: str
    client: str
    method: str
    path: str
    status: int
    seconds: float


class Log(logging.Handler):
    """Collects lines, and writes them to stderr.

    Args:
        log_format: of the lines.
        quiet: whether to leave out requests.
    """

    def __init__(self, log_format: LogFormat, *, quiet: bool) -> None:
        super().__init__()
        self._is_json, self._is_quiet = log_format == "json", quiet
        self._lines: deque[str] = deque(maxlen=_MAX_WAITING)
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def request(self, record: RequestRecord) -> None:
        """Log a request."""
        if self._is_quiet:
            return
        if self._is_json:
            fields = record._asdict() | {"path": shorten(record.path)}
            self._add(time.time(), "info", {"event": "request"} | fields)
            return
        text = (
            f"{record.client} {record.method} {shorten(record.path)} {record.status} "
            f"{1000 * record.seconds:.1f} ms {record.request_id}"
        )
        self._lines.append(f"{time.strftime('%H:%M:%S')} {printable(text)}\n")

    def emit(self, record: logging.LogRecord) -> None:
        """Log a message."""
        text, level = self.format(record), record.levelname.lower()
        if self._is_json:
            self._add(record.created, level, {"event": text})
            return
        prefix = f"{level}: " if record.levelno >= logging.WARNING else ""
        self._lines.append(f"{time.strftime('%H:%M:%S')} {prefix}{text}\n")

    def start(self) -> None:
        """Start to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, unless nobody reads it."""
        self._is_done.set()
        self._thread.join(_END_S)

    def _add(self, seconds: float, level: str, fields: dict[str, Any]) -> None:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
        line = {"time": moment.isoformat(timespec="milliseconds"), "level": level} | fields
        self._lines.append(msgspec.json.encode(line).decode() + "\n")

    def _write(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._is_done.wait(_PERIOD_S)
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            with contextlib.suppress(OSError, ValueError):  # the disk is full, or stderr closed
                sys.stderr.write("".join(lines))
                sys.stderr.flush()


@contextlib.contextmanager
def to_stderr(log_format: LogFormat, *, quiet: bool) -> Iterator[Log]:
    """Write the log of mnistctl and of uvicorn to stderr.

    Args:
        log_format: of the lines.
        quiet: only warnings and errors, no requests.
    """
    log = Log(log_format, quiet=quiet)
    loggers = [logging.getLogger(name) for name in ("mnistctl", "uvicorn.error")]
    levels = (logging.WARNING if quiet else logging.INFO, logging.ERROR)
    previous = [logger.level for logger in loggers]
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        logger.addHandler(log)
    log.start()
    try:
        yield log
    finally:
        for logger, level in zip(loggers, previous, strict=True):
            logger.removeHandler(log)
            logger.setLevel(level)
        log.stop()
