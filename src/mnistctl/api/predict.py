"""The `predict` command: classify the digits in pictures, or read the numbers in them."""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnistctl.api import models, picture_requests
from mnistctl.api.digit_finder import (
    BATCH_SIZE,
    DigitFinder,
    FinderPool,
    NumberModelFiles,
    NumberModels,
    PictureDigits,
)
from mnistctl.api.picture_requests import Request
from mnistctl.api.picture_results import Detection, PictureResult
from mnistctl.errors import LostProcessError, UsageError
from mnistctl.images.digit import Digit
from mnistctl.models import formats
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import (
    SEVERAL_DIGITS,
    PagePredictor,
    Prediction,
    Predictor,
    are_digits,
    interpret,
    predict_all,
)
from mnistctl.run import progress
from mnistctl.settings.architectures import NUMBERS

if TYPE_CHECKING:
    from mnistctl.pages.read import FoundDigit

_MAX_SMALL_BATCH = 8  # pictures, if each result has up to 17 MB of pixels, or comes slowly


def predict(
    pictures: str | Path | Sequence[str | Path],
    *,
    model: str | Path | None = None,
    numbers: bool = False,
    numbers_model: str | Path | None = None,
    top: int = 3,
    threshold: float | None = None,
    reject: bool = True,
    recursive: bool = False,
    labels: Path | None = None,
    labels_from_names: bool = False,
    jobs: int = 1,
    arch: str | None = None,
) -> list[PictureResult]:
    """Classify pictures of digits. A picture that cannot be read gives a result with an error.

    Args:
        pictures: one or more of: a file, a folder, a pattern, or "-" for a picture on standard input.
        model: the classifier of single digits; see `models.find_model`. With `numbers` it reads every
            digit that the detector finds once more; None: then the bundled one.
        numbers: whether to read whole numbers: every digit of each picture, line by line.
        numbers_model: the detector that finds the digits of numbers; see `models.find_model`.
        top: the number of most likely classes in each prediction, 1 or more.
        threshold: in [0, 1]: a digit whose `familiarity` is below it is rejected; with `numbers`, what
            is below it is not a digit. None: the model's own threshold.
        reject: whether digits can be rejected, because they are blank or have a low `familiarity`. A
            rejected digit still has its most likely classes.
        recursive: whether to search a folder's sub-folders too.
        labels: a CSV file with true labels; see `picture_requests.read_labels`.
        labels_from_names: whether to take true labels from names; see `picture_requests.label_in_name`
            and, for `numbers`, `picture_requests.number_in_name`.
        jobs: number of processes that decode pictures. More than 1 pays for some hundred pictures. As
            always with `multiprocessing`, a script must then call this below `if __name__ ==
            "__main__"`.
        arch: FILE.py:CLASS, for a model of a custom architecture.

    Raises:
        UsageError: `top` or `jobs` is below 1, `threshold` is not in [0, 1], or arguments exclude one
            another.
        DataError: `labels` cannot be read, or has a label that the model does not know.
        ModelError: a model is not found, or cannot be opened.
        LostProcessError: a process that reads pictures has ended.
    """
    predictor = open_model(
        model,
        numbers=numbers,
        numbers_model=numbers_model,
        top=top,
        threshold=threshold,
        reject=reject,
        arch=arch,
    )
    if isinstance(pictures, str | Path):
        pictures = [pictures]
    return list(
        predictor.read(
            pictures,
            recursive=recursive,
            labels=labels,
            labels_from_names=labels_from_names,
            jobs=jobs,
        )
    )


def open_model(
    model: str | Path | None = None,
    *,
    numbers: bool = False,
    numbers_model: str | Path | None = None,
    top: int = 3,
    threshold: float | None = None,
    reject: bool = True,
    arch: str | None = None,
) -> "PicturePredictor":
    """Open a model to classify pictures one by one. Arguments and errors are those of `predict`."""
    if top < 1:
        raise UsageError(f"--top {top}: expected 1 or more")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold}: expected a value between 0 and 1")
    if threshold is not None and not reject:
        raise UsageError("--threshold and --no-reject: choose one")
    if numbers and not reject:
        raise UsageError("--numbers and --no-reject: choose one; a lower --threshold finds more digits")
    if numbers_model is not None and not numbers:
        raise UsageError("--numbers-model needs --numbers")
    if numbers and model is None:  # the newest run may know a single kind of handwriting
        path = models.bundled(formats.ONNX)
    else:
        path = models.find_model(model, prefer=formats.ONNX)
    detector_path = (
        models.find_model(numbers_model, prefer=formats.ONNX, task=NUMBERS) if numbers else None
    )
    detector = models.open_page_predictor(detector_path) if detector_path else None
    predictor = models.open_predictor(path, arch=arch)
    if detector and predictor.metadata.class_names != detector.metadata.class_names:
        raise UsageError(
            f"--model {path}: --numbers needs a model of the digits 0 to 9, such as --model bundled"
        )
    opened = PicturePredictor(predictor, path, arch, top, None, reject, detector, detector_path)
    return opened.with_options(top=top, threshold=threshold)


@dataclass(frozen=True)
class PicturePredictor:
    """An open model that classifies pictures one by one. See `open_model`."""

    predictor: Predictor  # of single digits
    path: Path  # of the model of single digits
    arch: str | None
    top: int
    threshold: float | None
    reject: bool
    detector: PagePredictor | None = None  # finds the digits of numbers; None: a picture is one digit
    detector_path: Path | None = None

    @property
    def metadata(self) -> Metadata:
        """The metadata of the open model."""
        return (self.detector or self.predictor).metadata

    def with_options(self, *, top: int, threshold: float | None) -> "PicturePredictor":
        """The same open models with other options; see `predict`."""
        metadata = self.metadata
        return replace(
            self,
            top=min(top, len(metadata.class_names)),
            threshold=metadata.threshold if threshold is None else threshold,
        )

    def read_all(self, requests: Sequence[Request]) -> list[PictureResult]:
        """The results for some pictures, read together in this thread."""
        pictures = DigitFinder(self._number_models, self.threshold, False).find_all(requests)
        return [*self._results(pictures, lambda file: None)]

    def read(
        self,
        pictures: Sequence[str | Path],
        *,
        recursive: bool = False,
        labels: Path | None = None,
        labels_from_names: bool = False,
        keep_pictures: bool = False,
        jobs: int = 1,
        skip: Collection[str] = (),
    ) -> Iterator[PictureResult]:
        """Yield a result for each picture, in the given order.

        Args:
            pictures: see `predict`.
            recursive: see `predict`.
            labels: see `predict`.
            labels_from_names: see `predict`.
            keep_pictures: whether each result keeps its decoded picture, up to 17 MB, for `annotate`.
            jobs: see `predict`.
            skip: files to leave out, as in `PictureResult.file`.

        Raises:
            UsageError: `jobs` is below 1, or both `labels` and `labels_from_names` are given.
            DataError: `labels` cannot be read, or has a label that the model does not know.
            MissingExtraError: the only picture needs an optional package.
            LostProcessError: a process that reads pictures has ended.
        """
        if jobs < 1:
            raise UsageError(f"--jobs {jobs}: expected 1 or more")
        find_label = picture_requests.label_finder(
            labels,
            self.metadata.class_names,
            labels_from_names=labels_from_names,
            numbers=self.detector is not None,
        )
        requests = picture_requests.list_requests(pictures, recursive=recursive, skip=skip)
        paths = (
            NumberModelFiles(self.detector_path, self.path, self.arch) if self.detector_path else None
        )
        finder = DigitFinder(self._number_models, self.threshold, keep_pictures)
        pool = FinderPool(finder, jobs=min(jobs, len(requests) or 1), files=paths)
        is_small = keep_pictures or self.detector is not None
        max_batch = _MAX_SMALL_BATCH if is_small else BATCH_SIZE
        return self._read(requests, pool, max_batch=max_batch, find_label=find_label)

    @property
    def _number_models(self) -> NumberModels | None:
        return NumberModels(self.detector, self.predictor) if self.detector else None

    def _read(
        self,
        requests: Sequence[Request],
        pool: FinderPool,
        *,
        max_batch: int,
        find_label: Callable[[str], str | None],
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
                yield from self._results(batch, find_label)
                progress.current().advance("reading", done, len(requests))

    def _results(
        self, pictures: Sequence[PictureDigits], find_label: Callable[[str], str | None]
    ) -> Iterator[PictureResult]:
        for picture, digits in zip(pictures, self._classify(pictures), strict=True):
            yield PictureResult(
                picture.request.file,
                digits,
                has_numbers=self.detector is not None,
                error=picture.error,
                truth=find_label(picture.request.file),
                place=picture.request.place,
                decoded=picture.decoded,
            )

    def _classify(self, pictures: Sequence[PictureDigits]) -> Iterator[tuple[Detection, ...]]:
        """Yield the digits of each picture with their predictions."""
        class_names = self.metadata.class_names
        singles = self._detections([picture.single for picture in pictures if picture.single])
        for picture in pictures:
            if picture.single is None:
                yield tuple(self._number_digit(digit) for digit in picture.numbers)
                continue
            digit = next(singles)
            if picture.are_several and are_digits(class_names):
                digit = _suggest_numbers(digit)
            yield (digit,)

    def _detections(self, digits: Sequence[Digit]) -> Iterator[Detection]:
        if not digits:
            return
        stacked = np.stack([digit.image for digit in digits])
        outputs = predict_all(self.predictor, stacked, batch_size=BATCH_SIZE)
        predictions = interpret(
            stacked,
            outputs,
            self.metadata.class_names,
            top=self.top,
            threshold=self.threshold,
            reject=self.reject,
        )
        for digit, prediction, row in zip(digits, predictions, outputs.probabilities, strict=True):
            yield Detection(digit.box, 0, 0, digit.image, prediction, row)

    def _number_digit(self, digit: "FoundDigit") -> Detection:
        class_names = self.metadata.class_names
        ranking = np.argsort(-digit.probabilities, kind="stable")[: self.top]
        best = tuple((class_names[index], float(digit.probabilities[index])) for index in ranking)
        prediction = Prediction(*best[0], best, float(digit.familiarity), None)
        return Detection(
            digit.box, digit.line, digit.word, digit.image, prediction, digit.probabilities
        )


def _suggest_numbers(digit: Detection) -> Detection:
    """A rejected digit whose reason is that the picture shows several."""
    if not digit.prediction.rejected:
        return digit
    return replace(digit, prediction=replace(digit.prediction, reason=SEVERAL_DIGITS))
