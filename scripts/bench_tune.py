"""Measure `mnistctl tune`: what it finds, how fast, and beside plain searches with Optuna.

Writes a section of `docs/reference/benchmarks.md`, and each finished measurement to
`docs/reference/bench_tune.json`; those are not measured again. Takes about half an hour on two cores.
The extra `tune` must be installed, MNIST must be in the data folder, and the machine must be idle:

    python scripts/bench_tune.py
"""

import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bench
from mnistctl.system import files

ROWS = bench.PAGE.with_name("bench_tune.json")
PLAIN = Path(__file__).with_name("plain_search.py")
OTHER_SPLIT = 1  # where the confirmation runs hold out other images
EQUAL = ("--trials", "8", "--epochs", "2", "--confirm", "3")  # of the plain searches and ours
SEEDS = ("--seeds", "3", "--pruner", "median")
ROUNDS, SEARCH_ROUNDS = 2, 1


def tune(*options: str) -> dict[str, Any]:
    """Run a search; what it found, with the time of the whole command."""
    process = bench.measure([*bench.MNISTCTL, "tune", *options, "--no-plots", "--json", "-q"])
    return {"seconds": process.seconds, **json.loads(process.stdout)}


def train_recipe(recipe: str, seeds: int) -> list[float]:
    """The validation accuracies of a recipe on the split of the confirmation runs."""
    options = ("--split-seed", str(OTHER_SPLIT), "--seed", "1", "--seeds", str(seeds))
    command = [*bench.MNISTCTL, "train", "--recipe", recipe, *options, "--no-plots", "--json", "-q"]
    return [run["validation_accuracy"] for run in json.loads(bench.measure(command).stdout)["runs"]]


def search_and_compare(
    arch: str, trials: int, recipe: str, seeds: int, *options: str
) -> dict[str, Any]:
    """A search in the default space of an architecture, and a recipe on the same split."""
    result = tune("--arch", arch, "--trials", str(trials), "--confirm", str(seeds), *options)
    values = [
        trial["objectives"].get("accuracy", trial["validation_accuracy"]) for trial in result["trials"]
    ]
    return {
        "seconds": result["seconds"],
        "states": [trial["state"] for trial in result["trials"]],
        "train_seconds": [trial["train_seconds"] for trial in result["trials"]],
        "rank_of_first": 1 + sum(value > values[0] for value in values),
        "settings": result["trials"][result["best"]]["settings"],
        "best": result["trials"][result["best"]]["validation_accuracy"],
        "confirmed": [item["validation_accuracy"] for item in result["confirmations"]],
        "test": result["test_accuracy"],
        "recipe": train_recipe(recipe, seeds),
    }


def compare_searches() -> dict[str, Any]:
    """Equal trials by mnistctl, by Optuna's plain loop, and by random search, in turns."""
    rows: dict[str, list[dict[str, Any]]] = {"mnistctl tune": [], "plain loop": [], "random search": []}
    for number in range(SEARCH_ROUNDS):
        result = tune("--arch", "mlp", *EQUAL, "--seed", str(number))
        rows["mnistctl tune"].append(
            {
                "seconds": result["seconds"],
                "best": result["trials"][result["best"]]["validation_accuracy"],
                "confirmed": [item["validation_accuracy"] for item in result["confirmations"]],
            }
        )
        for name, options in {"plain loop": (), "random search": ("--random",)}.items():
            command = [sys.executable, str(PLAIN), *EQUAL, *options, "--seed", str(number)]
            process = bench.measure(command)
            rows[name].append({"seconds": process.seconds, **json.loads(process.stdout)})
    return rows


def compare_workers() -> dict[str, Any]:
    """40 short trials by one worker with all cores and by two workers, in turns."""
    seconds: dict[str, list[float]] = {"1": [], "2": []}
    size = ("--arch", "mlp", "--trials", "40", "--epochs", "2", "--confirm", "0")
    for _ in range(ROUNDS):
        for workers, values in seconds.items():
            options = ("--sampler", "random", "--pruner", "none", "--workers", workers)
            values.append(tune(*size, *options)["seconds"])
    return seconds


MEASUREMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "mlp": lambda: search_and_compare("mlp", 40, "mlp-128", 5),
    "workers": compare_workers,
    "cnn": lambda: search_and_compare("cnn", 30, "cnn", 5),
    "searches": compare_searches,
    "cnn, seeds": lambda: search_and_compare("cnn", 30, "cnn", 5, *SEEDS),
}


def percent(values: Sequence[float]) -> str:
    """Mean and standard deviation of accuracies."""
    deviation = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.2f}%{deviation}"


def found_line(row: dict[str, Any], arch: str, recipe: str, *options: str) -> str:
    """What a search has found, beside a recipe."""
    found, base = row["confirmed"], row["recipe"]
    gain = 100 * (statistics.fmean(found) - statistics.fmean(base))
    error = 100 * math.sqrt(sum(statistics.variance(item) / len(item) for item in (found, base)))
    settings = ", ".join(
        f"`{name}` {value:.3g}" if isinstance(value, float) else f"`{name}` {value}"
        for name, value in row["settings"].items()
    )
    return (
        f"| `{' '.join(('--arch', arch, *options))}` | {len(row['states'])} "
        f"| {row['seconds'] / 60:.1f} "
        f"| {100 * row['best']:.2f}% | {percent(found)} | `{recipe}`: {percent(base)} "
        f"| {gain:+.2f} ± {error:.2f} | {row['rank_of_first']} | {settings} |"
    )


def report(rows: dict[str, Any]) -> list[str]:
    """The lines of the section."""
    searches, workers = rows["searches"], rows["workers"]
    ratios = [two / one for one, two in zip(workers["1"], workers["2"], strict=True)]
    return [
        "The confirmed accuracy is that of runs with new seeds on another split than the search's,",
        "and so is the recipe's: means of five runs each. The difference, in points, has its standard",
        "error. The rank is that of the first trial, which has the settings of the architecture's",
        "recipe.",
        "",
        "| search | trials | minutes | best | confirmed | recipe | difference | rank | settings |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        found_line(rows["mlp"], "mlp", "mlp-128"),
        found_line(rows["cnn"], "cnn", "cnn"),
        found_line(rows["cnn, seeds"], "cnn", "cnn", *SEEDS),
        "",
        f"Equal trials, in turns: `{' '.join(EQUAL)}`. The plain loop is Optuna's example for PyTorch",
        "on this space (`scripts/plain_search.py`): TPE and the median pruner, one process, a",
        "DataLoader. The random search is the same loop without pruner. Seconds are those of the whole",
        "command.",
        "",
        "| search | seconds, median | range | confirmed |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {bench.median_and_range([run['seconds'] for run in runs], digits=0)} "
            f"| {percent([value for run in runs for value in run['confirmed']])} |"
            for name, runs in searches.items()
        ),
        "",
        f"Two workers on {os.cpu_count()} cores take {statistics.median(ratios):.2f} of the time of",
        f"one worker with all cores ({min(ratios):.2f} to {max(ratios):.2f}), for 40 trials of two",
        "epochs.",
    ]


def main() -> None:
    """Measure what is missing, and write the section."""
    rows: dict[str, Any] = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, measure in MEASUREMENTS.items():
            if name not in rows:
                rows[name] = measure()
                files.write_json(ROWS, rows)
                print(f"{name}: done", flush=True)
    bench.write_section("bench_tune", "The search", report(rows))


if __name__ == "__main__":
    main()
