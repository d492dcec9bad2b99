"""The process group that torchrun starts, read from the environment, without importing torch."""

import os
import socket
from datetime import timedelta
from typing import TYPE_CHECKING

from mnistctl.errors import LostProcessError, MnistctlError, UsageError

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

_TIMEOUT_S = 10


def processes() -> int:
    """The number of processes that train together; 1 outside torchrun."""
    return _number("WORLD_SIZE") if _is_launched() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return _number("RANK") if _is_launched() else 0


def local_processes() -> int:
    """The number of processes on this machine."""
    return _number("LOCAL_WORLD_SIZE") if _is_launched() else 1


def local_rank() -> int:
    """The number of this process among those on this machine, from 0."""
    return _number("LOCAL_RANK") if _is_launched() else 0


def is_leader() -> bool:
    """Whether this is the process that writes files and shows progress."""
    return rank() == 0


def connect() -> "TCPStore":
    """Connect to torchrun's own store, which outlives the processes.

    Raises:
        UsageError: a variable of torchrun is missing or wrong.
        LostProcessError: torchrun does not answer.
    """
    host, port = os.environ.get("MASTER_ADDR", ""), _number("MASTER_PORT")
    try:
        # PyTorch would try again for the whole time, and print warnings.
        socket.create_connection((host, port), timeout=_TIMEOUT_S).close()
        from torch.distributed import TCPStore  # type: ignore[attr-defined] # imports torch: 1.2 s

        return TCPStore(host, port, is_master=False, timeout=timedelta(seconds=_TIMEOUT_S))
    except (OSError, OverflowError, RuntimeError) as error:
        raise LostProcessError(f"torchrun does not answer at {host}:{port}") from error


def is_first_to_report() -> bool:
    """Whether this process is the first to ask; true for one process of a group.

    An error of one process ends all of them, and one message is enough.
    """
    try:
        if processes() == 1:
            return True
        return connect().add(f"mnistctl/reported/{_number('TORCHELASTIC_RESTART_COUNT')}", 1) == 1
    except (MnistctlError, RuntimeError):  # torchrun itself has ended
        return True


def _is_launched() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    if not text.isdecimal():
        raise UsageError(
            f"{variable}={text}: expected a number from torchrun; start the processes with torchrun, "
            "or unset TORCHELASTIC_RUN_ID"
        )
    return int(text)
