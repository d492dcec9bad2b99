"""Time what saving costs a training run, and what opening and verifying the bundled model costs.

Writes its section of `docs/benchmarks.md`. MNIST must be in the data folder and the machine do nothing
else:

    python scripts/bench_saving.py [--rounds 5]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from unittest import mock

import bench
import mnistctl
from mnistctl.api import models
from mnistctl.api.training import resume
from mnistctl.models import checkpoint, formats
from mnistctl.settings import recipes

RECIPES = ("fast", "cnn")
OPENINGS = 50


def saving_share(recipe: str) -> float:
    """Seconds that a run saves, its state and its best model, by the seconds that it trains."""
    spent = 0.0

    def timed(save: Callable[..., None]) -> Callable[..., None]:
        def measured(*arguments: object) -> None:
            nonlocal spent
            started = time.perf_counter()
            save(*arguments)
            spent += time.perf_counter() - started

        return measured

    with (
        mock.patch.object(resume.Saver, "save", timed(resume.Saver.save)),
        mock.patch.object(checkpoint, "save", timed(checkpoint.save)),
    ):
        done = mnistctl.train(recipe=recipe, dataset="mnist", device="cpu", plots=False)
    return spent / done.train_seconds


def opening_ms(kind: str) -> float:
    """Milliseconds from a bundled file to a model that is verified and can read."""
    path = models.bundled(kind)
    started = time.perf_counter()
    models.open_predictor(path)
    return 1e3 * (time.perf_counter() - started)


def main() -> None:
    """Measure in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        openings: dict[str, list[float]] = {formats.SAFETENSORS: [], formats.ONNX: []}
        for kind in openings:
            opening_ms(kind)  # imports what it needs
        for _ in range(OPENINGS):
            for kind, found in openings.items():
                found.append(opening_ms(kind))
        shares: dict[str, list[float]] = {recipe: [] for recipe in RECIPES}
        for _ in range(asked.rounds):
            for recipe, found in shares.items():
                found.append(100 * saving_share(recipe))
        os.chdir(bench.PAGE.parent)
    rows = [
        f"| `{recipe}`, {recipes.find_recipe(recipe).epochs:g} epochs | {bench.spread(found)} |"
        for recipe, found in shares.items()
    ]
    bench.write_section(
        "bench_saving",
        "Saving and opening",
        [
            "What saving where a run has come to takes of the time of training, by default.",
            "",
            "| recipe | share, %: median | range |",
            "| --- | --- | --- |",
            *rows,
            "",
            "What opening the bundled model takes, verifying it included and imports left out.",
            "",
            "| file | ms: median | range |",
            "| --- | --- | --- |",
            *(f"| {kind} | {bench.spread(found)} |" for kind, found in openings.items()),
            "",
            f"{asked.rounds} trainings and {OPENINGS} openings each, in turns.",
        ],
    )


if __name__ == "__main__":
    main()
