"""Torchvision's classification nets, adapted to grey images of 28×28 pixels."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mnistctl.settings import architectures
from mnistctl.types import IMAGE_SIZE

# These nets have an auxiliary classifier for training, which is switched off.
_WITH_AUXILIARY_CLASSIFIER = ("googlenet", "inception_v3")


class Resized(nn.Module):
    """A net behind an enlargement of its images.

    Args:
        net: takes normalised images, float32 (N, 1, size, size); returns logits (N, C).
        size: height and width in pixels that the net needs.
    """

    def __init__(self, net: nn.Module, *, size: int) -> None:
        super().__init__()
        self.net = net
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) of normalised images, float32 (N, 1, 28, 28)."""
        larger = F.interpolate(images, size=(self.size, self.size), mode="bilinear")
        logits: Tensor = self.net(larger)
        return logits


def build(name: str, *, classes: int) -> nn.Module:
    """Build the net `torchvision:NAME` with fresh weights, one input channel and `classes` logits."""
    from torchvision import models  # 1 s

    short_name = name.removeprefix(architectures.TORCHVISION)
    special: dict[str, Any] = (
        {"aux_logits": False, "init_weights": True} if short_name in _WITH_AUXILIARY_CLASSIFIER else {}
    )
    net: nn.Module = models.get_model(short_name, weights=None, num_classes=classes, **special)
    _use_one_channel(net)
    size = architectures.sizes()[name].input_size
    return net if size == IMAGE_SIZE else Resized(net, size=size)


def _use_one_channel(net: nn.Module) -> None:
    """Replace the first convolution, which takes three channels, by one that takes grey images."""
    name, first = next(
        (name, layer) for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)
    )
    grey = nn.Conv2d(
        1,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    parent, _, attribute = name.rpartition(".")
    setattr(net.get_submodule(parent), attribute, grey)
