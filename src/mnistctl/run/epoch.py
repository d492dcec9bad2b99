"""One row of a run's metrics."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images came to.

    Training figures are means over the pass, as the net was at each step; validation figures are
    of the net at its end, None without validation images. Losses are cross-entropies in nats,
    without label smoothing; accuracies are in [0, 1].
    """

    epoch: int  # counted from 1
    steps: int  # so far
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    train_seconds: float  # so far, from the split lying on the device to the last step done
    finished: bool  # whether the pass is whole

    def is_better_than(self, other: "Epoch | None") -> bool:
        """At least the other's validation accuracy; without validation always.

        On a tie the later epoch wins: its learning rate was lower, and of a few validation images
        all are often right early on, when the net is not done yet.
        """
        if other is None or self.validation_accuracy is None or other.validation_accuracy is None:
            return True
        return self.validation_accuracy >= other.validation_accuracy

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
