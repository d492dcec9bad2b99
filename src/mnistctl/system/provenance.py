"""Facts about the machine and the software that a result was produced with."""

import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

_PACKAGES = ("mnistctl", "torch", "numpy")


def versions() -> dict[str, str]:
    """Package -> version, of the packages that affect the result of a training run, and of Python."""
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return packages | {"python": platform.python_version()}


def now() -> str:
    """The current time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def processor() -> str:
    """The name of the CPU model, or of its architecture where the system does not tell the model."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    models = (line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def git_commit() -> str | None:
    """The commit that is checked out in the working folder; None: no repository, or no git."""
    try:
        process = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - the git on the user's PATH
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()
