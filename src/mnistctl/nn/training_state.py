"""The training state between two steps: what a step depends on other than the settings and the data."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn, optim

from mnistctl.errors import ModelError, one_line
from mnistctl.models.hashed_safetensors import Tensors, select_by_prefix

_NET, _AVERAGE, _OPTIMIZER, _METRICS = "net.", "average.", "optimizer.", "metrics."


@dataclass(frozen=True)
class Learner:
    """All that a training step changes, always in place."""

    net: nn.Module
    optimizer: optim.Optimizer
    average: optim.swa_utils.AveragedModel | None  # of the net's weights
    loss_sum: Tensor  # float32 (), of the steps of this epoch; on the device, so that no step waits
    correct: Tensor  # int64 (), right answers in this epoch
    answers: Tensor  # int64 (), all answers in this epoch

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that a step changes: weights, average, optimizer state, metrics."""
        tensors = {_NET + name: tensor for name, tensor in self.net.state_dict().items()}
        if self.average is not None:
            average = self.average.state_dict()
            tensors |= {_AVERAGE + name: tensor for name, tensor in average.items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"{_OPTIMIZER}{number}.{name}"] = value
        return tensors | {_METRICS + name: tensor for name, tensor in self.metrics().items()}

    def metrics(self) -> dict[str, Tensor]:
        """The sums of this epoch."""
        return {"loss_sum": self.loss_sum, "correct": self.correct, "answers": self.answers}

    def reset_metrics(self) -> None:
        """Start the sums of an epoch."""
        for total in self.metrics().values():
            total.zero_()


@dataclass(frozen=True)
class TrainingState:
    """A copy of a learner between two steps.

    Random numbers and the learning rate are functions of the settings and the number of steps, so
    neither is part of the state.
    """

    steps: int  # done so far
    train_seconds: float  # so far
    tensors: Tensors  # weights, average, optimizer state; sums of the epoch's metrics

    def is_finite(self) -> bool:
        """Whether all values are finite."""
        return all(np.isfinite(array).all() for array in self.tensors.values())

    @classmethod
    def capture(cls, learner: Learner, *, steps: int, train_seconds: float) -> Self:
        """Copy a learner's tensors to the CPU."""
        arrays = {
            name: tensor.detach().cpu().contiguous().numpy().copy()
            for name, tensor in learner.tensors().items()
        }
        return cls(steps, train_seconds, arrays)

    def restore(self, learner: Learner) -> None:
        """Copy the tensors into a learner, each with its device and memory format.

        Raises:
            ModelError: they are those of another net or optimizer.
        """
        try:
            self._restore(learner)
        except (RuntimeError, LookupError, ValueError) as error:
            raise ModelError(
                f"last.safetensors: not the training state of this net ({one_line(error)}); start the "
                "run again with: mnistctl train --config CONFIG.json"
            ) from error

    def _restore(self, learner: Learner) -> None:
        learner.net.load_state_dict(self._select(_NET))
        if learner.average is not None:
            learner.average.load_state_dict(self._select(_AVERAGE))
        parameters = [
            (parameter, group)
            for group in learner.optimizer.param_groups
            for parameter in group["params"]
        ]
        for name, tensor in self._select(_OPTIMIZER).items():
            number, _, key = name.partition(".")
            parameter, group = parameters[int(number)]
            if key == "step":  # a counter, on the device only if the optimizer needs it there
                is_on_device = group.get("capturable") or group.get("fused")
                value = tensor.to(parameter.device) if is_on_device else tensor
            else:
                value = torch.empty_like(parameter).copy_(tensor)
            learner.optimizer.state[parameter][key] = value
        metrics = self._select(_METRICS)
        for name, total in learner.metrics().items():
            total.copy_(metrics[name])

    def _select(self, prefix: str) -> dict[str, Tensor]:
        arrays = select_by_prefix(self.tensors, prefix)
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
