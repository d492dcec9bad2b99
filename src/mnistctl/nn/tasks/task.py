"""What the trainer needs to know about a task: its batches, its loss, and how it is measured."""

from collections.abc import Generator
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from mnistctl.models.checkpoint import Checkpoint


class StepLoss(NamedTuple):
    """The loss of one step, in this process's share of the batch."""

    objective: Tensor  # (), to be minimised
    loss: Tensor  # (), as it is reported; needs no gradient
    correct: Tensor  # int64 (), answers that are right
    answers: Tensor  # int64 (), of which `correct` are right


class Task(Protocol):
    """What a net is trained for."""

    can_be_graphed: bool  # whether a step always takes tensors of the same shape from the device

    def batches(
        self, *, batch_size: int, steps_per_epoch: int, step: int
    ) -> Generator[tuple[Tensor, ...], None, None]:
        """Yield the batches from this step of a run on, endlessly; they depend on the seed alone."""
        ...

    def loss(self, net: nn.Module, *batch: Tensor, dropout_seed: int | None) -> StepLoss:
        """The loss of a net in training. Random numbers come from the device's global generator.

        Args:
            net: to train.
            batch: one of `batches`.
            dropout_seed: seeds the generator before the net draws dropout masks; None: do not seed it.

        Raises:
            UsageError: the net has batch normalisation, and the batch has a single image.
        """
        ...

    def evaluate(self, net: nn.Module) -> tuple[float | None, float | None]:
        """Loss and accuracy in validation; None for both without validation images."""
        ...

    def as_saved(self, net: nn.Module) -> nn.Module:
        """The module whose weights a checkpoint stores: the net with its preprocessing."""
        ...

    def calibrate(self, checkpoint: Checkpoint, *, images_seen: int) -> Checkpoint:
        """A trained model with temperature and threshold.

        Args:
            checkpoint: of the net, uncalibrated.
            images_seen: number of images trained on, repetitions included.
        """
        ...
