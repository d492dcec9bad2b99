"""Shared by the benchmarks: measure processes from outside, and write sections of their page."""

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

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "benchmarks.md"
MNISTCTL = (sys.executable, "-m", "mnistctl")
_PACKAGES = ("mnistctl", "torch", "onnxruntime", "numpy", "typer")


class ProcessResult(NamedTuple):
    """The measurements and the output of one process."""

    seconds: float  # from start to end
    peak_mb: float  # peak resident memory, in millions of bytes
    stdout: str


def measure(command: Sequence[str]) -> ProcessResult:
    """Run a command to its end.

    Raises:
        SystemExit: the command failed; the message has its stderr.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=out, stderr=err) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        for stream in (out, err):
            stream.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{err.read()}")
        kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
        return ProcessResult(seconds, kilobytes * 1024 / 1e6, out.read())


def measure_in_turns(
    commands: Mapping[str, Sequence[str]], *, rounds: int
) -> dict[str, list[ProcessResult]]:
    """Run each command once per round, so that other load on the machine affects all of them.

    Args:
        commands: title -> command.
        rounds: number of rounds.

    Returns:
        Title -> the result of each round.
    """
    results: dict[str, list[ProcessResult]] = {title: [] for title in commands}
    for _ in range(rounds):
        for title, command in commands.items():
            results[title].append(measure(command))
    return results


def process_table(results: Mapping[str, Sequence[ProcessResult]]) -> list[str]:
    """A Markdown table of time and memory, with a row per command."""
    return [
        "| command | median, s | range | peak memory, MB |",
        "| --- | --- | --- | --- |",
        *(
            f"| {title} | {median_and_range([run.seconds for run in runs])} "
            f"| {max(run.peak_mb for run in runs):.0f} |"
            for title, runs in results.items()
        ),
    ]


def median_and_range(values: Sequence[float], *, digits: int = 2) -> str:
    """Median and range of some values, as two cells of a table."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} | {low:.{digits}f} to {high:.{digits}f}"


def describe_machine() -> str:
    """Processor and versions, on one line."""
    model = provenance.processor()
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, {packages}"


def write_section(script: str, title: str, lines: Sequence[str]) -> None:
    """Write a section of `docs/reference/benchmarks.md`, in place of the script's last one."""
    begin, end = f"<!-- {script} -->\n", f"<!-- /{script} -->\n"
    origin = (
        f"Written by `python scripts/{script}.py` on {datetime.now(UTC):%Y-%m-%d}, on "
        f"{describe_machine()}. Candidates ran alternately on a shared machine; read each median with "
        "its range."
    )
    section = "\n".join([begin, f"## {title}", "", origin, "", *lines, "", end])
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Benchmarks\n"
    if begin in page:
        before, rest = page.split(begin)
        page = f"{before}{section}{rest.split(end)[1]}"
    else:
        page = f"{page}\n{section}"
    files.write_bytes(PAGE, page.encode())
    print(section)
