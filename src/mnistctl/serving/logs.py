"""The log of the server on stderr, as text or as JSON, written by a thread of its own.

A full disk or a reader that has stopped reading costs log lines, but no request waits for it.
"""

import contextlib
import datetime
import logging
import queue
import sys
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener
from typing import Any

import msgspec

from mnistctl.errors import printable
from mnistctl.serving.options import LogFormat

_MAX_WAITING = 10_000  # lines; more are dropped
_FIELDS = "fields"  # attribute of a log record: what an access-log line consists of

access = logging.getLogger("mnistctl.access")


def log_request(**fields: Any) -> None:
    """Log one request: its method, path, status, and so on."""
    access.info("", extra={_FIELDS: fields})


@contextlib.contextmanager
def to_stderr(log_format: LogFormat, *, quiet: bool) -> Iterator[None]:
    """Write the log of mnistctl and of uvicorn to stderr.

    Args:
        log_format: of the lines.
        quiet: only warnings and errors, no access log.
    """
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_MAX_WAITING)
    handler = _Queue(lines)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    stream = logging.StreamHandler(sys.stderr)
    stream.handleError = lambda record: None  # type: ignore[method-assign] # nowhere to report it
    listener = QueueListener(lines, stream)
    loggers = [logging.getLogger(name) for name in ("mnistctl", "uvicorn.error")]
    levels = (logging.WARNING if quiet else logging.INFO, logging.ERROR)
    previous = [logger.level for logger in loggers]
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
        logger.addHandler(handler)
    listener.start()
    try:
        yield
    finally:
        for logger, level in zip(loggers, previous, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        listener.stop()


class _Queue(QueueHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name of logging
        """The queue is full: the line is dropped."""


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields: dict[str, Any] | None = getattr(record, _FIELDS, None)
        if fields is not None:
            text = (
                f"{fields['client']} {fields['method']} {fields['path']} {fields['status']} "
                f"{1000 * fields['seconds']:.1f} ms {fields['request_id']}"
            )
            return f"{time} {printable(text)}"
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return f"{time} {level}{super().format(record)}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        fields = getattr(record, _FIELDS, None)
        line |= {"event": "request"} | fields if fields else {"event": super().format(record)}
        return msgspec.json.encode(line).decode()
