"""What the benchmarks share: processes measured from outside, and the page that they write."""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from mnistctl.system import files, provenance

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MNISTCTL = (sys.executable, "-m", "mnistctl")
_PACKAGES = ("mnistctl", "torch", "onnxruntime", "numpy", "typer")


class Measured(NamedTuple):
    """One process, from start to end."""

    seconds: float
    peak_mb: float  # resident memory, in millions of bytes
    stdout: str


def measure(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; its last words are printed.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        with subprocess.Popen(
            command, stdout=out, stderr=err, env={**os.environ, **(environment or {})}
        ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        for stream in (out, err):
            stream.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{err.read()}")
        kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
        return Measured(seconds, kilobytes * 1024 / 1e6, out.read())


def machine() -> str:
    """Processor and versions, in a line."""
    model = provenance.processor()
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, {packages}"


def spread(values: Sequence[float], *, digits: int = 2) -> str:
    """Median and range, as two cells of a table."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} | {low:.{digits}f} to {high:.{digits}f}"


def write_section(script: str, title: str, lines: Sequence[str]) -> None:
    """Put a section into `docs/benchmarks.md`, in place of what the same script wrote before."""
    begin, end = f"<!-- {script} -->\n", f"<!-- /{script} -->\n"
    made = (
        f"Made by `python scripts/{script}.py` on {datetime.now(UTC):%Y-%m-%d}, with {machine()}. "
        "What is compared took turns; the machine is shared, so the spread is part of the figure."
    )
    section = "\n".join([begin, f"## {title}", "", made, "", *lines, "", end])
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Benchmarks\n"
    if begin in page:
        before, rest = page.split(begin)
        page = f"{before}{section}{rest.split(end)[1]}"
    else:
        page = f"{page}\n{section}"
    files.write_bytes(PAGE, page.encode())
    print(section)
