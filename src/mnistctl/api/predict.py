"""The `predict` command: classify the digits in pictures."""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl.api import models
from mnistctl.api.digit_finder import BATCH_SIZE, DecodedPicture, DigitFinder, FinderPool, PictureDigits
from mnistctl.api.picture_requests import Request, label_in_name, list_requests
from mnistctl.errors import LostProcessError, UsageError
from mnistctl.images.segment import Box, Digit
from mnistctl.models import formats
from mnistctl.models.predictor import (
    SEVERAL_DIGITS,
    Prediction,
    Predictor,
    are_digits,
    interpret,
    predict_all,
)
from mnistctl.run import progress
from mnistctl.types import Floats, Images, Result

REJECTED = "?"  # stands for a rejected digit in the text of a picture

_MAX_KEPT_BATCH = 8  # pictures, if their decoded pixels are kept: up to 17 MB each


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


@dataclass(frozen=True)
class PictureResult(Result):
    """The digits of one picture with their predictions, or the reason why it cannot be read."""

    file: str  # the picture's path; "FILE#page=2" for a page of a TIFF or PDF; "-" for standard input
    digits: tuple[Detection, ...] = ()  # in reading order; without --split, a single one
    is_split: bool = False  # whether the picture was split into digits; not in the JSON
    error: str | None = None  # why the picture cannot be read
    truth: str | None = None  # the class in the file's or folder's name; only with --labels-from-names
    place: Path = Path()  # the picture's path below the folder that all share; not in the JSON
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
    jobs: int = 1,
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
        jobs: number of processes that decode pictures. More than 1 pays for some hundred pictures. As
            always with `multiprocessing`, a script must then call this below `if __name__ ==
            "__main__"`.
        arch: FILE.py:CLASS, for a model of a custom architecture.

    Raises:
        UsageError: `top` or `jobs` is below 1, `threshold` is not in [0, 1], or both `threshold` and
            `reject=False` are given.
        ModelError: the model is not found, or cannot be opened.
        LostProcessError: a process that reads pictures has ended.
    """
    predictor = open_model(model, top=top, threshold=threshold, reject=reject, split=split, arch=arch)
    if isinstance(pictures, str | Path):
        pictures = [pictures]
    return list(
        predictor.read(pictures, recursive=recursive, labels_from_names=labels_from_names, jobs=jobs)
    )


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
    top = min(top, len(predictor.metadata.class_names))
    return PicturePredictor(predictor, path, arch, top, threshold, reject, split)


@dataclass(frozen=True)
class PicturePredictor:
    """An open model that classifies pictures one by one. See `open_model`."""

    predictor: Predictor
    path: Path  # of the model
    arch: str | None
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
        jobs: int = 1,
        skip: Collection[str] = (),
    ) -> Iterator[PictureResult]:
        """Yield a result for each picture, in the given order.

        Args:
            pictures: see `predict`.
            recursive: see `predict`.
            labels_from_names: see `predict`.
            keep_pictures: whether each result keeps its decoded picture, up to 17 MB, for `annotate`.
            jobs: see `predict`.
            skip: files to leave out, as in `PictureResult.file`.

        Raises:
            UsageError: `jobs` is below 1.
            MissingExtraError: the only picture needs an optional package.
            LostProcessError: a process that reads pictures has ended.
        """
        if jobs < 1:
            raise UsageError(f"--jobs {jobs}: expected 1 or more")
        requests = list_requests(pictures, recursive=recursive, skip=skip)
        finder = DigitFinder(self.predictor if self.split else None, self.threshold, keep_pictures)
        model = self.path if self.split else None
        pool = FinderPool(finder, jobs=min(jobs, len(requests) or 1), model=model, arch=self.arch)
        return self._read(
            requests,
            pool,
            max_batch=_MAX_KEPT_BATCH if keep_pictures else BATCH_SIZE,
            labels_from_names=labels_from_names,
        )

    def _read(
        self, requests: Sequence[Request], pool: FinderPool, *, max_batch: int, labels_from_names: bool
    ) -> Iterator[PictureResult]:
        done, size = 0, 1
        with pool:
            futures = pool.submit(requests[:size])
            while done < len(requests):
                try:
                    batch = [picture for future in futures for picture in future.result()]
                except BrokenExecutor as error:
                    raise LostProcessError(
                        "a process that reads pictures has ended, perhaps for lack of memory; "
                        "use fewer --jobs"
                    ) from error
                done += len(batch)
                size = min(2 * size, max_batch)
                # The next batch is decoded while the model classifies this one.
                futures = pool.submit(requests[done : done + size])
                yield from self._classify(batch, labels_from_names=labels_from_names)
                progress.current().advance("reading", done, len(requests))

    def _classify(
        self, pictures: Sequence[PictureDigits], *, labels_from_names: bool
    ) -> Iterator[PictureResult]:
        class_names = self.predictor.metadata.class_names
        detections = self._detections([digit for picture in pictures for digit in picture.digits])
        for picture in pictures:
            digits = tuple(islice(detections, len(picture.digits)))
            if picture.are_several and are_digits(class_names):
                digits = tuple(map(_suggest_split, digits))
            file = picture.request.file
            yield PictureResult(
                file,
                digits,
                is_split=self.split,
                error=picture.error,
                truth=label_in_name(Path(file), class_names) if labels_from_names else None,
                place=picture.request.place,
                decoded=picture.decoded,
            )

    def _detections(self, digits: Sequence[Digit]) -> Iterator[Detection]:
        if not digits:
            return
        stacked = np.stack([digit.image for digit in digits])
        outputs = predict_all(self.predictor, stacked, batch_size=BATCH_SIZE)
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


def _suggest_split(digit: Detection) -> Detection:
    """A rejected digit whose reason is that the picture shows several."""
    if not digit.prediction.rejected:
        return digit
    return replace(digit, prediction=replace(digit.prediction, reason=SEVERAL_DIGITS))
