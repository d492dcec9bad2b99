"""Decode pictures and find their digits, in several threads or processes."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnistctl import images
from mnistctl.api import models
from mnistctl.api.picture_requests import Request
from mnistctl.errors import BlankPictureError, PictureError
from mnistctl.images import decode
from mnistctl.images.decode import Grey, Picture
from mnistctl.images.digit import Box, Digit
from mnistctl.models.predictor import PagePredictor, Predictor
from mnistctl.types import IMAGE_SIZE

if TYPE_CHECKING:
    from mnistctl.pages.read import FoundDigit

BATCH_SIZE = 128  # images per call of the model

_THREADS = min(4, os.cpu_count() or 1)
_LARGE_FILE = 50_000  # bytes: larger files are decoded in parallel; for smaller ones threads do not pay
_MIN_HEIGHT = 0.5  # height of another digit in the same picture / height of the highest


class DecodedPicture(NamedTuple):
    """The pixels that a result was computed from."""

    picture: Picture
    ink: Grey | None  # see `images.find_ink`; None: the picture is blank


class PictureDigits(NamedTuple):
    """The digits of one picture, or the reason why there are none."""

    request: Request
    single: Digit | None = None  # not classified yet; None: the picture was read as numbers
    numbers: "Sequence[FoundDigit]" = ()
    error: str | None = None
    are_several: bool = False  # whether a picture of a single digit seems to show several
    decoded: DecodedPicture | None = None


class NumberModels(NamedTuple):
    """The models that read numbers together."""

    detector: PagePredictor  # finds the digits
    classifier: Predictor  # reads each digit once more


class NumberModelFiles(NamedTuple):
    """The files of these models, from which another process opens them."""

    detector: Path
    classifier: Path
    arch: str | None  # FILE.py:CLASS, for a classifier of a custom architecture

    def open(self) -> NumberModels:
        """The models, ready to use.

        Raises:
            ModelError: a file is not a model of the expected kind.
        """
        detector = models.open_page_predictor(self.detector)
        return NumberModels(detector, models.open_predictor(self.classifier, arch=self.arch))


@dataclass(frozen=True)
class DigitFinder:
    """Decodes pictures and finds their digits."""

    number_models: NumberModels | None  # read numbers; None: each picture is one digit
    threshold: float | None  # of the detector: the lowest familiarity of a digit
    keep_pictures: bool  # whether results keep the decoded picture

    def find_all(self, requests: Sequence[Request]) -> list[PictureDigits]:
        """The digits of each picture."""
        return [self._find(request) for request in requests]

    def _find(self, request: Request) -> PictureDigits:
        if request.error is not None:
            return PictureDigits(request, error=request.error)
        try:
            picture = decode.read(request.source, name=request.file, page=request.page)
            if self.number_models is not None:
                return self._read_numbers(request, picture, self.number_models)
            ink = _find_ink(picture, request.file)
        except PictureError as error:
            return PictureDigits(request, error=str(error))
        if ink is None:
            digit = Digit(Box(0, 0, 0, 0), np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8))
        else:
            digit = images.find_digit(picture, ink)
        return PictureDigits(
            request,
            digit,
            are_several=ink is not None and _are_several(ink),
            decoded=DecodedPicture(picture, ink) if self.keep_pictures else None,
        )

    def _read_numbers(self, request: Request, picture: Picture, opened: NumberModels) -> PictureDigits:
        from mnistctl.pages import read  # OpenCV, 0.1 s

        digits = read.read(
            picture, opened.detector, classifier=opened.classifier, threshold=self.threshold
        )
        decoded = None
        if self.keep_pictures:
            decoded = DecodedPicture(picture, _find_ink(picture, request.file))
        return PictureDigits(request, numbers=digits, decoded=decoded)


def _find_ink(picture: Picture, name: str) -> Grey | None:
    try:
        return images.find_ink(picture, name=name)
    except BlankPictureError:
        return None


def _are_several(ink: Grey) -> bool:
    """Whether columns without ink separate pieces of similar height."""
    columns = np.asarray(ink.any(axis=0))
    if np.count_nonzero(columns[1:] > columns[:-1]) + columns[0] < 2:
        return False
    edges = np.flatnonzero(np.diff(columns, prepend=False, append=False))
    heights = [
        np.ptp(np.flatnonzero(ink[:, start:end].any(axis=1))) for start, end in edges.reshape(-1, 2)
    ]
    return bool(np.sum(heights >= _MIN_HEIGHT * np.max(heights)) > 1)


class FinderPool:
    """Runs a finder in several threads, or in several processes.

    Threads suffice for large files, whose decoders let other threads run. Processes also share the work
    that Python does, but each one takes half a second to start and 100 MB.

    Args:
        finder: what runs.
        jobs: number of processes, 1 or more; 1: threads of this process.
        files: the files of the finder's models, which every process opens; None: it has none.
    """

    def __init__(self, finder: DigitFinder, *, jobs: int, files: NumberModelFiles | None) -> None:
        self._finder = finder
        self._jobs = jobs
        self._pool: Executor
        if jobs == 1:
            self._pool = ThreadPoolExecutor(_THREADS)
        else:
            import multiprocessing  # 20 ms with what follows
            from concurrent.futures import ProcessPoolExecutor

            from mnistctl.system import processes

            with processes.worker_environment():  # it starts a process of its own
                self._pool = ProcessPoolExecutor(
                    jobs,
                    multiprocessing.get_context("spawn"),
                    _start_worker,
                    (files, finder.threshold, finder.keep_pictures),
                )

    def __enter__(self) -> "FinderPool":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, requests: Sequence[Request]) -> list[Future[list[PictureDigits]]]:
        """Find the digits of these pictures. The futures have the results, in the same order."""
        # More threads would slow down small files. Parts are small, so that no process waits for long.
        is_large = sum(map(_size_bytes, requests)) > _LARGE_FILE * len(requests)
        count = 2 * self._jobs if self._jobs > 1 else _THREADS if is_large else 1
        size = math.ceil(len(requests) / count) or 1
        parts = [requests[start : start + size] for start in range(0, len(requests), size)]
        if self._jobs == 1:
            return [self._pool.submit(self._finder.find_all, part) for part in parts]
        from mnistctl.system import processes

        with processes.worker_environment():
            return [self._pool.submit(_find_in_worker, part) for part in parts]


_worker: DigitFinder  # of a process of a `FinderPool`


def _start_worker(files: NumberModelFiles | None, threshold: float | None, keep_pictures: bool) -> None:
    from mnistctl.system import processes

    global _worker
    _worker = DigitFinder(files.open() if files else None, threshold, keep_pictures)
    processes.exit_with_parent()


def _find_in_worker(requests: Sequence[Request]) -> list[PictureDigits]:
    return _worker.find_all(requests)


def _size_bytes(request: Request) -> int:
    """The size of a picture's file; 0 if it has none."""
    if isinstance(request.source, bytes):
        return len(request.source)
    try:
        return request.source.stat().st_size
    except OSError:
        return 0
