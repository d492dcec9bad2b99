"""The task "digit": say which class a 28×28 image shows."""

import dataclasses
import itertools
from collections.abc import Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistctl.datasets import Split
from mnistctl.errors import UsageError
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.nn import augment, batches, calibration, devices, distributed, nets, torch_predictor
from mnistctl.nn.classifier import Classifier
from mnistctl.nn.tasks.task import StepLoss
from mnistctl.settings.train_settings import TrainSettings

_EVALUATION_BATCH = 500  # images; fits into a CPU's cache


class DigitTask:
    """Classifies the images of a dataset; see `tasks.build`."""

    can_be_graphed = True

    def __init__(
        self,
        settings: TrainSettings,
        train: Split,
        validation: Split,
        *,
        device: torch.device,
        group: distributed.ProcessGroup,
    ) -> None:
        self._settings, self._device, self._group = settings, device, group
        self._train, self._validation = train, validation
        self._images, self._labels = _to_device(train, device)
        self._validation_images, self._validation_labels = _to_device(validation, device)
        self._precision = devices.resolve_precision(settings.precision, device)

    def batches(
        self, *, batch_size: int, steps_per_epoch: int, step: int
    ) -> Generator[tuple[Tensor, ...], None, None]:
        """Yield the rows of the images of each batch, int64 (batch_size,); see `Task`."""
        first_epoch, done = divmod(step, steps_per_epoch)
        for epoch in itertools.count(first_epoch):
            order = batches.draw_order(
                len(self._images), batch_size, seed=self._settings.seed, epoch=epoch
            )
            for rows in order[done:].to(self._device):
                yield (rows,)
            done = 0

    def loss(self, net: nn.Module, *batch: Tensor, dropout_seed: int | None) -> StepLoss:
        """Cross-entropy in nats; see `Task`."""
        (rows,) = batch
        settings = self._settings
        shard = self._group.shard(len(rows))
        # Drawn for the whole batch, so that the number of processes does not change the augmentation.
        parameters = augment.draw_parameters(len(rows), settings, rows.device).select(shard)
        if dropout_seed is not None:
            devices.seed(rows.device, dropout_seed)
        labels = self._labels[rows[shard]]
        images = self._images.index_select(0, rows[shard])  # several times faster than images[rows]
        pixels = augment.apply(nets.scale_pixels(images), settings, parameters)
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=self._precision == devices.BF16):
            logits = _forward(net, nets.normalise(pixels))
        logits = logits.float()
        share = len(labels) / len(rows)
        objective = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        with torch.no_grad():
            loss = F.cross_entropy(logits, labels) * share
            correct = (logits.argmax(dim=1) == labels).sum()
        return StepLoss(objective * share, loss, correct, torch.full_like(correct, len(labels)))

    @torch.no_grad()
    def evaluate(self, net: nn.Module) -> tuple[float | None, float | None]:
        """See `Task`."""
        count = len(self._validation_images)
        if not count:
            return None, None
        net.eval()
        shard = self._group.shard(count)
        loss, correct = torch.zeros(2, device=self._device)
        parts = zip(
            self._validation_images[shard].split(_EVALUATION_BATCH),
            self._validation_labels[shard].split(_EVALUATION_BATCH),
            strict=True,
        )
        for images, labels in parts:
            if len(images):  # empty where there are fewer images than processes
                logits = net(nets.normalise(nets.scale_pixels(images)))
                loss += F.cross_entropy(logits, labels, reduction="sum")
                correct += (logits.argmax(dim=1) == labels).sum()
        self._group.all_reduce([loss, correct])
        return loss.item() / count, correct.item() / count

    def as_saved(self, net: nn.Module) -> nn.Module:
        """See `Task`."""
        return Classifier(net)

    def calibrate(self, checkpoint: Checkpoint, *, images_seen: int) -> Checkpoint:
        """With the familiarity too; see `Task`."""
        predictor = torch_predictor.from_checkpoint(
            checkpoint, device=self._device, arch=self._settings.arch
        )
        classifier, metadata = calibration.calibrate(
            predictor.classifier.get_submodule("net"),
            predictor.metadata,
            self._train,
            self._validation,
            images_seen=images_seen,
        )
        tensors = torch_predictor.to_arrays(classifier)
        return dataclasses.replace(checkpoint, metadata=metadata, tensors=tensors)


def _forward(net: nn.Module, images: Tensor) -> Tensor:
    """Logits of a net in training."""
    try:
        logits: Tensor = net(images)
    except ValueError as error:
        # PyTorch has no class of its own for this error.
        if len(images) > 1 or "more than 1 value per channel" not in str(error):
            raise
        raise UsageError(
            "--batch-size 1: the net has batch normalisation, which needs at least 2 images"
        ) from error
    return logits


def _to_device(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """The images, uint8 (N, 28, 28), and labels, int64 (N,): a split fits into any device's memory."""
    return torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device)
