"""Torchvision's classification nets, made to read one grey image of 28×28 pixels."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mnistctl.settings import architectures
from mnistctl.types import IMAGE_SIZE

# Nets with a second head for training, which is left out.
_WITH_SECOND_HEAD = ("googlenet", "inception_v3")


class Resized(nn.Module):
    """A net that gets its images enlarged.

    Takes normalised images, float32 (N, 1, 28, 28); gives logits (N, classes).
    """

    def __init__(self, net: nn.Module, *, size: int) -> None:
        super().__init__()
        self.net = net
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """Enlarge the images, then ask the net."""
        larger = F.interpolate(images, size=(self.size, self.size), mode="bilinear")
        logits: Tensor = self.net(larger)
        return logits


def build(name: str, *, classes: int) -> nn.Module:
    """The net `torchvision:NAME` with fresh weights: one channel in, `classes` logits out."""
    from torchvision import models  # 1 s

    short = name.removeprefix(architectures.TORCHVISION)
    special: dict[str, Any] = (
        {"aux_logits": False, "init_weights": True} if short in _WITH_SECOND_HEAD else {}
    )
    net: nn.Module = models.get_model(short, weights=None, num_classes=classes, **special)
    _take_one_channel(net)
    size = architectures.sizes()[name].input_size
    return net if size == IMAGE_SIZE else Resized(net, size=size)


def _take_one_channel(net: nn.Module) -> None:
    """Replace the first convolution by one that reads grey images."""
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
