"""Accuracy on realistic pictures, made from MNIST's test images."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import mnistctl
from mnistctl import datasets, images
from mnistctl.api.predict import PicturePredictor
from mnistctl.errors import BlankPictureError
from mnistctl.models.predictor import predict_all
from mnistctl.types import Images
from tests.images import realistic

SEED = 2_026
DIGITS_IN_A_ROW = (2, 8)
ROW_HEIGHT = 64  # pixels: height of a digit in a row
GAP = (0.1, 0.5)  # share of that height, between spaced digits
TOUCHING = (1, 8)  # pixels of ink that touching digits share

Rows = list[tuple[npt.NDArray[np.uint8], str]]


@pytest.fixture(scope="module")
def predictor() -> PicturePredictor:
    return mnistctl.open_model("bundled")


def accepted_and_right(predictor: PicturePredictor, kind: str, count: int) -> npt.NDArray[np.bool_]:
    """Which of `count` pictures of a kind are classified correctly and not rejected, (count,)."""
    split = datasets.load("mnist", "test")
    number = list(realistic.KINDS).index(kind)
    rows = np.random.default_rng((SEED, number)).integers(len(split.images), size=count)

    def read(index: int) -> Images:
        content = realistic.make(kind, split.images[rows[index]], seed=(SEED, number, index))
        try:
            return images.read(content, name=f"{kind} {index}")
        except BlankPictureError:
            return np.zeros((28, 28), dtype=np.uint8)

    with ThreadPoolExecutor(2) as pool:
        stacked = np.stack(list(pool.map(read, range(count))))
    assert predictor.predictor is not None
    outputs = predict_all(predictor.predictor, stacked, batch_size=100)
    assert predictor.threshold is not None
    right = outputs.logits.argmax(axis=1) == split.labels[rows]
    accepted: npt.NDArray[np.bool_] = right & (outputs.familiarity >= predictor.threshold)
    return accepted


@pytest.mark.slow
@pytest.mark.mnist
def test_97_percent_of_2000_realistic_pictures_are_classified_correctly(
    predictor: PicturePredictor,
) -> None:
    right = {kind: accepted_and_right(predictor, kind, 100) for kind in realistic.KINDS}

    shares = {kind: float(is_right.mean()) for kind, is_right in right.items()}
    print(f"{np.mean(list(shares.values())):.2%} of {100 * len(shares):,} pictures", shares)
    assert np.mean(list(shares.values())) >= 0.97
    assert min(shares.values()) >= 0.93, shares


@pytest.mark.mnist
def test_realistic_pictures_of_every_kind_are_classified_correctly(predictor: PicturePredictor) -> None:
    right = {kind: accepted_and_right(predictor, kind, 6) for kind in realistic.KINDS}

    assert np.mean(list(right.values())) >= 0.95, right
    assert all(is_right.any() for is_right in right.values()), right


@pytest.mark.slow
@pytest.mark.mnist
def test_clean_drawings_of_mnist_images_give_those_images(predictor: PicturePredictor) -> None:
    split = datasets.load("mnist", "test")
    originals = split.images[np.random.default_rng(SEED).permutation(len(split.images))[:1_000]]

    def read(digit: Images) -> Images:
        large = Image.fromarray(255 - digit).resize((280, 280), Image.Resampling.BICUBIC)
        picture = Image.new("L", (500, 400), 255)
        picture.paste(large, (97, 41))
        return images.read(realistic.saved(picture, "PNG", compress_level=1), name="picture")

    fitted = np.stack([read(digit) for digit in originals])

    difference = np.abs(fitted.astype(int) - originals).mean()
    assert predictor.predictor is not None
    labels = [
        predict_all(predictor.predictor, batch, batch_size=100).logits.argmax(axis=1)
        for batch in (fitted, originals)
    ]
    same = float((labels[0] == labels[1]).mean())
    print(f"mean absolute difference {difference:.2f} of 255; {same:.2%} of the labels unchanged")
    assert difference <= 5
    assert same >= 0.995


def rows_of_digits(count: int, *, touching: bool) -> Rows:
    """Numbers of 2 to 8 digits in a row, black on white, with their true text."""
    split = datasets.load("mnist", "test")
    random = np.random.default_rng((SEED, touching))
    numbers = []
    for _ in range(count):
        rows = random.integers(
            len(split.images), size=random.integers(DIGITS_IN_A_ROW[0], DIGITS_IN_A_ROW[1] + 1)
        )
        field = np.zeros((2 * ROW_HEIGHT, 2 * ROW_HEIGHT * (len(rows) + 1)), dtype=np.float32)
        right = 20
        for number, row in enumerate(rows):
            digit = scaled_ink(split.images[row], ROW_HEIGHT * random.uniform(0.9, 1.1))
            top = round(ROW_HEIGHT - len(digit) / 2 + random.uniform(-4, 4))
            if touching and number:
                overlap = random.integers(*TOUCHING)
                while right > 20 and common_ink(field, digit, top, right) < overlap:
                    right -= 1
            area = field[top : top + len(digit), right : right + digit.shape[1]]
            np.maximum(area, digit, out=area)
            right += digit.shape[1] + (0 if touching else round(ROW_HEIGHT * random.uniform(*GAP)))
        picture = np.rint(255 * (1 - field[:, : right + 20])).astype(np.uint8)
        numbers.append((picture, "".join(str(label) for label in split.labels[rows])))
    return numbers


def scaled_ink(image: Images, height: float) -> npt.NDArray[np.float32]:
    """An image's ink, scaled so that 20 pixels become `height` pixels."""
    rows, columns = np.nonzero(image)
    box = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = height / 20
    resized = cv2.resize(box, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    ink: npt.NDArray[np.float32] = resized.astype(np.float32) / 255
    return ink


def common_ink(
    field: npt.NDArray[np.float32], digit: npt.NDArray[np.float32], top: int, left: int
) -> int:
    area = field[top : top + len(digit), left : left + digit.shape[1]]
    return int(((area > 0.3) & (digit > 0.3)).sum())


@pytest.mark.mnist
@pytest.mark.parametrize(
    ("touching", "count", "least"),
    [
        pytest.param(False, 300, 0.95, marks=pytest.mark.slow, id="spaced"),
        pytest.param(True, 300, 0.75, marks=pytest.mark.slow, id="touching"),
        pytest.param(False, 20, 0.9, id="a few spaced"),
        pytest.param(True, 20, 0.6, id="a few touching"),
    ],
)
def test_numbers_in_pictures_are_read(tmp_path: Path, touching: bool, count: int, least: float) -> None:
    numbers = rows_of_digits(count, touching=touching)
    for index, (picture, _) in enumerate(numbers):
        Image.fromarray(picture).save(tmp_path / f"{index:03}.png")

    results = mnistctl.predict(tmp_path, model="bundled", numbers=True, numbers_model="bundled-numbers")

    right = [result.text == text for result, (_, text) in zip(results, numbers, strict=True)]
    print(f"{np.mean(right):.1%} of {count} numbers, {'touching' if touching else 'spaced'}")
    assert np.mean(right) >= least
