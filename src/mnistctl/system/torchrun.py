"""What torchrun tells each process that it starts, known without torch."""

import os
from datetime import timedelta

_TIMEOUT = timedelta(seconds=10)


def processes() -> int:
    """How many train together; 1 outside torchrun."""
    return int(os.environ["WORLD_SIZE"]) if _is_launched() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ["RANK"]) if _is_launched() else 0


def local_processes() -> int:
    """How many of them are on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if _is_launched() else 1


def local_rank() -> int:
    """Which of this machine's it is, from 0."""
    return int(os.environ["LOCAL_RANK"]) if _is_launched() else 0


def is_leader() -> bool:
    """Whether this is the process that writes and shows."""
    return rank() == 0


def is_first_to_report() -> bool:
    """Whether none of the others has said why they end; true once for all of them, and of one alone.

    What one of them meets ends all, and one line is enough.
    """
    if processes() == 1:
        return True
    from torch.distributed import TCPStore  # type: ignore[attr-defined] # torch, 1.2 s

    try:
        # Torchrun's own store, which outlives any process.
        store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=_TIMEOUT,
        )
        return store.add(f"mnistctl/told/{os.environ['TORCHELASTIC_RESTART_COUNT']}", 1) == 1
    except (RuntimeError, KeyError, ValueError):  # torchrun itself is gone
        return True


def _is_launched() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ
