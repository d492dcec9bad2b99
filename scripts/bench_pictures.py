"""Measure `predict` with the bundled model: a picture, a 12-megapixel photo, 10,000 small pictures.

Writes a section of `docs/benchmarks.md`. The machine must be idle:

    python scripts/bench_pictures.py [--rounds 11]
"""

import argparse
import contextlib
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

import bench
from mnistctl import datasets

PICTURES = 10_000


def photo(digit: Image.Image) -> Image.Image:
    """A digit of 4,000×3,000 pixels on unevenly lit paper."""
    large = np.asarray(digit.resize((4_000, 3_000), Image.Resampling.BICUBIC), dtype=np.float32)
    light = np.linspace(0.6, 1, 4_000, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 3, large.shape)
    colours = np.stack([large * light * share + noise for share in (0.98, 0.95, 0.85)], axis=2)
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


def write_pictures(folder: Path) -> None:
    """Write the pictures that the commands read."""
    digits = datasets.load("digits", "test").images
    first = Image.fromarray(255 - digits[0])
    first.resize((280, 280)).save(folder / "digit.png")
    photo(first).save(folder / "photo.jpg", quality=85)
    (folder / "many").mkdir()
    for number in range(PICTURES):
        Image.fromarray(255 - digits[number % len(digits)]).save(folder / f"many/{number:05}.png")


def main() -> None:
    """Run all commands in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    predict = (*bench.MNISTCTL, "predict", "--model", "bundled")
    commands = {
        "`predict digit.png`": (*predict, "digit.png"),
        "`predict photo.jpg`, 12 megapixels": (*predict, "photo.jpg"),
        "`predict --numbers photo.jpg`, 12 megapixels": (*predict, "--numbers", "photo.jpg"),
        f"`predict many --csv`, {PICTURES:,} PNG files": (*predict, "many", "--csv", "--quiet"),
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # In another process, because the peak memory of a child starts at its parent's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(write_pictures, Path(folder)).result()
        results = bench.measure_in_turns(commands, rounds=arguments.rounds)
    start, one_photo, _, many = (
        statistics.median(run.seconds for run in runs) for runs in results.values()
    )
    bench.write_section(
        "bench_pictures",
        "Predicting pictures",
        [
            "Each row is a whole process, from start to exit, with the bundled model.",
            "",
            *bench.process_table(results),
            "",
            f"The {PICTURES:,} PNG files are processed at {PICTURES / many:,.0f} per second, or at "
            f"{PICTURES / (many - start):,.0f} per second without the time of a single picture. The "
            f"photo takes {one_photo - start:.2f} s more than the small picture.",
            "",
            f"{arguments.rounds} rounds.",
        ],
    )


if __name__ == "__main__":
    main()
