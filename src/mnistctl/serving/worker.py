"""A worker process: it reads jobs from stdin and writes answers to stdout."""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from mnistctl.errors import MissingExtraError, MnistctlError
from mnistctl.models import onnx_session
from mnistctl.serving import messages
from mnistctl.serving.messages import NotStarted, Started

_STATM = Path("/proc/self/statm")  # Linux only
_MAX_GROWTH = 32 << 20  # bytes that are free before they are returned to the system


def main() -> None:
    """Answer jobs until the server closes the pipe, or has ended in any way."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the server decides when its workers end
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    stdin = sys.stdin.buffer
    stdout = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may write between messages
    onnx_session.keeps_memory = False
    setup = messages.decode_setup(_read(stdin))
    try:
        from mnistctl.serving.engine import Engine  # NumPy, Pillow and onnxruntime, 0.4 s

        engine = Engine.open(setup)
    except MnistctlError as error:
        _write(stdout, NotStarted(str(error), error.exit_code))
        return
    except ModuleNotFoundError as error:  # an environment for other kinds of models
        text = f"the package '{error.name}' is not installed; this kind of model needs it"
        _write(stdout, NotStarted(text, MissingExtraError.exit_code))
        return
    gc.freeze()  # what is there now stays; a collection that looks through it takes 0.1 s
    _write(stdout, Started([*engine.infos.values()]))
    start, trim = _memory(), _trim()
    while content := _read(stdin):
        _write(stdout, engine.answer(messages.decode_jobs(content)))
        if trim is not None and _memory() > start + _MAX_GROWTH:
            trim(0)


def _trim() -> Callable[[int], int] | None:
    """The function of glibc that returns free memory to the system; None: there is no such function."""
    is_linux = sys.platform.startswith("linux")
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if is_linux else None


def _memory() -> int:
    """The memory that this process takes, in bytes; 0 if the system does not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _read(stream: BinaryIO) -> bytes:
    """The next message; empty: the server has ended."""
    head = stream.read(messages.LENGTH_BYTES)
    if len(head) < messages.LENGTH_BYTES:
        return b""
    return stream.read(messages.length_of(head))


def _write(stream: BinaryIO, message: Any) -> None:
    try:
        stream.write(messages.frame(message))
        stream.flush()
    except BrokenPipeError:  # the server has ended
        os._exit(1)


if __name__ == "__main__":
    main()
