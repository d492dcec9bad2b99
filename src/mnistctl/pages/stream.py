"""Batches of composed pages with their targets, composed by other processes ahead of the training."""

import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from mnistctl.errors import LostProcessError, UsageError
from mnistctl.pages import compose, glyphs, labelled, targets
from mnistctl.pages.compose import Page
from mnistctl.pages.glyphs import GlyphBank
from mnistctl.pages.labelled import LabelledPicture
from mnistctl.system import processes
from mnistctl.types import Images, Labels

HEIGHT, WIDTH = 64, 192  # of a page in pixels

_PICTURES_ONE_IN = 3  # pages of a batch with one of the user's own pictures, if there are any
_GLYPHS = 12_000  # of each kind: images of the dataset, and templates
_FONT_LINES, _FONT_SHAPES = 6_000, 4_000  # fewer, since people seldom write as a font does
_AHEAD = 6  # batches per process that are composed before they are needed
_MAX_PROCESSES = 8


class PageBatch(NamedTuple):
    """Pages of one size and their targets; see `targets.Targets`."""

    pages: npt.NDArray[np.uint8]  # (N, H, W), 0 = paper
    heat: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32]


class DigitImages(Protocol):
    """Images of single digits: the split of a dataset."""

    @property
    def images(self) -> Images:
        """The images: uint8 (N, 28, 28), 0 = paper, 255 = ink."""
        ...

    @property
    def labels(self) -> Labels:
        """The labels: int64 (N,), 0 to 9."""
        ...


def build_bank(source: DigitImages, *, seed: int) -> GlyphBank:
    """The shapes from which pages are composed; 0.6 ms per image."""
    return glyphs.build_bank(
        source.images,
        source.labels,
        size=_GLYPHS,
        font_lines=_FONT_LINES,
        font_shapes=_FONT_SHAPES,
        seed=seed,
    )


def check_classes(dataset: str, class_names: Sequence[str]) -> None:
    """Check that pages of numbers can be composed of the images of a dataset.

    Raises:
        UsageError: its classes are not the ten digits in their order.
    """
    if list(class_names) != list("0123456789"):
        raise UsageError(
            f"--dataset {dataset}: pages of numbers are composed of the ten digits, and the dataset "
            "has other classes"
        )


def compose_pages(source: DigitImages, *, seed: int, pages: Sequence[int]) -> list[Page]:
    """Pages composed in this process.

    Args:
        source: the digits.
        seed: selects the shapes and decides all pages.
        pages: the numbers of the pages.
    """
    bank = build_bank(source, seed=seed)
    return [compose.compose(bank, (seed, number), height=HEIGHT, width=WIDTH) for number in pages]


def compose_batches(
    source: DigitImages,
    *,
    seed: int,
    batches: Iterator[int],
    pages: Sequence[int],
    pictures: Sequence[LabelledPicture] = (),
) -> Generator[PageBatch, None, None]:
    """Yield batches of pages that other processes compose. Close the iterator to end the processes.

    A page is decided by the seed, the number of its batch and its own number, so the number of
    processes changes nothing.

    Args:
        source: the digits.
        seed: selects the shapes.
        batches: the numbers of the batches.
        pages: the numbers of the pages in each batch.
        pictures: with the boxes of their digits; a third of the pages show one of them.

    Raises:
        LostProcessError: a process has ended.
    """
    count = max(1, min(_MAX_PROCESSES, (os.cpu_count() or 1) // 2))
    with processes.worker_environment():
        pool = ProcessPoolExecutor(
            count,
            multiprocessing.get_context("spawn"),
            _start_worker,
            (source.images, source.labels, seed, pictures),
        )
    pending: deque[Future[PageBatch]] = deque()
    try:
        for number in batches:
            seeds = [(seed, number, page) for page in pages]
            with processes.worker_environment():  # the pool may start a process
                pending.append(pool.submit(_compose_in_worker, seeds))
            if len(pending) > _AHEAD * count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenExecutor as error:
        raise LostProcessError(
            "a process that composes pages has ended, perhaps for lack of memory"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


class _Source(NamedTuple):
    images: Images
    labels: Labels


_bank: GlyphBank  # of a process of the pool
_pictures: Sequence[LabelledPicture]


def _start_worker(
    images: Images, labels: Labels, seed: int, pictures: Sequence[LabelledPicture]
) -> None:
    global _bank, _pictures
    processes.exit_with_parent()
    cv2.setNumThreads(1)
    _bank = build_bank(_Source(images, labels), seed=seed)
    _pictures = pictures


def _compose_in_worker(seeds: Sequence[tuple[int, ...]]) -> PageBatch:
    return with_targets([_compose_page(seed) for seed in seeds])


def _compose_page(seed: tuple[int, ...]) -> Page:
    if _pictures and seed[-1] % _PICTURES_ONE_IN == 0:
        generator = np.random.default_rng(seed)
        picture = _pictures[int(generator.integers(len(_pictures)))]
        return labelled.augment(picture, generator, height=HEIGHT, width=WIDTH)
    return compose.compose(_bank, seed, height=HEIGHT, width=WIDTH)


def with_targets(composed: Sequence[Page]) -> PageBatch:
    """Pages of one size, at least one, with their targets."""
    arrays = zip(*(targets.of_page(page) for page in composed), strict=True)
    return PageBatch(np.stack([page.image for page in composed]), *map(np.stack, arrays))
