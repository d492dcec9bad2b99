"""Compare recipes with the tutorial loop: time to 99% accuracy, images per second, memory.

Writes a section of `docs/reference/benchmarks.md`, and the result of each run to
`docs/reference/bench_training.json`. Each round trains every recipe with another seed, with automatic
precision (bfloat16 where the hardware supports it) and in float32. The tutorial loop runs in the first
rounds only. MNIST must be in the data folder, and the machine must be idle:

    python scripts/bench_training.py [--rounds 10] [--tutorial-rounds 2] [RECIPE ...]
"""

import argparse
import contextlib
import gzip
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import bench
from mnistctl import datasets
from mnistctl.settings import recipes
from mnistctl.system import files

ROWS = Path(__file__).parents[1] / "docs" / "reference" / "bench_training.json"
TUTORIAL = Path(__file__).with_name("tutorial_loop.py")
TARGET = 0.99  # accuracy
NO_GPU = "Not measured on a CUDA device: none was available."
REPEATS = (1, 2, 5)  # of MNIST: 60,000, 120,000 and 300,000 images


def train(recipe: str, *, precision: str, seed: int) -> dict[str, Any]:
    """Train a recipe with `mnistctl train`, and measure its test accuracy afterwards."""
    options = ("--precision", precision, "--seed", str(seed), "--no-plots", "--json", "-q")
    process = bench.measure([*bench.MNISTCTL, "train", "--recipe", recipe, *options])
    result = json.loads(process.stdout)
    evaluation = [*bench.MNISTCTL, "eval", result["run"], "--no-plots", "--json", "-q"]
    test_accuracy = json.loads(bench.measure(evaluation).stdout)["accuracy"]
    lines = (Path(result["run"]) / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    reached = [epoch["train_seconds"] for epoch in epochs if epoch["validation_accuracy"] >= TARGET]
    if len(epochs) == 1:  # measured once in any case, and the test set has more images
        reached = [result["train_seconds"]] if test_accuracy >= TARGET else []
    return {
        "candidate": f"`{recipe}`, {result['precision']}",
        "seed": seed,
        "device": result["device"],
        "train_seconds": result["train_seconds"],
        "command_seconds": process.seconds,
        "peak_mb": process.peak_mb,
        "images": epochs[-1]["steps"] * recipes.find_recipe(recipe).batch_size,
        "test_accuracy": test_accuracy,
        "seconds_to_99": reached[0] if reached else None,
    }


def run_tutorial(*, seed: int) -> dict[str, Any]:
    """Run the tutorial loop until it reaches 99% on the test set."""
    command = [sys.executable, str(TUTORIAL), "--seed", str(seed), "--until", str(TARGET)]
    process = bench.measure(command)
    last = json.loads(process.stdout.splitlines()[-1])
    return {
        "candidate": "tutorial loop, until 99%",
        "seed": seed,
        "device": "default",
        "train_seconds": last["train_seconds"],
        "command_seconds": process.seconds,
        "peak_mb": process.peak_mb,
        "images": last["images"],
        "test_accuracy": last["test_accuracy"],
        "seconds_to_99": last["train_seconds"] if last["test_accuracy"] >= TARGET else None,
    }


def write_repeated_mnist(folder: Path, repeats: int) -> None:
    """Write MNIST's training images, repeated, and 100 images for the test set, as IDX files."""
    folder.mkdir()
    train_split = datasets.load("mnist", "train", validation_size=0)
    for name, images, labels in (
        ("train", np.tile(train_split.images, (repeats, 1, 1)), np.tile(train_split.labels, repeats)),
        ("t10k", train_split.images[:100], train_split.labels[:100]),
    ):
        for kind, values in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
            sizes = np.array(values.shape, dtype=">u4").tobytes()
            content = bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()
            path = folder / f"{name}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(content, compresslevel=1))


def measure_scaling(*, rounds: int) -> dict[int, list[float]]:
    """Number of images -> training time per image, in microseconds, of `fast` on repeated MNIST."""
    microseconds: dict[int, list[float]] = {60_000 * repeats: [] for repeats in REPEATS}
    for repeats in REPEATS:
        write_repeated_mnist(Path(f"mnist-{repeats}"), repeats)
    for seed in range(rounds):
        for repeats in REPEATS:
            command = ("train", "--recipe", "fast", "--dataset", f"mnist-{repeats}", "--epochs", "1")
            options = ("--validation-size", "100", "--seed", str(seed), "--no-plots", "--json", "-q")
            result = json.loads(bench.measure([*bench.MNISTCTL, *command, *options]).stdout)
            trained_on = 60_000 * repeats - 100
            microseconds[60_000 * repeats].append(1e6 * result["train_seconds"] / trained_on)
    return microseconds


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A Markdown table with a row per candidate."""
    lines = [
        "| candidate | training, s (median) | range | to 99%, s | command, s | images/s "
        "| peak memory, MB | test accuracy, % (mean) | range | runs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for candidate in dict.fromkeys(row["candidate"] for row in rows):
        runs = [row for row in rows if row["candidate"] == candidate]
        accuracies = [100 * row["test_accuracy"] for row in runs]
        reached = [row["seconds_to_99"] for row in runs if row["seconds_to_99"] is not None]
        to_99 = f"{statistics.median(reached):.2f}" if reached else "–"
        to_99 += f" ({len(reached)} of {len(runs)})" if len(reached) < len(runs) else ""
        rate = statistics.median(row["images"] / row["train_seconds"] for row in runs)
        lines.append(
            f"| {candidate} | {bench.median_and_range([row['train_seconds'] for row in runs])} "
            f"| {to_99} | {statistics.median(row['command_seconds'] for row in runs):.2f} "
            f"| {rate:,.0f} | {max(row['peak_mb'] for row in runs):.0f} "
            f"| {statistics.fmean(accuracies):.2f} | {min(accuracies):.2f} to {max(accuracies):.2f} "
            f"| {len(runs)} |"
        )
    return lines


def section(rows: list[dict[str, Any]], microseconds: dict[int, list[float]]) -> list[str]:
    """The lines of the section."""
    has_gpu = any(row["device"].startswith("cuda") for row in rows)
    return [
        *table(rows),
        "",
        *([] if has_gpu else [NO_GPU, ""]),
        "Training time starts when the images are on the device and ends with the last step. The time "
        "to 99% refers to the test set for the tutorial loop, which evaluates on it after every epoch, "
        "and for recipes with a single epoch. For all others it refers to the validation images.",
        "",
        "Training time per image of `fast`, for one epoch on repeated MNIST:",
        "",
        "| images | median, µs | range |",
        "| --- | --- | --- |",
        *(
            f"| {images:,} | {bench.median_and_range(values, digits=1)} |"
            for images, values in microseconds.items()
        ),
    ]


def main() -> None:
    """Train everything in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="seeds per recipe")
    parser.add_argument("--tutorial-rounds", type=int, default=2, help="seeds of the tutorial loop")
    parser.add_argument("recipes", nargs="*", default=["fast", "cnn"])
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for seed in range(arguments.rounds):
            for recipe in arguments.recipes:
                for precision in ("auto", "float32"):
                    rows.append(train(recipe, precision=precision, seed=seed))
                    print(json.dumps(rows[-1]), flush=True)
            if seed < arguments.tutorial_rounds:
                rows.append(run_tutorial(seed=seed))
                print(json.dumps(rows[-1]), flush=True)
        microseconds = measure_scaling(rounds=min(arguments.rounds, 3))
    results = {
        "machine": bench.describe_machine(),
        "runs": rows,
        "microseconds_per_image": microseconds,
    }
    files.write_json(ROWS, results)
    bench.write_section("bench_training", "Training", section(rows, microseconds))


if __name__ == "__main__":
    main()
