"""The metrics of one epoch."""

from dataclasses import dataclass

from mnistctl.types import Result


@dataclass(frozen=True)
class Epoch(Result):
    """The metrics of one pass over the training images.

    Training metrics are means over the steps of the pass. Validation metrics are those of the net at
    the end of the pass, None without validation images. Losses are cross-entropies in nats, without
    label smoothing; accuracies are in [0, 1].
    """

    epoch: int  # counted from 1
    steps: int  # since the start of the run
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    train_seconds: float  # since the first step; the data was on the device before it
    finished: bool  # False: training stopped within the pass

    def is_better_than(self, other: "Epoch | None") -> bool:
        """Whether the validation accuracy is at least the other's; without validation always.

        On a tie the later epoch wins. Its learning rate was lower, and with few validation images an
        early epoch often has all of them right before the net is fully trained.
        """
        if other is None or self.validation_accuracy is None or other.validation_accuracy is None:
            return True
        return self.validation_accuracy >= other.validation_accuracy
