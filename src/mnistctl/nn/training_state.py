"""Where training has come to, between two steps: all that the next step depends on."""

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn, optim

from mnistctl.models.hashed_safetensors import Tensors

_NET, _AVERAGE, _OPTIMIZER, _SUMS = "net.", "average.", "optimizer.", "sums."


@dataclass(frozen=True)
class State:
    """A place between two steps.

    Order, augmentation and dropout are drawn from seed, epoch and step, and the learning rate follows
    from the number of steps, so neither is in it.
    """

    epoch: int  # that is on its way, or next; counted from 0
    seen: int  # steps of it that are done
    reported: bool  # whether what an epoch came to is known, of the one that is done or cut short
    steps: int  # in all
    train_seconds: float
    tensors: Tensors  # weights, optimizer, average; sums of loss and of right answers in the epoch

    def to_json(self) -> dict[str, Any]:
        """All but the tensors."""
        return {name: value for name, value in vars(self).items() if name != "tensors"}

    def is_finite(self) -> bool:
        """Whether all of it are numbers."""
        return all(np.isfinite(array).all() for array in self.tensors.values())

    @classmethod
    def of(
        cls,
        net: nn.Module,
        optimizer: optim.Optimizer,
        average: nn.Module | None,
        sums: dict[str, Tensor],
        **place: Any,
    ) -> Self:
        """The state as it is now."""
        found = {_NET + name: tensor for name, tensor in net.state_dict().items()}
        if average is not None:
            found |= {_AVERAGE + name: tensor for name, tensor in average.state_dict().items()}
        for number, of_parameter in optimizer.state_dict()["state"].items():
            for name, value in of_parameter.items():
                if isinstance(value, Tensor):
                    found[f"{_OPTIMIZER}{number}.{name}"] = value
        found |= {_SUMS + name: tensor for name, tensor in sums.items()}
        arrays = {
            name: tensor.detach().cpu().contiguous().numpy().copy() for name, tensor in found.items()
        }
        return cls(tensors=arrays, **place)

    def restore(
        self,
        net: nn.Module,
        optimizer: optim.Optimizer,
        average: nn.Module | None,
        sums: dict[str, Tensor],
    ) -> None:
        """Put everything back, each tensor in the place and the order in memory that it had."""
        net.load_state_dict(self._under(_NET))
        if average is not None:
            average.load_state_dict(self._under(_AVERAGE))
        places = [(it, group) for group in optimizer.param_groups for it in group["params"]]
        for name, tensor in self._under(_OPTIMIZER).items():
            number, _, key = name.partition(".")
            parameter, group = places[int(number)]
            if key == "step":  # which only some optimizers keep on the device
                is_there = group.get("capturable") or group.get("fused")
                kept = tensor.to(parameter.device) if is_there else tensor
            else:
                kept = torch.empty_like(parameter).copy_(tensor)
            optimizer.state[parameter][key] = kept
        for name, tensor in self._under(_SUMS).items():
            sums[name].copy_(tensor)

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): torch.from_numpy(array.copy())
            for name, array in self.tensors.items()
            if name.startswith(prefix)
        }


def replay(schedule: optim.lr_scheduler.LRScheduler, steps: int) -> None:
    """Bring a fresh schedule to where it is after so many steps, by the same arithmetic."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer has not stepped
        for _ in range(steps):
            schedule.step()
