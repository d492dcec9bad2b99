"""The process group that torchrun starts, read from the environment, without importing torch."""

import os
from datetime import timedelta

_TIMEOUT = timedelta(seconds=10)


def processes() -> int:
    """The number of processes that train together; 1 outside torchrun."""
    return int(os.environ["WORLD_SIZE"]) if _is_launched() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ["RANK"]) if _is_launched() else 0


def local_processes() -> int:
    """The number of processes on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if _is_launched() else 1


def local_rank() -> int:
    """The number of this process among those on this machine, from 0."""
    return int(os.environ["LOCAL_RANK"]) if _is_launched() else 0


def is_leader() -> bool:
    """Whether this is the process that writes files and shows progress."""
    return rank() == 0


def is_first_to_report() -> bool:
    """Whether this process is the first to ask; true for one process of a group.

    An error of one process ends all of them, and one message is enough.
    """
    if processes() == 1:
        return True
    from torch.distributed import TCPStore  # type: ignore[attr-defined] # imports torch: 1.2 s

    try:
        # Torchrun's own store, which outlives the processes.
        store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=_TIMEOUT,
        )
        return store.add(f"mnistctl/reported/{os.environ['TORCHELASTIC_RESTART_COUNT']}", 1) == 1
    except (RuntimeError, KeyError, ValueError):  # torchrun itself has ended
        return True


def _is_launched() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ
