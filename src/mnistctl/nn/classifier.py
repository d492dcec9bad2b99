"""Classifiers: raw images in; logits, calibrated probabilities and familiarity out."""

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistctl.nn import nets

_POOLED_SIDE = 3  # feature maps are pooled to at most 3×3 before the familiarity is computed


class ImageClassifier(nn.Module):
    """Base of the modules that take raw images.

    A call takes uint8 (N, 28, 28), 0 = paper, 255 = ink, and returns three float32 tensors: logits
    (N, C), probabilities (N, C), which are softmax(logits / temperature), and familiarity (N,), in
    [0, 1].
    """

    temperature: float = 1.0

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classify raw images."""
        return self.from_pixels(nets.scale_pixels(images))

    def from_pixels(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classify pixels in [0, 1], float32 (N, 1, 28, 28)."""
        raise NotImplementedError


class Classifier(ImageClassifier):
    """A net with its preprocessing, its temperature and its measure of familiarity.

    Args:
        net: takes normalised images, float32 (N, 1, 28, 28); returns logits (N, C).
        temperature: greater than 0; above 1 the probabilities become less confident, below 1 more.
        familiarity: takes features (N, F), returns (N, 1); its sigmoid is the familiarity. None: the
            familiarity is the largest probability.
        familiarity_layers: names of layers of the net; their pooled inputs are the features. Empty: the
            logits are the features.

    Raises:
        AttributeError: the net has no layer of that name.
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
        self._layer_inputs: dict[str, Tensor] = {}  # filled by the hooks while the net runs
        for name in familiarity_layers:
            net.get_submodule(name).register_forward_pre_hook(functools.partial(self._record, name))

    def from_pixels(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `ImageClassifier`."""
        logits, features = self.features(nets.normalise(pixels))
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        if self.familiarity is None:
            return logits, probabilities, probabilities.amax(dim=1)
        return logits, probabilities, torch.sigmoid(self.familiarity(features).squeeze(1))

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, C) and the features (N, F) from which the familiarity is computed.

        Args:
            images: normalised, float32 (N, 1, 28, 28).
        """
        logits: Tensor = self.net(images)
        pooled = [_pool(self._layer_inputs.pop(name)) for name in self.familiarity_layers]
        return logits, torch.cat(pooled, dim=1) if pooled else logits

    def _record(self, name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._layer_inputs[name] = inputs[0]


def _pool(inputs: Tensor) -> Tensor:
    """Features (N, F) of a layer's input.

    A feature map, (N, C, H, W), is max-pooled to at most 3×3; a sequence is averaged over its tokens.
    """
    if inputs.dim() == 4:
        kernel = [math.ceil(side / _POOLED_SIDE) for side in inputs.shape[2:]]
        return F.max_pool2d(inputs, kernel, ceil_mode=True).flatten(1)
    return inputs if inputs.dim() == 2 else inputs.flatten(1, -2).mean(dim=1)


class Ensemble(ImageClassifier):
    """The mean of the probabilities and of the familiarities of several classifiers.

    Its logits are the logarithm of the mean probabilities, so its temperature is 1.
    """

    def __init__(self, members: Sequence["Classifier | Ensemble"]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def from_pixels(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `ImageClassifier`."""
        log_probabilities, familiarities = [], []
        for member in self.members:
            assert isinstance(member, Classifier | Ensemble)  # noqa: S101 - for the type checker
            logits, _, familiarity = member.from_pixels(pixels)
            log_probabilities.append(torch.log_softmax(logits / member.temperature, dim=1))
            familiarities.append(familiarity)
        # A mean of logarithms' exponentials stays finite where a probability rounds to 0.
        mean = torch.logsumexp(torch.stack(log_probabilities), dim=0) - math.log(len(self.members))
        return mean, mean.exp(), torch.stack(familiarities).mean(dim=0)


def familiarity_head(features: int, *, hidden: int = 32) -> nn.Sequential:
    """A net with fresh weights that scores features: float32 (N, F) -> (N, 1)."""
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 1))
