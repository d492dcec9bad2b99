"""Parity of a model for numbers: whether the export finds the same digits as the PyTorch model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl.datasets import Split
from mnistctl.evaluation import detection
from mnistctl.exports import parity
from mnistctl.models.predictor import PageOutputs, PagePredictor
from mnistctl.pages import compose, glyphs
from mnistctl.pages.detect import Detections
from mnistctl.types import Floats, Images

BATCH_SIZES = (1, 7, 64)
SCORE_TOLERANCE = 1e-4
BOX_TOLERANCE = 0.01  # pixels
_SIZES = ((64, 192, 192), (128, 80, 4), (256, 512, 4))  # height, width and number of pages
_GLYPHS = 1_000  # images of the dataset whose lines are used
_MAX_OTHER_PAGES = 0.005  # share of pages: a score may be on the threshold
_MIN_SCORE = 0.1  # of a cell whose box is compared


@dataclass(frozen=True)
class PageParity:
    """Two models compared on the same pages; differences are the largest of all batch sizes."""

    dataset: str  # of whose images the pages are composed
    split: str  # of the dataset
    images: int  # number of pages
    batch_sizes: tuple[int, ...]  # at which the exported model ran
    limits: dict[str, float]  # metric -> the largest value allowed
    max_score_difference: float  # largest absolute difference of a score, where both have a maximum
    max_box_difference: float  # largest absolute difference of a box's side, in pixels
    digits: int  # that the PyTorch model finds
    exported_digits: int  # that the exported model finds, at the worst batch size
    disagreements: int  # pages on which the models find other digits
    is_finite: bool  # whether the exported model gives finite numbers only

    @property
    def holds(self) -> bool:
        """Whether every value is finite and no limit is exceeded."""
        return self.is_finite and not parity.exceeded(self, self.limits)

    def to_json(self) -> dict[str, Any]:
        """Plain values, and whether parity holds. Infinity and NaN become strings."""
        values = parity.plain(asdict(self))
        return values | {"batch_sizes": list(self.batch_sizes), "holds": self.holds}

    def require(self, path: str) -> None:
        """Check that parity holds.

        Raises:
            CheckFailedError: it does not.
        """
        if not self.holds:
            parity.fail(self, self.limits, path=path, inputs=f"{self.images:,} pages")


@dataclass(frozen=True)
class _Difference:
    """How an export differs from PyTorch on pages of one size, in batches of one size."""

    score: float
    box: float
    digits: int
    other_pages: int
    is_finite: bool


def compose_pages(split: Split) -> list[Images]:
    """Pages of the split's images, uint8 (N, H, W) for each size; the same for every call."""
    bank = glyphs.build_bank(split.images, split.labels, size=_GLYPHS, seed=0)
    return [
        np.stack(
            [
                compose.compose(bank, (0, height, number), height=height, width=width).image
                for number in range(count)
            ]
        )
        for height, width, count in _SIZES
    ]


def compare(reference: PagePredictor, exported: PagePredictor, split: Split) -> PageParity:
    """Run both models on pages of a split's images, the exported one at every batch size."""
    pages = compose_pages(split)
    threshold = reference.metadata.threshold or _MIN_SCORE
    expected = [_run(reference, part, max(BATCH_SIZES)) for part in pages]
    digits = [_count(detection.find_digits(outputs, threshold)) for outputs in expected]
    differences = [
        [
            _compare(outputs, _run(exported, part, batch_size), threshold)
            for part, outputs in zip(pages, expected, strict=True)
        ]
        for batch_size in BATCH_SIZES
    ]
    every = [difference for row in differences for difference in row]
    counts = [sum(difference.digits for difference in row) for row in differences]
    count = sum(map(len, pages))
    return PageParity(
        dataset=split.dataset,
        split=split.name,
        images=count,
        batch_sizes=BATCH_SIZES,
        limits={
            "max_score_difference": SCORE_TOLERANCE,
            "max_box_difference": BOX_TOLERANCE,
            "disagreements": max(1, int(_MAX_OTHER_PAGES * count)),
        },
        max_score_difference=max(difference.score for difference in every),
        max_box_difference=max(difference.box for difference in every),
        digits=sum(digits),
        exported_digits=max(counts, key=lambda number: abs(number - sum(digits))),
        disagreements=max(sum(difference.other_pages for difference in row) for row in differences),
        is_finite=all(difference.is_finite for difference in every),
    )


def _run(predictor: PagePredictor, pages: Images, batch_size: int) -> PageOutputs:
    starts = range(0, len(pages), batch_size)
    batches = [predictor(pages[start : start + batch_size]) for start in starts]
    return PageOutputs(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


def _compare(expected: PageOutputs, actual: PageOutputs, threshold: float) -> _Difference:
    # Rounding may move a maximum to a neighbour that is as likely: the digits found show whether it
    # matters.
    both = (expected.scores > 0) & (actual.scores > 0)
    likely = (expected.scores.max(axis=1) > _MIN_SCORE)[:, None]
    digits = [detection.find_digits(outputs, threshold) for outputs in (expected, actual)]
    return _Difference(
        score=_largest(actual.scores, expected.scores, both | ~np.isfinite(actual.scores)),
        box=_largest(actual.boxes, expected.boxes, np.broadcast_to(likely, expected.boxes.shape)),
        digits=_count(digits[1]),
        other_pages=sum(not detection.are_equal(*pair) for pair in zip(*digits, strict=True)),
        is_finite=all(np.isfinite(values).all() for values in actual),
    )


def _largest(actual: Floats, expected: Floats, where: npt.NDArray[np.bool_]) -> float:
    return float(parity.difference(actual[where], expected[where]).max(initial=0))


def _count(pages: Sequence[Detections]) -> int:
    return sum(len(digits.boxes) for digits in pages)
