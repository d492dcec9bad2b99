"""Measure how well `predict --numbers` reads pictures that are composed of MNIST's test images.

    python scripts/measure_numbers.py [MODEL] [--each 2000] [--pages 60] [--without 400]

Each kind of picture has fixed ranges and a fixed seed, and none of the pictures is trained on. Pictures
without digits are those of `scripts/measure_rejection.py`, except pairs and pieces of digits. Requires
`pip install --group measure`, and MNIST in the data folder.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

import mnistctl
from mnistctl import datasets
from mnistctl.evaluation import number_scores
from mnistctl.pages import camera, paper

SEED = 2_026
DIGITS_IN_A_ROW = (2, 8)
ROW_HEIGHT = 64  # pixels: height of a digit in a row
GAP = (0.1, 0.5)  # share of that height, between spaced digits
TOUCHING = (1, 8)  # pixels of ink that touching digits share
DIGITS_ON_A_PAGE = (50, 200)
MAX_TURN = 5.0  # degrees, of a page
_LETTERS = "FHKNRTVWfhknrw"  # no digit looks like them
_FONT = cv2.FONT_HERSHEY_SCRIPT_SIMPLEX

Ink = npt.NDArray[np.float32]  # 0 = paper, 1 = ink
Random = np.random.Generator


class Sample(NamedTuple):
    """A picture and what is written on it."""

    picture: npt.NDArray[np.uint8]  # 255 = paper
    text: str  # the digits in reading order, lines separated by line breaks; empty: no digits


def spaced(digits: datasets.Split, random: Random) -> Sample:
    """Black digits in a row on white paper, with gaps between them."""
    return _as_picture(*_row(digits, random, touching=False))


def touching(digits: datasets.Split, random: Random) -> Sample:
    """Black digits in a row on white paper, each touching the next one."""
    return _as_picture(*_row(digits, random, touching=True))


def printed(digits: datasets.Split, random: Random) -> Sample:
    """Digits in a row on printed paper, photographed, with letters before or after them."""
    ink, text = _row(digits, random, touching=False)
    letters = np.zeros(ink.shape, dtype=np.uint8)
    for left in (4, ink.shape[1] - 40):
        if random.random() < 0.5:
            letter, place = str(random.choice(list(_LETTERS))), (left, round(1.3 * ROW_HEIGHT))
            cv2.putText(letters, letter, place, _FONT, 1.6, 255, 3, cv2.LINE_AA)
    ink = np.maximum(ink, letters.astype(np.float32) / 255)
    scale = random.uniform(0.4, 1.0)
    ink = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    photograph = camera.photograph(ink, paper.print_paper(ink.shape, random), random)
    return Sample(255 - photograph, text)


def page(digits: datasets.Split, random: Random) -> Sample:
    """A page of several lines of digits, turned by a few degrees."""
    count = int(random.integers(DIGITS_ON_A_PAGE[0], DIGITS_ON_A_PAGE[1] + 1))
    columns = int(random.integers(8, 16))
    height = 36
    rows = -(-count // columns)
    ink = np.zeros((round((1.6 * rows + 4) * height), round((columns + 6) * height)), dtype=np.float32)
    lines = []
    for line in range(rows):
        labels = []
        for column in range(min(columns, count - line * columns)):
            row = random.integers(len(digits.images))
            digit = _scaled(digits.images[row], height * random.uniform(0.85, 1.1))
            top = round((1.6 * line + 2.5) * height - len(digit) / 2 + random.uniform(-3, 3))
            left = round((column + 3) * height + random.uniform(-3, 3))
            area = ink[top : top + len(digit), left : left + digit.shape[1]]
            np.maximum(area, digit, out=area)
            labels.append(str(digits.labels[row]))
        lines.append("".join(labels))
    centre = (ink.shape[1] / 2, ink.shape[0] / 2)
    turn = cv2.getRotationMatrix2D(centre, float(random.uniform(-MAX_TURN, MAX_TURN)), 1.0)
    turned = cv2.warpAffine(ink, turn, ink.shape[::-1], flags=cv2.INTER_CUBIC)
    return _as_picture(turned, "\n".join(lines))


Kind = Callable[[datasets.Split, Random], Sample]
KINDS: dict[str, Kind] = {
    "spaced": spaced,
    "touching": touching,
    "on printed paper, between letters": printed,
}


def make(
    kind: Callable[[datasets.Split, Random], Sample], digits: datasets.Split, count: int
) -> list[Sample]:
    """Samples of a kind; the same for every call."""
    return [kind(digits, np.random.default_rng((SEED, number))) for number in range(count)]


def without_digits(digits: datasets.Split, each: int) -> Iterator[tuple[str, list[Sample]]]:
    """Pictures without digits, by the name of their kind."""
    import measure_rejection  # needs the packages of the group `measure`

    for name, draw in measure_rejection.kinds(digits).items():
        if "digits" not in name:
            random = np.random.default_rng(1)
            pictures = (np.asarray(draw(random).convert("L")) for _ in range(each))
            yield name, [Sample(picture, "") for picture in pictures]


def _row(digits: datasets.Split, random: Random, *, touching: bool) -> tuple[Ink, str]:
    """Digits in a row, and their labels."""
    count = random.integers(DIGITS_IN_A_ROW[0], DIGITS_IN_A_ROW[1] + 1)
    rows = random.integers(len(digits.images), size=count)
    field = np.zeros((2 * ROW_HEIGHT, 2 * ROW_HEIGHT * (len(rows) + 2)), dtype=np.float32)
    right = ROW_HEIGHT
    for number, row in enumerate(rows):
        digit = _scaled(digits.images[row], ROW_HEIGHT * random.uniform(0.9, 1.1))
        top = round(ROW_HEIGHT - len(digit) / 2 + random.uniform(-4, 4))
        if touching and number:
            overlap = random.integers(*TOUCHING)
            while right > 20 and _common_ink(field, digit, top, right) < overlap:
                right -= 1
        area = field[top : top + len(digit), right : right + digit.shape[1]]
        np.maximum(area, digit, out=area)
        right += digit.shape[1] + (0 if touching else round(ROW_HEIGHT * random.uniform(*GAP)))
    return field[:, : right + ROW_HEIGHT].copy(), "".join(str(label) for label in digits.labels[rows])


def _scaled(image: npt.NDArray[np.uint8], height: float) -> Ink:
    """An image's ink, scaled so that 20 pixels become `height` pixels."""
    rows, columns = np.nonzero(image)
    box = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = height / 20
    resized = cv2.resize(box, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    ink: Ink = np.clip(resized.astype(np.float32) / 255, 0, 1)
    return ink


def _common_ink(field: Ink, digit: Ink, top: int, left: int) -> int:
    area = field[top : top + len(digit), left : left + digit.shape[1]]
    return int(((area > 0.3) & (digit > 0.3)).sum())


def _as_picture(ink: Ink, text: str) -> Sample:
    return Sample(np.rint(255 * (1 - np.clip(ink, 0, 1))).astype(np.uint8), text)


def read(samples: Sequence[Sample], model: str) -> list[str]:
    """What `predict --numbers` reads on each picture, without the spaces between words."""
    with tempfile.TemporaryDirectory() as folder:
        for number, sample in enumerate(samples):
            cv2.imwrite(str(Path(folder) / f"{number:06}.png"), sample.picture)
        results = mnistctl.predict(folder, model="bundled", numbers=True, numbers_model=model)
    return [result.text.replace(" ", "") for result in results]


def measure(model: str, *, each: int, pages: int, without: int) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    digits = datasets.load("mnist", "test")
    yield "| pictures of test digits | pictures | whole string right | digits right and in order |"
    yield "| --- | --- | --- | --- |"
    for name, kind, count in (
        *((name, kind, each) for name, kind in KINDS.items()),
        ("pages", page, pages),
    ):
        samples = make(kind, digits, count)
        pairs = Counter(zip((sample.text for sample in samples), read(samples, model), strict=True))
        scores = number_scores.score(pairs)
        assert scores.string_accuracy is not None  # there are pictures
        assert scores.digit_accuracy is not None
        yield (
            f"| {name} | {count:,} | {100 * scores.string_accuracy:.1f}% "
            f"| {100 * scores.digit_accuracy:.2f}% |"
        )
    yield from (
        "",
        "| pictures without digits | pictures | with a digit reported |",
        "| --- | --- | --- |",
    )
    reported = []
    for name, samples in without_digits(digits, without):
        shares = [bool(text) for text in read(samples, model)]
        reported += shares
        yield f"| {name} | {len(samples):,} | {100 * float(np.mean(shares)):.1f}% |"
    yield f"| **all of these** | {len(reported):,} | {100 * float(np.mean(reported)):.1f}% |"


def main() -> None:
    """Measure one model and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="bundled-numbers", help="a model for numbers")
    parser.add_argument("--each", type=int, default=2_000, help="pictures of each kind of string")
    parser.add_argument("--pages", type=int, default=60, help="pages of many digits")
    parser.add_argument("--without", type=int, default=400, help="pictures of each kind without digits")
    arguments = parser.parse_args()
    options = vars(arguments)
    for line in measure(options.pop("model"), **options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
