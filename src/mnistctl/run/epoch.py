"""The metrics of one epoch."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from mnistctl.types import Result

_Loss = Annotated[float, Meta(ge=0, le=1e39)]  # the largest float32 is 3.4e38
_Accuracy = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class Epoch(Result):
    """The metrics of one pass over the training images.

    Training metrics are means over the steps of the pass. Validation metrics are those of the net at
    the end of the pass, None without validation images. Losses are cross-entropies in nats, without
    label smoothing; accuracies are in [0, 1].
    """

    epoch: Annotated[int, Meta(ge=1, le=10**7)]  # counted from 1
    steps: Annotated[int, Meta(ge=1)]  # since the start of the run
    train_loss: _Loss
    train_accuracy: _Accuracy
    validation_loss: _Loss | None
    validation_accuracy: _Accuracy | None
    learning_rate: Annotated[float, Meta(ge=0, le=100)]
    # Since the first step; the data was on the device before it.
    train_seconds: Annotated[float, Meta(ge=0, le=1e10)]
    finished: bool  # False: training stopped within the pass

    def is_better_than(self, other: "Epoch | None") -> bool:
        """Whether the validation accuracy is at least the other's; without validation always.

        On a tie the later epoch wins. Its learning rate was lower, and with few validation images an
        early epoch often has all of them right before the net is fully trained.
        """
        if other is None or self.validation_accuracy is None or other.validation_accuracy is None:
            return True
        return self.validation_accuracy >= other.validation_accuracy
