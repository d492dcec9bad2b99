"""Train recipes and the plain tutorial loop side by side: time to 99%, images a second, memory.

Writes its section of `docs/benchmarks.md`, and every single run to `docs/bench_training.json`. Each
round trains every recipe with another seed, in float32 and in bfloat16 where asked, and the tutorial's
loop as often as asked. MNIST must be in the data folder, and the machine must do nothing else:

    python scripts/bench_training.py [--rounds 10] [--tutorial-rounds 2] [RECIPE ...]
"""

import argparse
import gzip
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import bench
from mnistctl import datasets
from mnistctl.system import files

ROWS = Path(__file__).parents[1] / "docs" / "bench_training.json"
TUTORIAL = Path(__file__).with_name("tutorial_loop.py")
TARGET = 0.99
_NO_GPU = "On a CUDA device: not measured; there was none."
REPEATS = (1, 2, 5)  # of MNIST: 60,000, 120,000 and 300,000 images


def train(recipe: str, *, precision: str, seed: int) -> dict[str, Any]:
    """One run of a recipe, whole command, and its test accuracy afterwards."""
    options = ("--precision", precision, "--seed", str(seed), "--no-plots", "--json", "-q")
    done = bench.measure([*bench.MNISTCTL, "train", "--recipe", recipe, *options])
    result = json.loads(done.stdout)
    lines = (Path(result["run"]) / "metrics.jsonl").read_text().splitlines()
    evaluation = [*bench.MNISTCTL, "eval", result["run"], "--no-plots", "--json", "-q"]
    test_accuracy = json.loads(bench.measure(evaluation).stdout)["accuracy"]
    epochs = [json.loads(line) for line in lines]
    reached = [epoch["train_seconds"] for epoch in epochs if epoch["validation_accuracy"] >= TARGET]
    if len(epochs) == 1:  # its end is all there is to ask, and the test set has more images
        reached = [result["train_seconds"]] if test_accuracy >= TARGET else []
    return {
        "what": f"`{recipe}`, {result['precision']}",
        "seed": seed,
        "device": result["device"],
        "train_seconds": result["train_seconds"],
        "command_seconds": done.seconds,
        "peak_mb": done.peak_mb,
        "images": _images(recipe, epochs[-1]["steps"]),
        "test_accuracy": test_accuracy,
        "seconds_to_99": reached[0] if reached else None,
    }


def _images(recipe: str, steps: int) -> int:
    from mnistctl.settings import recipes

    return steps * recipes.find_recipe(recipe).batch_size


def tutorial(*, seed: int) -> dict[str, Any]:
    """The plain loop, until it has 99% on the test set."""
    command = [sys.executable, str(TUTORIAL), "--seed", str(seed), "--until", str(TARGET)]
    done = bench.measure(command)
    last = json.loads(done.stdout.splitlines()[-1])
    return {
        "what": "the tutorial's loop, until 99%",
        "seed": seed,
        "device": "as it comes",
        "train_seconds": last["train_seconds"],
        "command_seconds": done.seconds,
        "peak_mb": done.peak_mb,
        "images": last["images"],
        "test_accuracy": last["test_accuracy"],
        "seconds_to_99": last["train_seconds"] if last["test_accuracy"] >= TARGET else None,
    }


def write_repeated(folder: Path, repeats: int) -> None:
    """MNIST's training images so many times over, and one hundred test images, as IDX files."""
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


def scaling(*, rounds: int) -> dict[int, list[float]]:
    """Images a run saw -> training microseconds an image, for `fast` on MNIST repeated."""
    found: dict[int, list[float]] = {60_000 * repeats: [] for repeats in REPEATS}
    for repeats in REPEATS:
        write_repeated(Path(f"mnist-{repeats}"), repeats)
    for seed in range(rounds):
        for repeats in REPEATS:
            command = ("train", "--recipe", "fast", "--dataset", f"mnist-{repeats}", "--epochs", "1")
            options = ("--validation-size", "100", "--seed", str(seed), "--no-plots", "--json", "-q")
            result = json.loads(bench.measure([*bench.MNISTCTL, *command, *options]).stdout)
            seen = 60_000 * repeats - 100
            found[60_000 * repeats].append(1e6 * result["train_seconds"] / seen)
    return found


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each thing compared."""
    lines = [
        "| what | training, s: median | range | to 99%, s | command, s | images/s | peak, MB "
        "| test, %: mean | range | runs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for what in dict.fromkeys(row["what"] for row in rows):
        runs = [row for row in rows if row["what"] == what]
        accuracies = [100 * row["test_accuracy"] for row in runs]
        reached = [row["seconds_to_99"] for row in runs if row["seconds_to_99"] is not None]
        to_99 = f"{statistics.median(reached):.2f}" if reached else "–"
        to_99 += f" ({len(reached)} of {len(runs)})" if len(reached) < len(runs) else ""
        rates = statistics.median(row["images"] / row["train_seconds"] for row in runs)
        lines.append(
            f"| {what} | {bench.spread([row['train_seconds'] for row in runs])} | {to_99} "
            f"| {statistics.median(row['command_seconds'] for row in runs):.2f} | {rates:,.0f} "
            f"| {max(row['peak_mb'] for row in runs):.0f} "
            f"| {statistics.fmean(accuracies):.2f} | {min(accuracies):.2f} to {max(accuracies):.2f} "
            f"| {len(runs)} |"
        )
    return lines


def main() -> None:
    """Run all in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="seeds of each recipe")
    parser.add_argument("--tutorial-rounds", type=int, default=2, help="seeds of the tutorial's loop")
    parser.add_argument("recipes", nargs="*", default=["fast", "cnn"])
    asked = parser.parse_args()
    rows = []
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for seed in range(asked.rounds):
            for recipe in asked.recipes:
                for precision in ("auto", "float32"):
                    rows.append(train(recipe, precision=precision, seed=seed))
                    print(json.dumps(rows[-1]), flush=True)
            if seed < asked.tutorial_rounds:
                rows.append(tutorial(seed=seed))
                print(json.dumps(rows[-1]), flush=True)
        scaled = scaling(rounds=min(asked.rounds, 3))
        os.chdir(here)
    files.write_json(ROWS, {"machine": bench.machine(), "runs": rows, "microseconds_an_image": scaled})
    bench.write_section(
        "bench_training",
        "Training",
        [
            *table(rows),
            "",
            *([] if any(row["device"].startswith("cuda") for row in rows) else [_NO_GPU, ""]),
            "Training runs from the moment the images lie on the device to the last step done. To 99%:",
            "of the test set, for what has one epoch and for the tutorial's loop, which asks it after",
            "every epoch; of the validation images otherwise.",
            "",
            "`fast` on MNIST repeated, one epoch; training time an image:",
            "",
            "| images | median, µs | range |",
            "| --- | --- | --- |",
            *(
                f"| {images:,} | {bench.spread(values, digits=1)} |"
                for images, values in scaled.items()
            ),
        ],
    )


if __name__ == "__main__":
    main()
