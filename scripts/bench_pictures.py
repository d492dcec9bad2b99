"""Measure `predict` with the bundled models: a picture, a 12-megapixel photo, many small pictures.

Writes a section of `docs/reference/benchmarks.md`. The machine must be idle:

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
from mnistctl.types import Images

PICTURES, NUMBERS = 10_000, 400


def photo(digit: Image.Image) -> Image.Image:
    """A digit of 4,000×3,000 pixels on unevenly lit paper."""
    large = np.asarray(digit.resize((4_000, 3_000), Image.Resampling.BICUBIC), dtype=np.float32)
    light = np.linspace(0.6, 1, 4_000, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 3, large.shape)
    colours = np.stack([large * light * share + noise for share in (0.98, 0.95, 0.85)], axis=2)
    return Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))


def number(digits: Images, random: np.random.Generator) -> Image.Image:
    """Four digits on 300×100 pixels."""
    picture = Image.new("L", (300, 100), 255)
    for place, row in enumerate(random.integers(len(digits), size=4)):
        picture.paste(Image.fromarray(255 - digits[row]).resize((56, 56)), (25 + 65 * place, 22))
    return picture


def page(digits: Images) -> Image.Image:
    """Two hundred digits in twenty lines, 4,000×3,000 pixels."""
    random = np.random.default_rng(0)
    sheet = Image.new("L", (1_000, 750), 255)
    for place, row in enumerate(random.integers(len(digits), size=200)):
        line, column = divmod(place, 10)
        sheet.paste(Image.fromarray(255 - digits[row]), (60 + 85 * column, 20 + 35 * line))
    return photo(sheet)


def write_pictures(folder: Path) -> None:
    """Write the pictures that the commands read."""
    digits = datasets.load("digits", "test").images
    first = Image.fromarray(255 - digits[0])
    first.resize((280, 280)).save(folder / "digit.png")
    photo(first).save(folder / "photo.jpg", quality=85)
    page(digits).save(folder / "page.jpg", quality=85)
    random = np.random.default_rng(0)
    (folder / "numbers").mkdir()
    for index in range(NUMBERS):
        number(digits, random).save(folder / f"numbers/{index:03}.png")
    (folder / "many").mkdir()
    for index in range(PICTURES):
        Image.fromarray(255 - digits[index % len(digits)]).save(folder / f"many/{index:05}.png")


def main() -> None:
    """Run all commands in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    predict = (*bench.MNISTCTL, "predict", "--model", "bundled")
    numbers = (*predict, "--numbers", "--numbers-model", "bundled-numbers")
    commands = {
        "`predict digit.png`": (*predict, "digit.png"),
        "`predict photo.jpg`, 12 megapixels": (*predict, "photo.jpg"),
        "`predict --numbers number.png`, 300×100 pixels": (*numbers, "numbers/000.png"),
        "`predict --numbers page.jpg`, 200 digits on 12 megapixels": (*numbers, "page.jpg"),
        f"`predict --numbers numbers --csv`, {NUMBERS} pictures": (
            *numbers,
            "numbers",
            "--csv",
            "--quiet",
        ),
        f"`predict many --csv`, {PICTURES:,} PNG files": (*predict, "many", "--csv", "--quiet"),
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        # In another process, because the peak memory of a child starts at its parent's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(write_pictures, Path(folder)).result()
        results = bench.measure_in_turns(commands, rounds=arguments.rounds)
    start, one_photo, one_number, one_page, many_numbers, many = (
        statistics.median(run.seconds for run in runs) for runs in results.values()
    )
    bench.write_section(
        "bench_pictures",
        "Predicting pictures",
        [
            "Each row is a whole process, from start to exit, with the bundled models.",
            "",
            *bench.process_table(results),
            "",
            f"The {PICTURES:,} PNG files are processed at {PICTURES / many:,.0f} per second, or at "
            f"{PICTURES / (many - start):,.0f} per second without the time of a single picture. The "
            f"photo takes {one_photo - start:.2f} s more than the small picture. With `--numbers`, "
            f"the page takes {one_page - one_number:.2f} s more than the small picture, and 300×100 "
            f"pixels are read at {NUMBERS / (many_numbers - one_number):.0f} pictures per second.",
            "",
            f"{arguments.rounds} rounds.",
        ],
    )


if __name__ == "__main__":
    main()
