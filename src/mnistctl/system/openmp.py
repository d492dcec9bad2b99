"""How the threads of OpenMP, which torch computes with, share the processor with other programs.

All threads wait for the slowest one many times per training step. Two things follow:

- By default GNU OpenMP's threads wait spinning, for milliseconds. Beside another busy program such a
  thread keeps a core from the thread that it waits for. So they wait for a short time only, and then
  sleep. OpenMP reads its environment variables once, when torch is loaded.
- A thread that shares its core with another program slows all threads down. So training leaves the
  cores that others use to them.
"""

import os
import sys
import time
from pathlib import Path

SPIN_COUNT = 10_000  # rounds of 15 to 50 ns each; compared by scripts/bench_under_load.py

_VARIABLE = "GOMP_SPINCOUNT"
_USER_VARIABLES = (_VARIABLE, "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
_THREADS_VARIABLE = "OMP_NUM_THREADS"
_CPU_TIMES = Path("/proc/stat")  # Linux only
_MIN_SECONDS = 0.2  # over which the load is measured; the clock of /proc/stat ticks every 10 ms
_MIN_LOAD = 0.4  # of a core: others that use less are ignored

_own_setting: str | None = None


def limit_spinning() -> None:
    """Make idle threads sleep soon, in this process and in those that it starts.

    Does nothing if the user has set one of the variables, or if torch is loaded already.
    """
    global _own_setting
    if user_setting() is None and "torch" not in sys.modules:
        os.environ[_VARIABLE] = str(SPIN_COUNT)
        _own_setting = f"{_VARIABLE}={SPIN_COUNT}"


def own_setting() -> str | None:
    """The variable that this program has set, as NAME=VALUE; None: none."""
    return _own_setting


def user_setting() -> str | None:
    """The variables that the user has set, as NAME=VALUE; None: none."""
    if _own_setting is not None:
        return None
    settings = [f"{name}={os.environ[name]}" for name in _USER_VARIABLES if name in os.environ]
    return " ".join(settings) or None


class LoadMeter:
    """Measures, from its construction on, how much of the machine other programs use."""

    def __init__(self) -> None:
        self._start = _Times.now()

    def free_threads(self, threads: int) -> int:
        """The number of threads that find a core of their own, at least 1.

        It is `threads` if the user has chosen the number with OMP_NUM_THREADS. May wait 0.2 s.

        Args:
            threads: the number that would be used on a quiet machine.
        """
        if threads == 1 or os.environ.get(_THREADS_VARIABLE) or self._start.busy is None:
            return threads
        time.sleep(max(0.0, self._start.clock + _MIN_SECONDS - time.monotonic()))
        busy_cores = self._start.cores_used_by_others()
        free = (os.cpu_count() or 1) - int(busy_cores + 1 - _MIN_LOAD)
        return max(1, min(threads, free))


class _Times:
    """A moment, and the CPU seconds that all processes and this one have used until then."""

    def __init__(self, clock: float, busy: float | None, own: float) -> None:
        self.clock, self.busy, self.own = clock, busy, own

    @classmethod
    def now(cls) -> "_Times":
        return cls(time.monotonic(), _busy_seconds(), time.process_time())

    def cores_used_by_others(self) -> float:
        """The mean number of cores that other processes have used since then."""
        now = _Times.now()
        if self.busy is None or now.busy is None:
            return 0.0
        others = (now.busy - self.busy) - (now.own - self.own)
        return max(0.0, others / (now.clock - self.clock))


def _busy_seconds() -> float | None:
    """CPU seconds that all processes have used since the machine was started; None: not known."""
    try:
        fields = _CPU_TIMES.read_text().split("\n", 1)[0].split()
        user, nice, system = (int(field) for field in fields[1:4])
        return (user + nice + system) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):  # not Linux
        return None
