"""`predict`: pictures read by a model."""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl import images
from mnistctl.api import models
from mnistctl.errors import BlankPictureError, PictureError, UsageError
from mnistctl.images.segment import Box, Digit, Scores
from mnistctl.models import formats
from mnistctl.models.predictor import Prediction, Predictor, interpret, predict_all
from mnistctl.run import progress
from mnistctl.types import IMAGE_SIZE, Images

UNREADABLE = "?"  # in a number: something that is no digit

_MOST_AT_ONCE = 128  # pictures; the first are fewer, so that answers come soon
_WORKERS = min(4, os.cpu_count() or 1)
_LARGE_FILE = 50_000  # bytes: reading one is decoding and filtering, which threads do side by side
_LEAST_LIKELY = 1e-6  # of a digit: how certain a model may be that something is none


@dataclass(frozen=True)
class Detection:
    """One digit of a picture, and what a model reads in it."""

    box: Box  # in the picture's own pixels, upright
    line: int  # counted from 0, from above
    image: Images = field(repr=False)  # uint8 (28, 28): what the model saw
    prediction: Prediction

    def to_json(self) -> dict[str, Any]:
        """The box (left, top, width, height), and what `Prediction` has."""
        return {"box": list(self.box)} | self.prediction.to_json()


@dataclass(frozen=True)
class PictureResult:
    """What a model reads in one picture, or why it could not be read."""

    file: str
    source: Path | bytes = field(repr=False)
    digits: tuple[Detection, ...] = ()  # one; with `split` as many as there are, in reading order
    is_split: bool = False
    error: str | None = None
    truth: str | None = None  # the class that the file's or the folder's name says, if asked for

    @property
    def prediction(self) -> Prediction | None:
        """Of the only digit, or of the first; None: there is none."""
        return self.digits[0].prediction if self.digits else None

    @property
    def text(self) -> str:
        """The labels in reading order, lines one below the other; ? for what is no digit."""
        lines: dict[int, str] = {}
        for digit in self.digits:
            label = UNREADABLE if digit.prediction.rejected else digit.prediction.label
            lines[digit.line] = lines.get(digit.line, "") + label
        return "\n".join(lines.values())

    @property
    def is_right(self) -> bool:
        """Whether what was read is what the name says; a refusal is not."""
        return self.truth is not None and self.error is None and self.text == self.truth

    def to_json(self) -> dict[str, Any]:
        """The file, and what `Detection` has, of one digit or of several; or the file and the error."""
        values: dict[str, Any] = {"file": self.file}
        if self.truth is not None:
            values["truth"] = self.truth
        if self.error is not None:
            return values | {"error": self.error}
        if self.is_split:
            digits = [{"line": digit.line} | digit.to_json() for digit in self.digits]
            return values | {"text": self.text, "digits": digits}
        return values | self.digits[0].to_json()


def predict(
    pictures: str | Path | Sequence[str | Path],
    *,
    model: str | Path | None = None,
    top: int = 3,
    threshold: float | None = None,
    reject: bool = True,
    split: bool = False,
    recursive: bool = False,
    labels_from_names: bool = False,
    arch: str | None = None,
) -> list[PictureResult]:
    """Read pictures of digits; one that cannot be read does not stop the others.

    Args:
        pictures: a file, a folder of them, a pattern, or "-" for a picture on standard input; or
            several.
        model: see `models.find`.
        top: how many of the likeliest classes to give, 1 or more.
        threshold: in [0, 1]: a picture whose `familiarity` is below is refused; None: the model's own.
        reject: whether pictures that are blank or look like nothing it was taught are refused at all;
            one that is still has its best guess.
        split: whether a picture may hold several digits.
        recursive: whether folders in a folder are looked into.
        labels_from_names: whether names say what is right: see `label_in_name`.
        arch: FILE.py:CLASS, for a model of a person's own class.

    Raises:
        UsageError: `top` is below 1, or `threshold` not in [0, 1], or given with `reject` off.
        ModelError: no such model, or it cannot be opened.
    """
    reader = open_model(model, top=top, threshold=threshold, reject=reject, split=split, arch=arch)
    if isinstance(pictures, str | Path):
        pictures = [pictures]
    return list(reader.read(pictures, recursive=recursive, labels_from_names=labels_from_names))


def open_model(
    model: str | Path | None = None,
    *,
    top: int = 3,
    threshold: float | None = None,
    reject: bool = True,
    split: bool = False,
    arch: str | None = None,
) -> "PicturePredictor":
    """A model, ready to read pictures one by one; for the arguments and errors see `predict`."""
    if top < 1:
        raise UsageError(f"--top {top}: expected 1 or more")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold}: expected a value between 0 and 1")
    if threshold is not None and not reject:
        raise UsageError("--threshold and --no-reject: choose one")
    path = models.find(model, prefer=formats.ONNX)
    predictor = models.open_predictor(path, arch=arch)
    if threshold is None:
        threshold = predictor.metadata.threshold
    return PicturePredictor(predictor, top=top, threshold=threshold, reject=reject, split=split)


@dataclass(frozen=True)
class PicturePredictor:
    """Reads pictures one by one with an open model; results are not kept."""

    predictor: Predictor
    top: int
    threshold: float | None
    reject: bool
    split: bool

    def read(
        self,
        pictures: Sequence[str | Path],
        *,
        recursive: bool = False,
        labels_from_names: bool = False,
    ) -> Iterator[PictureResult]:
        """What is read in each picture, in the order given; for the arguments see `predict`."""
        waiting = [reading for name in pictures for reading in _named(name, recursive)]
        for reading in self._read(waiting):
            yield self._with_truth(reading) if labels_from_names else reading

    def read_files(self, contents: Sequence[bytes]) -> list[PictureResult]:
        """What is read in pictures that are in memory, each the bytes of a file; they are numbered."""
        return list(
            self._read([PictureResult(str(place), content) for place, content in enumerate(contents)])
        )

    def _read(self, waiting: Sequence[PictureResult]) -> Iterator[PictureResult]:
        done, count = 0, 1
        with ThreadPoolExecutor(_WORKERS) as pool:
            ahead = self._look_ahead(pool, waiting[:count])
            while done < len(waiting):
                looked = [seen for part in ahead for seen in part.result()]
                done += len(looked)
                count = min(2 * count, _MOST_AT_ONCE)
                ahead = self._look_ahead(pool, waiting[done : done + count])  # while the model reads
                yield from self._predict(looked)
                progress.current().advance("reading", done, len(waiting))

    def _look_ahead(
        self, pool: ThreadPoolExecutor, waiting: Sequence[PictureResult]
    ) -> list[Future[list[tuple[PictureResult, list[Digit]]]]]:
        """Look at pictures side by side; small ones in one thread, as others would only hinder it."""
        is_large = sum(map(_size, waiting)) > _LARGE_FILE * len(waiting)
        each = -(-len(waiting) // _WORKERS) if is_large else len(waiting)
        parts = [waiting[start : start + each] for start in range(0, len(waiting), each or 1)]
        return [pool.submit(lambda part: [self._look(one) for one in part], part) for part in parts]

    def _look(self, reading: PictureResult) -> tuple[PictureResult, list[Digit]]:
        """The digits that are found in a picture."""
        if reading.error is not None:
            return reading, []
        reading = replace(reading, is_split=self.split)
        try:
            if self.split:
                digits = images.find_digits(reading.source, name=reading.file, score=self._score)
            else:
                digits = [images.find_digit(reading.source, name=reading.file)]
        except BlankPictureError:
            blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
            digits = [] if self.split else [Digit(Box(0, 0, 0, 0), blank, 0)]
        except PictureError as error:
            return replace(reading, error=str(error)), []
        return reading, digits

    def _score(self, found: Images) -> Scores:
        """The log-likelihood that each of N images is one whole digit."""
        outputs = predict_all(self.predictor, found, batch_size=_MOST_AT_ONCE)
        likely = outputs.probabilities.max(axis=1)
        if self.threshold is not None:  # else `familiarity` is no measure
            likely = likely * outputs.familiarity
        likelihoods: Scores = np.log(np.maximum(likely, _LEAST_LIKELY))
        return likelihoods

    def _predict(self, looked: Sequence[tuple[PictureResult, list[Digit]]]) -> Iterator[PictureResult]:
        every = [digit.image for _, digits in looked for digit in digits]
        predictions: Iterator[Prediction] = iter(())
        if every:
            stacked = np.stack(every)
            predictions = iter(
                interpret(
                    stacked,
                    predict_all(self.predictor, stacked, batch_size=_MOST_AT_ONCE),
                    self.predictor.metadata.class_names,
                    top=self.top,
                    threshold=self.threshold,
                    reject=self.reject,
                )
            )
        for reading, digits in looked:
            found = (Detection(box, line, image, next(predictions)) for box, image, line in digits)
            yield replace(reading, digits=tuple(found))

    def _with_truth(self, reading: PictureResult) -> PictureResult:
        truth = label_in_name(Path(reading.file), self.predictor.metadata.class_names)
        if truth is None and reading.error is None:
            reading = replace(reading, digits=(), error=f"{reading.file}: its name has no label")
        return replace(reading, truth=truth)


def label_in_name(path: Path, class_names: Sequence[str]) -> str | None:
    """The class that a file's folder is named after, else that its name begins or ends with.

    In a file's name a class stands apart: "7_0001", "digit-7", or "7".
    """
    if path.parent.name in class_names:
        return path.parent.name
    words = "".join(mark if mark.isalnum() else " " for mark in path.stem).split()
    return next((word for word in (*words[:1], *words[-1:]) if word in class_names), None)


def _size(reading: PictureResult) -> int:
    """Of a picture's file, in bytes; 0 where there is none."""
    if isinstance(reading.source, bytes):
        return len(reading.source)
    try:
        return reading.source.stat().st_size
    except (OSError, ValueError):
        return 0


def _named(name: str | Path, recursive: bool) -> list[PictureResult]:
    """What is to be read for a name: a reading for each picture, without digits yet."""
    text = str(name)
    if not text:
        return [PictureResult(text, b"", error="a picture's name is empty")]
    if text == "-":
        return [PictureResult(text, sys.stdin.buffer.read())]
    try:
        return [PictureResult(str(path), path) for path in images.find_files(text, recursive=recursive)]
    except (PictureError, OSError, ValueError) as error:
        return [PictureResult(text, b"", error=str(error))]
