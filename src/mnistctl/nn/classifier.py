"""Readers: a net with everything before and after it. Raw pixels in, calibrated answers out."""

import functools
import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistctl.nn import nets

_PLACES = 3  # both ways, that maps are pooled to for `familiarity`


class ImageClassifier(Protocol):
    """What reads raw images, uint8 (N, 28, 28).

    Gives logits (N, C), probabilities (N, C), the softmax of logits / temperature, and familiarity (N,), all
    float32.
    """

    temperature: float

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read."""
        ...

    def of_pixels(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same of pixels in [0, 1], float32 (N, 1, 28, 28)."""
        ...


class Classifier(nn.Module):
    """A net that reads raw images.

    Args:
        net: takes normalised images, float32 (N, 1, 28, 28); gives logits (N, C).
        temperature: above 1 the answers are less sure than the net, below 1 surer.
        familiarity: takes features (N, F), gives (N, 1), of which a sigmoid is `familiarity`; None: `familiarity` is
            the largest probability.
        familiarity_layers: the layers of the net whose inputs, pooled, are those features; without any they
            are the logits.

    Raises:
        AttributeError: the net has no such layer.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        temperature: float = 1.0,
        familiarity: nn.Module | None = None,
        familiarity_layers: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature
        self.familiarity = familiarity
        self.familiarity_layers = tuple(familiarity_layers)
        self._seen: dict[str, Tensor] = {}  # what goes into those layers, while the net reads
        for name in familiarity_layers:
            net.get_submodule(name).register_forward_pre_hook(functools.partial(self._see, name))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `ImageClassifier`."""
        return self.of_pixels(nets.scale_pixels(images))

    def of_pixels(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same of pixels in [0, 1], float32 (N, 1, 28, 28)."""
        logits, features = self.features(nets.normalise(pixels))
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        if self.familiarity is None:
            return logits, probabilities, probabilities.amax(dim=1)
        return logits, probabilities, torch.sigmoid(self.familiarity(features).squeeze(1))

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, C), and the features (N, F) that `familiarity` is computed from.

        Args:
            pixels: normalised, float32 (N, 1, 28, 28).
        """
        logits: Tensor = self.net(pixels)
        seen = [_pooled(self._seen.pop(name)) for name in self.familiarity_layers]
        return logits, torch.cat(seen, dim=1) if seen else logits

    def _see(self, name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen[name] = inputs[0]


def _pooled(values: Tensor) -> Tensor:
    """What goes into a layer as (N, F): of a map at most 3×3 places, of a sequence its mean."""
    if values.dim() == 4:
        kernel = [-(-side // _PLACES) for side in values.shape[2:]]
        return F.max_pool2d(values, kernel, ceil_mode=True).flatten(1)
    return values if values.dim() == 2 else values.flatten(1, -2).mean(dim=1)


class Ensemble(nn.Module):
    """Readers whose probabilities and `familiarity` are averaged; logits are the logarithm of that mean."""

    temperature = 1.0

    def __init__(self, members: Sequence["Classifier | Ensemble"]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `ImageClassifier`."""
        return self.of_pixels(nets.scale_pixels(images))

    def of_pixels(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same of pixels in [0, 1], float32 (N, 1, 28, 28)."""
        logs, familiarity = [], []
        for member in self.members:
            assert isinstance(member, Classifier | Ensemble)  # noqa: S101 - for the type checker
            logits, _, of_member = member.of_pixels(pixels)
            logs.append(torch.log_softmax(logits / member.temperature, dim=1))
            familiarity.append(of_member)
        mean = torch.logsumexp(torch.stack(logs), dim=0) - math.log(len(logs))
        return mean, mean.exp(), torch.stack(familiarity).mean(dim=0)


def familiarity_head(features: int, *, hidden: int = 32) -> nn.Sequential:
    """What turns features into `familiarity`, with fresh weights: float32 (N, F) -> (N, 1)."""
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 1))
