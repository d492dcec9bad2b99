"""Start `mnistctl serve` as a user would, and talk to it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import requests

from mnistctl.api import picture_requests

EXAMPLE = picture_requests.EXAMPLE.read_bytes()
EXAMPLE_LABEL = "7"
PATIENCE_S = 60  # for what takes a second on a quiet machine


class Server:
    """A server in a process of its own; a context manager that stops it.

    Args:
        folder: the working folder.
        arguments: of `mnistctl serve`.
        environment: variables to add.
        stderr: where its log goes; None: `log` has it.
        is_ready: wait until the server is ready.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str | Path,
        environment: dict[str, str] | None = None,
        stderr: Any = None,
        is_ready: bool = True,
    ) -> None:
        self._folder = folder
        self._arguments = arguments
        self._environment = os.environ | (environment or {})
        self._stderr = stderr
        self._waits = is_ready
        self._lines: list[str] = []
        self._reader: threading.Thread | None = None
        self.process: subprocess.Popen[str]
        self.port = 0
        self.files_at_start = 0

    def __enter__(self) -> Self:
        if self._stderr is not None:
            self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mnistctl", "serve", "--port", str(self.port), *self._arguments],
            cwd=self._folder,
            env=self._environment,
            stderr=subprocess.PIPE if self._stderr is None else self._stderr,
            text=True,
        )
        if self._stderr is None:
            self._reader = threading.Thread(target=self._read_log, daemon=True)
            self._reader.start()
        if self._waits:
            wait_until(self._has_started, self)
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE_S)
        self.process.kill()
        self.process.wait()
        if self._reader is not None:
            self._reader.join(PATIENCE_S)

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self._lines.append(line)

    def _has_started(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server has ended:\n{self.log}")
        if self._stderr is None:
            match = re.search(r"https?://[^ ]*:(\d+)", self.log)
            self.port = int(match[1]) if match else 0
            return match is not None
        with contextlib.suppress(requests.ConnectionError):
            return self.get("/v2/health/ready").status_code == 200
        return False

    @property
    def log(self) -> str:
        """What the server has written to stderr."""
        return "".join(self._lines)

    @property
    def url(self) -> str:
        """The server's address."""
        scheme = "https" if "--certfile" in self._arguments else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def get(self, path: str, **arguments: Any) -> requests.Response:
        """Send a GET request."""
        return requests.get(self.url + path, timeout=PATIENCE_S, **arguments)

    def post(self, path: str, body: Any = None, **arguments: Any) -> requests.Response:
        """Send a POST request; the body is a picture unless the headers say otherwise."""
        if body is not None:
            arguments.setdefault("headers", {"content-type": "application/octet-stream"})
        return requests.post(self.url + path, body, timeout=PATIENCE_S, **arguments)

    def reads(self) -> bool:
        """Whether the server reads an honest picture."""
        answer = self.post("/predict", EXAMPLE)
        return answer.status_code == 200 and answer.json()[0]["label"] == EXAMPLE_LABEL

    def connect(self) -> socket.socket:
        """A connection for bytes that no HTTP client sends."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def metric(self, name: str) -> float:
        """The value of a metric, with its labels as in the text of /metrics; 0 if it is not there."""
        text = self.get("/metrics").text
        match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(match[1]) if match else 0.0

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        main = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [
            int(child)
            for child in main.read_text().split()
            if "serving.worker" in Path(f"/proc/{child}/cmdline").read_text()
        ]

    def memory_mb(self) -> float:
        """The memory of the server and its workers, without what they share."""
        total = 0
        for process in (self.process.pid, *self.workers()):
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += sum(int(size) for size in re.findall(r"^Pss(?:_Anon)?: +(\d+)", text, re.M)[:1])
        return total / 1024

    def open_files(self) -> int:
        """The number of open files of the server process."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], bool], server: Server | None = None) -> None:
    """Wait until a condition holds, for at most `PATIENCE_S`."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        log = f":\n{server.log}" if server else ""
        assert time.monotonic() < end, f"it takes too long{log}"
        time.sleep(0.02)


@contextlib.contextmanager
def in_threads(count: int, function: Callable[[int], None]) -> Iterator[None]:
    """Run a function in several threads, and wait for their end."""
    threads = [threading.Thread(target=function, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(PATIENCE_S)
