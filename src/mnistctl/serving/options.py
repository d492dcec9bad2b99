"""The options of `serve`, and the limits that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mnistctl.errors import UsageError
from mnistctl.system import processes

LogFormat = Literal["text", "json"]

_RANGES: dict[str, tuple[float, float]] = {
    "port": (0, 65535),
    "workers": (1, 64),
    "max_batch": (1, 1000),
    "batch_window": (0, 1000),
    "max_queue": (1, 100_000),
    "max_body": (0.01, 1000),
    "timeout": (0.1, 3600),
    "grace": (0, 3600),
}


@dataclass(frozen=True)
class Limits:
    """How much the server does at a time."""

    workers: int  # processes
    max_batch: int  # requests that a worker reads together
    window_s: float  # how long a request waits for others, while others are being read
    max_queue: int  # requests that wait or are being read
    max_body: int  # bytes of a request
    timeout_s: float  # to receive a request, to read it, and to send the answer

    @property
    def max_total_body(self) -> int:
        """The bytes of all large bodies together."""
        return 4 * self.max_body


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How to serve.

    Raises:
        UsageError: a value is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000  # 0: one that is free
    workers: int | None = None  # processes; None: one per core
    max_batch: int = 8  # requests that a worker reads together
    batch_window: float = 1.0  # milliseconds that a request waits for others, while others are read
    max_queue: int = 256  # requests at a time; more are answered with 429
    max_body: float = 32.0  # megabytes of a request; more is answered with 413
    timeout: float = 30.0  # seconds to receive a request, to read it, and to send its answer
    grace: float = 30.0  # seconds to answer what was accepted, after SIGTERM
    token_file: Path | None = None  # with a token that every request has to show
    allow_origin: Sequence[str] = ()  # origins of pages elsewhere that may use the server
    certfile: Path | None = None  # PEM, for https
    keyfile: Path | None = None  # PEM; None: it is in `certfile`
    log_format: LogFormat = "text"
    quiet: bool = False  # log warnings and errors only

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                flag = "--" + name.replace("_", "-")
                raise UsageError(f"{flag} {value:g}: expected a value from {low:g} to {high:,}")
        if self.keyfile and not self.certfile:
            raise UsageError("--keyfile needs --certfile")

    @property
    def limits(self) -> Limits:
        """The limits of the server."""
        return Limits(
            self.workers or processes.usable_cores(),
            self.max_batch,
            self.batch_window / 1000,
            self.max_queue,
            int(self.max_body * 1e6),
            self.timeout,
        )
