"""A worker process: it reads jobs from stdin and writes answers to stdout."""

import gc
import os
import signal
import sys
from typing import Any, BinaryIO

from mnistctl.errors import MnistctlError
from mnistctl.serving import messages
from mnistctl.serving.messages import NotStarted, Started


def main() -> None:
    """Answer jobs until the server closes the pipe, or has ended in any way."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the server decides when its workers end
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    stdin = sys.stdin.buffer
    stdout = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may write between messages
    setup = messages.decode_setup(_read(stdin))
    try:
        from mnistctl.serving.engine import Engine  # NumPy, Pillow and onnxruntime, 0.4 s

        engine = Engine.open(setup)
    except MnistctlError as error:
        _write(stdout, NotStarted(str(error), error.exit_code))
        return
    gc.freeze()  # what is there now stays; a collection that looks through it takes 0.1 s
    _write(stdout, Started([*engine.infos.values()]))
    while content := _read(stdin):
        _write(stdout, engine.answer(messages.decode_jobs(content)))


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
