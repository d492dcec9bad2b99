"""Measure `train --recipe fast` beside other work, with several numbers of threads and spin times.

Writes a section of `docs/reference/benchmarks.md`, and every run to
`docs/reference/bench_under_load.json`. Each round measures every candidate on the quiet machine,
beside one process that computes without pause on one core, and beside a second training of the same
kind. The candidates alternate. `--baseline` adds the `mnistctl` of another environment, such as an
older version. MNIST must be in the data folder, and the machine must be idle:

    python scripts/bench_under_load.py [--rounds 7] [--baseline OTHER/bin/mnistctl]
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bench
from mnistctl.system import files

ROWS = Path(__file__).parents[1] / "docs" / "reference" / "bench_under_load.json"
QUIET, BUSY, TWICE = "quiet", "beside a busy process", "two at once"
_number = itertools.count()
VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
ALL_THREADS = {"OMP_NUM_THREADS": str(os.cpu_count())}


class Candidate(NamedTuple):
    """A command, and the environment variables that decide how its idle threads wait."""

    command: Sequence[str]
    variables: dict[str, str]


CANDIDATES = {
    "as released": Candidate(bench.MNISTCTL, {}),
    "all threads, 10,000 rounds": Candidate(bench.MNISTCTL, ALL_THREADS | {"GOMP_SPINCOUNT": "10000"}),
    "all threads, 1,000 rounds": Candidate(bench.MNISTCTL, ALL_THREADS | {"GOMP_SPINCOUNT": "1000"}),
    "all threads, passive": Candidate(bench.MNISTCTL, ALL_THREADS | {"OMP_WAIT_POLICY": "PASSIVE"}),
    "all threads, OpenMP's default": Candidate(
        bench.MNISTCTL, ALL_THREADS | {"GOMP_SPINCOUNT": "300000"}
    ),
}
BASELINE = "the baseline"


def start(candidate: Candidate, options: Sequence[str]) -> subprocess.Popen[str]:
    """Start a training."""
    variables = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [*candidate.command, "train", "--recipe", "fast", "--no-plots", "--json", "-q", *options]
    command += ["--name", f"run-{next(_number)}"]  # older versions may give two runs the same name
    return subprocess.Popen(
        command, env=variables | candidate.variables, stdout=subprocess.PIPE, text=True
    )


def train_seconds(process: subprocess.Popen[str]) -> float:
    """The seconds of a training that was started.

    Raises:
        SystemExit: it failed.
    """
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args!r}: exit {process.returncode}")
    return float(json.loads(out)["train_seconds"])


@contextlib.contextmanager
def busy_process() -> Iterator[None]:
    """A process that computes without pause on one core."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(candidate: Candidate, situation: str, options: Sequence[str]) -> float:
    """Training seconds in a situation; of two trainings at once those of the slower one."""
    if situation == TWICE:
        processes = [start(candidate, options) for _ in range(2)]
        return max(train_seconds(process) for process in processes)
    with busy_process() if situation == BUSY else contextlib.nullcontext():
        return train_seconds(start(candidate, options))


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A Markdown table with a row per candidate and situation."""
    lines = [
        "| threads | situation | training, s (median) | range | ÷ quiet | runs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for candidate in dict.fromkeys(row["candidate"] for row in rows):
        seconds = {
            situation: [
                row["train_seconds"]
                for row in rows
                if (row["candidate"], row["situation"]) == (candidate, situation)
            ]
            for situation in (QUIET, BUSY, TWICE)
        }
        quiet = statistics.median(seconds[QUIET])
        for situation, values in seconds.items():
            lines.append(
                f"| {candidate} | {situation} | {bench.median_and_range(values)} "
                f"| {statistics.median(values) / quiet:.2f} | {len(values)} |"
            )
    return lines


def main() -> None:
    """Measure everything in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="runs per candidate and situation")
    parser.add_argument("--baseline", type=Path, help="another environment's mnistctl")
    parser.add_argument("--smoke", action="store_true", help="small trainings; nothing is written")
    parser.add_argument("candidates", nargs="*", help=f"default: all of {', '.join(CANDIDATES)}")
    arguments = parser.parse_args()
    candidates = {name: CANDIDATES[name] for name in arguments.candidates or CANDIDATES}
    if arguments.baseline:
        candidates[BASELINE] = Candidate([str(arguments.baseline.absolute())], {})
    options = ["--dataset", "digits", "--epochs", "1"] if arguments.smoke else ["--dataset", "mnist"]
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for _ in range(arguments.rounds):
            for situation in (QUIET, BUSY, TWICE):
                for name, candidate in candidates.items():
                    seconds = measure(candidate, situation, options)
                    rows.append({"candidate": name, "situation": situation, "train_seconds": seconds})
                    print(json.dumps(rows[-1]), flush=True)
    if arguments.smoke:
        print("\n".join(table(rows)))
        return
    results = {"machine": bench.describe_machine(), "runs": rows}
    files.write_bytes(ROWS, json.dumps(results, indent=1).encode())
    lines = [
        *table(rows),
        "",
        "Seconds of training alone; of two trainings at once, those of the slower one. Idle threads "
        "spin for this number of rounds, then sleep; passive ones sleep at once. As released, training "
        "leaves the cores to others that they use when it starts.",
    ]
    bench.write_section("bench_under_load", "Training beside other work", lines)


if __name__ == "__main__":
    main()
