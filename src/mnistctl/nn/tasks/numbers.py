"""The task "numbers": find the digits on pages that are composed of a dataset's images."""

import contextlib
import dataclasses
import itertools
import logging
from collections.abc import Generator, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from mnistctl.datasets import Split
from mnistctl.evaluation import detection, metrics
from mnistctl.images.decode import Picture
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.nn import detector, devices, distributed, torch_page_predictor
from mnistctl.nn.detector import PageDetector
from mnistctl.nn.tasks.task import StepLoss
from mnistctl.nn.torch_page_predictor import TorchPagePredictor
from mnistctl.pages import detect, labelled, stream
from mnistctl.pages.compose import Page
from mnistctl.pages.stream import PageBatch
from mnistctl.settings.train_settings import TrainSettings

_log = logging.getLogger(__name__)

VALIDATION_PAGES = 1_000
_EVALUATION_BATCH = 50  # pages
_SCORE = 0.3  # of a digit, where the accuracy is computed
_CALIBRATION_PAGES = 400  # of the validation pages
_THRESHOLDS = np.arange(0.1, 0.7, 0.02)  # from which the calibration chooses


class NumbersTask:
    """Finds digits on composed pages; see `tasks.build`.

    An epoch has a page per training image. The accuracy is the share of right answers among the digits
    of the pages and the false alarms: places without a digit where the net finds one. Pictures in the
    training split take the place of some pages; those in the validation split are read at the end.
    """

    can_be_graphed = False

    def __init__(
        self,
        settings: TrainSettings,
        train: Split,
        validation: Split,
        *,
        device: torch.device,
        group: distributed.ProcessGroup,
    ) -> None:
        stream.check_classes(train.dataset, train.class_names)
        self._settings, self._device, self._group = settings, device, group
        self._train, self._validation = train, validation
        self._precision = devices.resolve_precision(settings.precision, device)

    def batches(
        self, *, batch_size: int, steps_per_epoch: int, step: int
    ) -> Generator[tuple[Tensor, ...], None, None]:
        """Yield this process's pages of each batch and their targets; see `Task`."""
        shard = self._group.shard(batch_size)
        pages = range(batch_size)[shard]
        composed = stream.compose_batches(
            self._train,
            seed=self._settings.seed,
            batches=itertools.count(step),
            pages=pages,
            pictures=self._train.pictures,
        )
        with contextlib.closing(composed):
            for batch in composed:
                yield _to_device(batch, self._device)

    def loss(self, net: nn.Module, *batch: Tensor, dropout_seed: int | None) -> StepLoss:
        """See `detector.loss` and `Task`."""
        pages, *targets = batch
        if dropout_seed is not None:
            devices.seed(pages.device, dropout_seed)
        with torch.autocast(pages.device.type, torch.bfloat16, enabled=self._precision == devices.BF16):
            grid = net(detector.scale_pixels(pages))
        grid = grid.float()
        share = 1 / self._group.count
        objective = detector.loss(grid, *targets) * share
        correct, answers = detector.count_correct(grid, *targets[:2], score=_SCORE)
        return StepLoss(objective, objective.detach(), correct, answers)

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> tuple[float | None, float | None]:
        """See `Task`."""
        if self._validation_pages is None:
            return None, None
        net.eval()
        pages, *targets = self._validation_pages
        loss, correct, answers = torch.zeros(3, dtype=torch.float64, device=self._device)
        for part in self._parts(len(pages)):
            grid = net(detector.scale_pixels(pages[part]))
            part_targets = [target[part] for target in targets]
            loss += detector.loss(grid, *part_targets) * len(grid)
            counts = detector.count_correct(grid, *part_targets[:2], score=_SCORE)
            correct += counts[0]
            answers += counts[1]
        self._group.all_reduce([loss, correct, answers])
        return loss.item() / len(pages), correct.item() / max(answers.item(), 1)

    def as_saved(self, net: nn.Module) -> nn.Module:
        """See `Task`."""
        return PageDetector(net)

    def calibrate(self, checkpoint: Checkpoint, *, images_seen: int) -> Checkpoint:
        """See `Task`; `images_seen` does not matter.

        The threshold is for digits as `pages.detect` finds them, at several sizes of the picture.
        """
        if self._validation_pages is None:
            return checkpoint
        predictor = torch_page_predictor.from_checkpoint(checkpoint, device=self._device)
        metadata = dataclasses.replace(
            predictor.metadata,
            temperature=self._fit_temperature(predictor.detector.net),
            threshold=_fit_threshold(predictor, self._composed[:_CALIBRATION_PAGES]),
            calibration_images=len(self._composed[:_CALIBRATION_PAGES]),
        )
        if pictures := self._validation.pictures:
            predictor.metadata = metadata
            right = labelled.count_right(pictures, predictor)
            _log.info(f"held-out pictures read without an error: {right} of {len(pictures)}")
        return dataclasses.replace(checkpoint, metadata=metadata)

    @torch.no_grad()
    def _fit_temperature(self, net: nn.Module) -> float:
        """The temperature of the classes' logits at the centres of the digits."""
        assert self._validation_pages is not None  # noqa: S101 - for the type checker
        pages, heat, _, _ = self._validation_pages
        logits, labels = [], []
        for start in range(0, len(pages), _EVALUATION_BATCH):
            part = slice(start, start + _EVALUATION_BATCH)
            grid = net(detector.scale_pixels(pages[part]))
            page, label, row, column = torch.nonzero(heat[part] == 1, as_tuple=True)
            logits.append(grid[page, : heat.shape[1], row, column].cpu().numpy())
            labels.append(label.cpu().numpy())
        return metrics.fit_temperature(np.concatenate(logits), np.concatenate(labels))

    def _parts(self, count: int) -> Iterator[slice]:
        """This process's share of the validation pages, in parts."""
        start, stop, _ = self._group.shard(count).indices(count)
        for first in range(start, stop, _EVALUATION_BATCH):
            yield slice(first, min(first + _EVALUATION_BATCH, stop))

    @cached_property
    def _composed(self) -> list[Page]:
        """Pages of validation images; the same for every seed of a run."""
        count = min(VALIDATION_PAGES, len(self._validation.images))
        if not count:
            return []
        seed = self._settings.split_seed
        return stream.compose_pages(self._validation, seed=seed, pages=range(count))

    @cached_property
    def _validation_pages(self) -> tuple[Tensor, ...] | None:
        """The composed pages and their targets."""
        if not self._composed:
            return None
        return _to_device(stream.with_targets(self._composed), self._device)


def _fit_threshold(predictor: TorchPagePredictor, pages: Sequence[Page]) -> float:
    """The lowest score of a digit with which most answers are right; see `NumbersTask`."""
    counts = np.zeros((len(_THRESHOLDS), 2))
    for page in pages:
        bright = (255 - page.image[..., None]).astype(np.float32) / 255
        picture = Picture(bright.astype(np.float32), scale=1)
        found = detect.find(detect.grey_levels(picture), predictor)
        for index, threshold in enumerate(_THRESHOLDS):
            counts[index] += detection.count_correct(page, found.at_least(threshold))
    return float(_THRESHOLDS[np.argmax(counts[:, 0] / np.maximum(counts[:, 1], 1))])


def _to_device(batch: PageBatch, device: torch.device) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array).to(device) for array in batch)
