"""How long the idle threads of GNU OpenMP, which torch computes with, spin before they sleep.

By default they spin for milliseconds. Beside another busy process such a thread keeps a processor from
the thread that it waits for, and training becomes many times slower. Without any spinning, training on
a quiet machine takes a third longer. OpenMP reads its environment variables once, when torch is loaded.
"""

import os
import sys
import time
from pathlib import Path

# Rounds of 15 to 50 ns each; compared by scripts/bench_under_load.py.
QUIET_SPIN_COUNT, BUSY_SPIN_COUNT = 1_000, 0

_VARIABLE = "GOMP_SPINCOUNT"
_USER_VARIABLES = (_VARIABLE, "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
_LOAD = Path("/proc/loadavg")
_SAMPLES, _INTERVAL_S = 3, 0.001

_own_setting: str | None = None


def limit_spinning() -> None:
    """Make idle threads sleep soon, in this process and in those that it starts.

    Does nothing if the user has set one of the variables, or if torch is loaded already.
    """
    global _own_setting
    if user_setting() is None and "torch" not in sys.modules:
        os.environ[_VARIABLE] = str(BUSY_SPIN_COUNT if _is_busy() else QUIET_SPIN_COUNT)
        _own_setting = f"{_VARIABLE}={os.environ[_VARIABLE]}"


def own_setting() -> str | None:
    """The variable that this program has set, as NAME=VALUE; None: none."""
    return _own_setting


def user_setting() -> str | None:
    """The variables that the user has set, as NAME=VALUE; None: none."""
    if _own_setting is not None:
        return None
    settings = [f"{name}={os.environ[name]}" for name in _USER_VARIABLES if name in os.environ]
    return " ".join(settings) or None


def _is_busy() -> bool:
    """Whether other processes compute now, for at least two milliseconds."""
    for sample in range(_SAMPLES):
        if sample:
            time.sleep(_INTERVAL_S)
        try:
            running = int(_LOAD.read_text().split()[3].partition("/")[0])  # with this process
        except (OSError, ValueError, IndexError):  # not Linux
            return False
        if running <= 1:
            return False
    return True
