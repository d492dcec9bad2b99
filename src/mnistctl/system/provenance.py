"""Where and when something was made, and with what."""

import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

_PACKAGES = ("mnistctl", "torch", "numpy")


def versions() -> dict[str, str]:
    """The versions that decide what a training run gives."""
    installed = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return installed | {"python": platform.python_version()}


def now() -> str:
    """The time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def processor() -> str:
    """What the processor is called."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    named = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def git_commit() -> str | None:
    """The commit checked out in the working folder, if there is one and git to ask."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
