"""Accuracy on realistic pictures, made from MNIST's test images."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import mnistctl
from mnistctl import datasets, images
from mnistctl.api.predict import PicturePredictor
from mnistctl.errors import BlankPictureError
from mnistctl.evaluation import number_scores
from mnistctl.models.predictor import predict_all
from mnistctl.types import Images
from tests.helpers import load_script
from tests.images import realistic

SEED = 2_026


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


@pytest.mark.mnist
@pytest.mark.parametrize(
    ("kind", "count", "least"),
    [
        pytest.param("spaced", 300, 0.95, marks=pytest.mark.slow),
        pytest.param("touching", 300, 0.75, marks=pytest.mark.slow),
        pytest.param("printed", 300, 0.85, marks=pytest.mark.slow),
        ("spaced", 20, 0.9),
        ("touching", 20, 0.6),
        ("printed", 20, 0.6),
    ],
)
def test_numbers_in_pictures_are_read(kind: str, count: int, least: float) -> None:
    script = load_script("measure_numbers")
    samples = script.make(getattr(script, kind), datasets.load("mnist", "test"), count)

    texts = script.read(samples, "bundled-numbers")

    right = [text == sample.text for text, sample in zip(texts, samples, strict=True)]
    print(f"{np.mean(right):.1%} of {count} numbers, {kind}")
    assert np.mean(right) >= least


@pytest.mark.mnist
@pytest.mark.slow
def test_pages_of_many_digits_are_read_in_order() -> None:
    script = load_script("measure_numbers")
    samples = script.make(script.page, datasets.load("mnist", "test"), 10)

    texts = script.read(samples, "bundled-numbers")

    pairs = Counter(zip((sample.text for sample in samples), texts, strict=True))
    accuracy = number_scores.score(pairs).digit_accuracy
    print(f"{accuracy:.2%} of the digits of {len(samples)} pages")
    assert accuracy is not None
    assert accuracy >= 0.98
