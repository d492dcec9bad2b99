"""What `predict` returns for a picture: its digits, and with `--numbers` its lines and words."""

import math
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from mnistctl.api.digit_finder import DecodedPicture
from mnistctl.images.digit import Box
from mnistctl.models.predictor import Prediction
from mnistctl.types import Floats, Images, Result

REJECTED = "?"  # stands for a rejected digit in the text of a picture


@dataclass(frozen=True)
class Detection(Result):
    """One digit of a picture, and its prediction."""

    box: Box  # left, top, width and height, in pixels of the upright picture
    line: int  # index of the digit's line, from the top; not in the JSON
    word: int  # index of the digit's word in its line
    image: Images = field(repr=False)  # uint8 (28, 28), the model's input; not in the JSON
    prediction: Prediction  # its fields are keys of their own
    probabilities: Floats = field(
        repr=False
    )  # (classes,), in the order of the classes; not in the JSON

    def to_json(self) -> dict[str, Any]:
        """The box and the fields of the prediction."""
        return {"box": list(self.box)} | self.prediction.to_json()


@dataclass(frozen=True)
class Line(Result):
    """A line of digits in a picture."""

    digits: tuple[Detection, ...]  # from left to right, at least one

    @property
    def text(self) -> str:
        """The words, with a space between them."""
        return " ".join(self.words)

    @property
    def probability(self) -> float:
        """The product of the probabilities of all digits of the line, in [0, 1]."""
        return math.prod(digit.prediction.probability for digit in self.digits)

    @property
    def words(self) -> tuple[str, ...]:
        """The labels of the digits between wide gaps."""
        return tuple(
            "".join(
                REJECTED if digit.prediction.rejected else digit.prediction.label for digit in digits
            )
            for _, digits in groupby(self.digits, key=lambda digit: digit.word)
        )

    def to_json(self) -> dict[str, Any]:
        """The text, its probability, the words and the digits."""
        return {
            "text": self.text,
            "probability": self.probability,
            "words": list(self.words),
            "digits": [{"word": digit.word} | digit.to_json() for digit in self.digits],
        }


@dataclass(frozen=True)
class PictureResult(Result):
    """The digits of one picture with their predictions, or the reason why it cannot be read."""

    file: str  # the picture's path; "FILE#page=2" for a page of a TIFF or PDF; "-" for standard input
    digits: tuple[Detection, ...] = ()  # in reading order; without --numbers, a single one
    has_numbers: bool = False  # whether the picture was read as numbers; not in the JSON
    error: str | None = None  # why the picture cannot be read
    truth: str | None = None  # the true label; only with --labels or --labels-from-names
    place: Path = Path()  # the picture's path below the folder that all share; not in the JSON
    decoded: DecodedPicture | None = field(default=None, repr=False)  # not in the JSON

    @property
    def prediction(self) -> Prediction | None:
        """The prediction for the first digit; None: the picture has no digits."""
        return self.digits[0].prediction if self.digits else None

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of digits, from top to bottom."""
        return tuple(
            Line(tuple(digits)) for _, digits in groupby(self.digits, key=lambda digit: digit.line)
        )

    @property
    def text(self) -> str:
        """The text of each line, with a line break between lines; ? for a rejected digit."""
        return "\n".join(line.text for line in self.lines)

    @property
    def probability(self) -> float | None:
        """The product of the probabilities of all digits, in [0, 1]; None: there are no digits."""
        return math.prod(line.probability for line in self.lines) if self.digits else None

    def to_json(self) -> dict[str, Any]:
        """The file and the fields of its digit; with --numbers the text and the lines; or the error."""
        values: dict[str, Any] = {"file": self.file}
        if self.truth is not None:
            values["truth"] = self.truth
        if self.error is not None:
            return values | {"error": self.error}
        if self.has_numbers:
            lines = [line.to_json() for line in self.lines]
            return values | {"text": self.text, "probability": self.probability, "lines": lines}
        return values | self.digits[0].to_json()
