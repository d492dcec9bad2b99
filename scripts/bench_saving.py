"""Measure what saving costs a training run, and what opening the bundled model costs.

Writes a section of `docs/reference/benchmarks.md`. MNIST must be in the data folder and the machine
idle:

    python scripts/bench_saving.py [--rounds 5]
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable
from unittest import mock

import bench
import mnistctl
from mnistctl.api import models
from mnistctl.api.training import loop
from mnistctl.models import checkpoint, formats
from mnistctl.settings import recipes

RECIPES = ("fast", "cnn")
OPENINGS = 50


def saving_share(recipe: str) -> float:
    """Time for saving state and models, as a share of the training time of one run."""
    saving_seconds = 0.0

    def timed(save: Callable[..., None]) -> Callable[..., None]:
        def timed_save(*arguments: object) -> None:
            nonlocal saving_seconds
            started = time.perf_counter()
            save(*arguments)
            saving_seconds += time.perf_counter() - started

        return timed_save

    with (
        mock.patch.object(loop.RunWriter, "save_state", timed(loop.RunWriter.save_state)),
        mock.patch.object(checkpoint, "save", timed(checkpoint.save)),
    ):
        result = mnistctl.train(recipe=recipe, dataset="mnist", device="cpu", plots=False)
    return saving_seconds / result.train_seconds


def opening_ms(kind: str) -> float:
    """Milliseconds from a bundled file to a verified model that is ready to use."""
    path = models.bundled(kind)
    started = time.perf_counter()
    models.open_predictor(path)
    return 1e3 * (time.perf_counter() - started)


def main() -> None:
    """Measure in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    openings: dict[str, list[float]] = {formats.SAFETENSORS: [], formats.ONNX: []}
    shares: dict[str, list[float]] = {recipe: [] for recipe in RECIPES}
    for kind in openings:
        opening_ms(kind)  # not counted: imports the runtime
    for _ in range(OPENINGS):
        for kind, milliseconds in openings.items():
            milliseconds.append(opening_ms(kind))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for _ in range(arguments.rounds):
            for recipe, percentages in shares.items():
                percentages.append(100 * saving_share(recipe))
    bench.write_section(
        "bench_saving",
        "Saving and opening",
        [
            "Time that a run takes to save its state and its models, relative to its training time, "
            "with default settings:",
            "",
            "| recipe | share, % (median) | range |",
            "| --- | --- | --- |",
            *(
                f"| `{recipe}`, {recipes.find_recipe(recipe).epochs:g} epochs "
                f"| {bench.median_and_range(percentages)} |"
                for recipe, percentages in shares.items()
            ),
            "",
            "Time to open and verify the bundled model, without imports:",
            "",
            "| file | median, ms | range |",
            "| --- | --- | --- |",
            *(
                f"| {kind} | {bench.median_and_range(milliseconds)} |"
                for kind, milliseconds in openings.items()
            ),
            "",
            f"{arguments.rounds} training runs per recipe and {OPENINGS} openings per file.",
        ],
    )


if __name__ == "__main__":
    main()
