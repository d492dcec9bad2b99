"""Decode pictures and find their digits, in several threads or processes."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mnistctl import images
from mnistctl.api import models
from mnistctl.api.picture_requests import Request
from mnistctl.errors import BlankPictureError, PictureError
from mnistctl.images import decode
from mnistctl.images.decode import Grey, Picture
from mnistctl.images.segment import Box, Digit, Scores
from mnistctl.models.predictor import Predictor, predict_all
from mnistctl.types import IMAGE_SIZE, Images

BATCH_SIZE = 128  # images per call of the model

_THREADS = min(4, os.cpu_count() or 1)
_LARGE_FILE = 50_000  # bytes: larger files are decoded in parallel; for smaller ones threads do not pay
_MIN_LIKELIHOOD = 1e-6  # lower limit of the likelihood that a piece of ink is a digit
_MIN_HEIGHT = 0.5  # height of another digit in the same picture / height of the highest


class DecodedPicture(NamedTuple):
    """The pixels that a result was computed from."""

    picture: Picture
    ink: Grey | None  # see `images.find_ink`; None: the picture is blank


class PictureDigits(NamedTuple):
    """The digits of one picture before they are classified, or the reason why there are none."""

    request: Request
    digits: Sequence[Digit] = ()
    error: str | None = None
    are_several: bool = False  # whether a picture that was not split seems to show several digits
    decoded: DecodedPicture | None = None


@dataclass(frozen=True)
class DigitFinder:
    """Decodes pictures and finds their digits."""

    predictor: Predictor | None  # scores pieces of ink; None: each picture is one digit
    threshold: float | None  # of the familiarity
    keep_pictures: bool  # whether results keep the decoded picture

    def find_all(self, requests: Sequence[Request]) -> list[PictureDigits]:
        """The digits of each picture."""
        return [self._find(request) for request in requests]

    def _find(self, request: Request) -> PictureDigits:
        if request.error is not None:
            return PictureDigits(request, error=request.error)
        try:
            picture = decode.read(request.source, name=request.file, page=request.page)
            ink = _find_ink(picture, request.file)
        except PictureError as error:
            return PictureDigits(request, error=str(error))
        return PictureDigits(
            request,
            self._split(picture, ink),
            are_several=self.predictor is None and ink is not None and _are_several(ink),
            decoded=DecodedPicture(picture, ink) if self.keep_pictures else None,
        )

    def _split(self, picture: Picture, ink: Grey | None) -> list[Digit]:
        if ink is None:
            blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
            return [] if self.predictor else [Digit(Box(0, 0, 0, 0), blank, 0)]
        if self.predictor:
            return images.find_digits(picture, ink, score=self._score)
        return [images.find_digit(picture, ink)]

    def _score(self, candidates: Images) -> Scores:
        """The log-likelihood that each of N images is one whole digit."""
        assert self.predictor is not None  # noqa: S101 - for the type checker
        outputs = predict_all(self.predictor, candidates, batch_size=BATCH_SIZE)
        likelihoods = outputs.probabilities.max(axis=1)
        if self.threshold is not None:  # without a threshold `familiarity` has no meaning
            likelihoods = likelihoods * outputs.familiarity
        scores: Scores = np.log(np.maximum(likelihoods, _MIN_LIKELIHOOD))
        return scores


def _find_ink(picture: Picture, name: str) -> Grey | None:
    try:
        return images.find_ink(picture, name=name)
    except BlankPictureError:
        return None


def _are_several(ink: Grey) -> bool:
    """Whether columns without ink separate pieces of similar height."""
    edges = np.flatnonzero(np.diff(ink.any(axis=0), prepend=False, append=False))
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
        model: the file of the finder's model, which every process opens; None: it has none.
        arch: FILE.py:CLASS, for a model of a custom architecture.
    """

    def __init__(self, finder: DigitFinder, *, jobs: int, model: Path | None, arch: str | None) -> None:
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
                    (model, arch, finder.threshold, finder.keep_pictures),
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


def _start_worker(
    model: Path | None, arch: str | None, threshold: float | None, keep_pictures: bool
) -> None:
    from mnistctl.system import processes

    global _worker
    predictor = models.open_predictor(model, arch=arch) if model else None
    _worker = DigitFinder(predictor, threshold, keep_pictures)
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
