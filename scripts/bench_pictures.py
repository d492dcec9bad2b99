"""Time `predict` with the bundled model: one picture, a photo of 12 megapixels, 10,000 small pictures.

Writes its section of `docs/benchmarks.md`. The machine must do nothing else:

    python scripts/bench_pictures.py [--rounds 11]
"""

import argparse
import os
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

import bench
from mnistctl import datasets

MANY = 10_000


def photo(digit: Image.Image) -> Image.Image:
    """A digit of 4,000×3,000 pixels on uneven paper."""
    large = np.asarray(digit.resize((4_000, 3_000), Image.Resampling.BICUBIC), dtype=np.float32)
    light = np.linspace(0.6, 1, 4_000, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 3, large.shape)
    colours = np.stack([large * light * share + noise for share in (0.98, 0.95, 0.85)], axis=2)
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


def make_pictures(folder: Path) -> None:
    """Write what the commands read."""
    digits = datasets.load("digits", "test").images
    first = Image.fromarray(255 - digits[0])
    first.resize((280, 280)).save(folder / "digit.png")
    photo(first).save(folder / "photo.jpg", quality=85)
    (folder / "many").mkdir()
    for number in range(MANY):
        Image.fromarray(255 - digits[number % len(digits)]).save(folder / f"many/{number:05}.png")


def main() -> None:
    """Run all in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    asked = parser.parse_args()
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        # In a process of its own: a child's peak memory begins with that of its parent.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(make_pictures, Path(folder)).result()
        predict = (*bench.MNISTCTL, "predict", "--model", "bundled")
        commands = {
            "`predict digit.png`": (*predict, "digit.png"),
            "`predict photo.jpg`, 12 megapixels": (*predict, "photo.jpg"),
            "`predict --split photo.jpg`, 12 megapixels": (*predict, "--split", "photo.jpg"),
            f"`predict many --csv`, {MANY:,} PNG files": (*predict, "many", "--csv", "--quiet"),
        }
        found: dict[str, list[bench.Measured]] = {title: [] for title in commands}
        for _ in range(asked.rounds):
            for title, command in commands.items():
                found[title].append(bench.measure(command))
        os.chdir(here)
    rows = [
        f"| {title} | {bench.spread([run.seconds for run in runs])} "
        f"| {max(run.peak_mb for run in runs):.0f} |"
        for title, runs in found.items()
    ]
    seconds = [statistics.median(run.seconds for run in runs) for runs in found.values()]
    bench.write_section(
        "bench_pictures",
        "Reading pictures",
        [
            "Whole processes, start to prompt, with the bundled model.",
            "",
            "| command | median, s | range | peak memory, MB |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"Of the many, {MANY / seconds[3]:,.0f} a second, the start included, and "
            f"{MANY / (seconds[3] - seconds[0]):,.0f} without it. The photo takes "
            f"{seconds[1] - seconds[0]:.2f} s beyond the start.",
            "",
            f"{asked.rounds} rounds.",
        ],
    )


if __name__ == "__main__":
    main()
