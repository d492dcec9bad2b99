"""The `predict` command: classify the digits in pictures."""

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mnistctl import images
from mnistctl.api import models
from mnistctl.errors import BlankPictureError, PictureError, UsageError
from mnistctl.images import decode
from mnistctl.images.decode import Grey, Picture
from mnistctl.images.segment import Box, Digit, Scores
from mnistctl.models import formats
from mnistctl.models.predictor import Prediction, Predictor, interpret, predict_all
from mnistctl.run import progress
from mnistctl.types import IMAGE_SIZE, Floats, Images, Result

REJECTED = "?"  # stands for a rejected digit in the text of a picture

_MAX_BATCH = 128  # pictures; the first batches are smaller, so that the first results come soon
_MAX_KEPT_BATCH = 8  # pictures, if their decoded pixels are kept: up to 17 MB each
_THREADS = min(4, os.cpu_count() or 1)
_LARGE_FILE = 50_000  # bytes: larger files are decoded in parallel; for smaller ones threads do not pay
_MIN_LIKELIHOOD = 1e-6  # lower limit of the likelihood that a piece of ink is a digit


@dataclass(frozen=True)
class Detection(Result):
    """One digit of a picture, and its prediction."""

    box: Box  # left, top, width and height, in pixels of the upright picture
    line: int  # index of the digit's line, from the top; only with --split
    image: Images = field(repr=False)  # uint8 (28, 28), the model's input; not in the JSON
    prediction: Prediction  # its fields are keys of their own
    probabilities: Floats = field(
        repr=False
    )  # (classes,), in the order of the classes; not in the JSON

    def to_json(self) -> dict[str, Any]:
        """The box and the fields of the prediction."""
        return {"box": list(self.box)} | self.prediction.to_json()


class DecodedPicture(NamedTuple):
    """The pixels that a result was computed from."""

    picture: Picture
    ink: Grey | None  # see `images.find_ink`; None: the picture is blank


@dataclass(frozen=True)
class PictureResult(Result):
    """The digits of one picture with their predictions, or the reason why it cannot be read."""

    file: str  # the picture's path; "-" for standard input
    digits: tuple[Detection, ...] = ()  # in reading order; without --split, a single one
    is_split: bool = False  # whether the picture was split into digits; not in the JSON
    error: str | None = None  # why the picture cannot be read
    truth: str | None = None  # the class in the file's or folder's name; only with --labels-from-names
    decoded: DecodedPicture | None = field(default=None, repr=False)  # not in the JSON

    @property
    def prediction(self) -> Prediction | None:
        """The prediction for the first digit; None: the picture has no digits."""
        return self.digits[0].prediction if self.digits else None

    @property
    def text(self) -> str:
        """The labels in reading order, a line of text for each line; ? for a rejected digit."""
        lines: dict[int, str] = {}
        for digit in self.digits:
            label = REJECTED if digit.prediction.rejected else digit.prediction.label
            lines[digit.line] = lines.get(digit.line, "") + label
        return "\n".join(lines.values())

    def to_json(self) -> dict[str, Any]:
        """The file and the fields of its digit; with --split the text and all digits; or the error."""
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
    """Classify pictures of digits. A picture that cannot be read gives a result with an error.

    Args:
        pictures: one or more of: a file, a folder, a pattern, or "-" for a picture on standard input.
        model: see `models.find_model`.
        top: the number of most likely classes in each prediction, 1 or more.
        threshold: in [0, 1]: a digit whose `familiarity` is below it is rejected; None: the model's
            own threshold.
        reject: whether digits can be rejected, because they are blank or have a low `familiarity`. A
            rejected digit still has its most likely classes.
        split: whether to split a picture into several digits.
        recursive: whether to search a folder's sub-folders too.
        labels_from_names: whether to take true labels from names; see `label_in_name`.
        arch: FILE.py:CLASS, for a model of a custom architecture.

    Raises:
        UsageError: `top` is below 1, `threshold` is not in [0, 1], or both `threshold` and
            `reject=False` are given.
        ModelError: the model is not found, or cannot be opened.
    """
    predictor = open_model(model, top=top, threshold=threshold, reject=reject, split=split, arch=arch)
    if isinstance(pictures, str | Path):
        pictures = [pictures]
    return list(predictor.read(pictures, recursive=recursive, labels_from_names=labels_from_names))


def open_model(
    model: str | Path | None = None,
    *,
    top: int = 3,
    threshold: float | None = None,
    reject: bool = True,
    split: bool = False,
    arch: str | None = None,
) -> "PicturePredictor":
    """Open a model to classify pictures one by one. Arguments and errors are those of `predict`."""
    if top < 1:
        raise UsageError(f"--top {top}: expected 1 or more")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold}: expected a value between 0 and 1")
    if threshold is not None and not reject:
        raise UsageError("--threshold and --no-reject: choose one")
    path = models.find_model(model, prefer=formats.ONNX)
    predictor = models.open_predictor(path, arch=arch)
    if threshold is None:
        threshold = predictor.metadata.threshold
    return PicturePredictor(predictor, top=top, threshold=threshold, reject=reject, split=split)


class _Request(NamedTuple):
    """A picture to read, or the reason why there is none."""

    file: str
    source: Path | bytes
    error: str | None = None


class _PictureDigits(NamedTuple):
    """The digits of one picture before they are classified, or the reason why there are none."""

    file: str
    digits: Sequence[Digit]
    error: str | None = None
    decoded: DecodedPicture | None = None


@dataclass(frozen=True)
class PicturePredictor:
    """An open model that classifies pictures one by one. See `open_model`."""

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
        keep_pictures: bool = False,
    ) -> Iterator[PictureResult]:
        """Yield a result for each picture, in the given order.

        Args:
            pictures: see `predict`.
            recursive: see `predict`.
            labels_from_names: see `predict`.
            keep_pictures: whether each result keeps its decoded picture, up to 17 MB, for `annotate`.
        """
        requests = [request for name in pictures for request in _list_requests(name, recursive)]
        find = partial(self._find_digits, keep_picture=keep_pictures)
        max_batch = _MAX_KEPT_BATCH if keep_pictures else _MAX_BATCH
        done, size = 0, 1
        with ThreadPoolExecutor(_THREADS) as pool:
            futures = _submit(pool, find, requests[:size])
            while done < len(requests):
                batch = [picture for future in futures for picture in future.result()]
                done += len(batch)
                size = min(2 * size, max_batch)
                # The next batch is decoded while the model classifies this one.
                futures = _submit(pool, find, requests[done : done + size])
                yield from self._classify(batch, labels_from_names=labels_from_names)
                progress.current().advance("reading", done, len(requests))

    def _find_digits(self, request: _Request, *, keep_picture: bool) -> _PictureDigits:
        """Decode a picture and find its digits."""
        file, source, error = request
        if error is not None:
            return _PictureDigits(file, (), error)
        try:
            picture = decode.read(source, name=file)
        except PictureError as picture_error:
            return _PictureDigits(file, (), str(picture_error))
        try:
            ink = images.find_ink(picture, name=file)
        except BlankPictureError:
            ink = None
        decoded = DecodedPicture(picture, ink) if keep_picture else None
        return _PictureDigits(file, self._split(picture, ink), decoded=decoded)

    def _split(self, picture: Picture, ink: Grey | None) -> list[Digit]:
        if ink is None:
            blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
            return [] if self.split else [Digit(Box(0, 0, 0, 0), blank, 0)]
        if self.split:
            return images.find_digits(picture, ink, score=self._score)
        return [images.find_digit(picture, ink)]

    def _score(self, candidates: Images) -> Scores:
        """The log-likelihood that each of N images is one whole digit."""
        outputs = predict_all(self.predictor, candidates, batch_size=_MAX_BATCH)
        likelihoods = outputs.probabilities.max(axis=1)
        if self.threshold is not None:  # without a threshold `familiarity` has no meaning
            likelihoods = likelihoods * outputs.familiarity
        scores: Scores = np.log(np.maximum(likelihoods, _MIN_LIKELIHOOD))
        return scores

    def _classify(
        self, pictures: Sequence[_PictureDigits], *, labels_from_names: bool
    ) -> Iterator[PictureResult]:
        detections = self._detections([digit for picture in pictures for digit in picture.digits])
        for file, digits, error, decoded in pictures:
            picture_detections = tuple(islice(detections, len(digits)))
            truth = None
            if labels_from_names:
                truth = label_in_name(Path(file), self.predictor.metadata.class_names)
                if truth is None and error is None:
                    error = f"{file}: no label in the file's or folder's name"
            if error is not None:
                yield PictureResult(file, error=error, truth=truth)
            else:
                yield PictureResult(
                    file, picture_detections, is_split=self.split, truth=truth, decoded=decoded
                )

    def _detections(self, digits: Sequence[Digit]) -> Iterator[Detection]:
        if not digits:
            return
        stacked = np.stack([digit.image for digit in digits])
        outputs = predict_all(self.predictor, stacked, batch_size=_MAX_BATCH)
        predictions = interpret(
            stacked,
            outputs,
            self.predictor.metadata.class_names,
            top=self.top,
            threshold=self.threshold,
            reject=self.reject,
        )
        for (box, image, line), prediction, row in zip(
            digits, predictions, outputs.probabilities, strict=True
        ):
            yield Detection(box, line, image, prediction, row)


def label_in_name(path: Path, class_names: Sequence[str]) -> str | None:
    """The class in the name of a picture's folder, or at the start or end of the picture's own name.

    In a file's name, the class is a separate word: "7_0001", "digit-7", or "7".
    """
    if path.parent.name in class_names:
        return path.parent.name
    words = "".join(char if char.isalnum() else " " for char in path.stem).split()
    return next((word for word in (*words[:1], *words[-1:]) if word in class_names), None)


def _submit(
    pool: ThreadPoolExecutor,
    find: Callable[[_Request], _PictureDigits],
    requests: Sequence[_Request],
) -> list[Future[list[_PictureDigits]]]:
    """Process large pictures in several threads, small ones in one: more would only slow it down."""
    is_large = sum(map(_size_bytes, requests)) > _LARGE_FILE * len(requests)
    size = math.ceil(len(requests) / _THREADS) if is_large else len(requests)
    parts = [requests[start : start + size] for start in range(0, len(requests), size or 1)]
    return [pool.submit(lambda part: [find(request) for request in part], part) for part in parts]


def _size_bytes(request: _Request) -> int:
    """The size of a picture's file; 0 if it has none."""
    if isinstance(request.source, bytes):
        return len(request.source)
    try:
        return request.source.stat().st_size
    except (OSError, ValueError):
        return 0


def _list_requests(name: str | Path, recursive: bool) -> list[_Request]:
    """The pictures that a file, folder, pattern or "-" names."""
    text = str(name)
    if not text:
        return [_Request(text, b"", error="the picture's name is empty")]
    if text == "-":
        return [_Request(text, sys.stdin.buffer.read())]
    try:
        return [_Request(str(path), path) for path in images.find_files(text, recursive=recursive)]
    except (PictureError, OSError, ValueError) as error:
        return [_Request(text, b"", error=str(error))]
