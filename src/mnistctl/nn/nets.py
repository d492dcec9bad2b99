"""The nets, and the reader that makes one complete: raw pixels in, calibrated answers out."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mnistctl.predictor import IMAGE_SIZE

# Mean and standard deviation of MNIST's training pixels, scaled to [0, 1]. The same for every
# dataset, so that a net trained on one sees another in the scale it knows.
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081


class Cnn(nn.Sequential):
    """Convolution, ReLU and 2×2 max pooling, once per width; then two fully connected layers.

    Takes normalised images, float32 (N, 1, 28, 28); gives logits (N, classes).
    """

    def __init__(
        self,
        classes: int,
        *,
        widths: Sequence[int],
        kernels: Sequence[int],
        hidden: int,
        dropout: float,
    ) -> None:
        layers: list[nn.Module] = []
        channels, side = 1, IMAGE_SIZE
        for width, kernel in zip(widths, kernels, strict=True):
            layers += [nn.Conv2d(channels, width, kernel), nn.ReLU(), nn.MaxPool2d(2)]
            channels, side = width, (side - kernel + 1) // 2
        layers += [nn.Flatten(), nn.Linear(channels * side * side, hidden), nn.ReLU()]
        super().__init__(*layers, nn.Dropout(dropout), nn.Linear(hidden, classes))


class Mlp(nn.Sequential):
    """Fully connected layers with ReLU, and dropout after each hidden one.

    Takes normalised images, float32 (N, 1, 28, 28); gives logits (N, classes).
    """

    def __init__(self, classes: int, *, hidden: Sequence[int], dropout: float) -> None:
        sizes = [IMAGE_SIZE * IMAGE_SIZE, *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for size, next_size in pairwise(sizes):
            layers += [nn.Linear(size, next_size), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(sizes[-1], classes))


NETS: dict[str, Callable[..., nn.Module]] = {"cnn": Cnn, "mlp": Mlp}


def build(arch: str, *, arch_args: dict[str, Any], classes: int) -> nn.Module:
    """The net of this name, with fresh weights drawn from torch's global generator."""
    # Convolutions read and write channels side by side in memory: twice as fast on a CPU.
    return NETS[arch](classes, **arch_args).to(memory_format=torch.channels_last)


def head_of(net: nn.Module) -> str:
    """The name of the layer that gives the logits: the last fully connected one."""
    names: list[str] = [name for name, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    return names[-1]


def scale_pixels(images: Tensor) -> Tensor:
    """Raw images, uint8 (N, 28, 28) -> float32 (N, 1, 28, 28) in [0, 1]."""
    return images.unsqueeze(1).to(torch.float32).div(255)


def normalise(images: Tensor) -> Tensor:
    """Pixels in [0, 1] -> zero mean and unit spread on MNIST."""
    return images.sub(PIXEL_MEAN).div(PIXEL_STD)


class Reader(nn.Module):
    """A complete digit reader: the net, with everything before and after it."""

    def __init__(self, net: nn.Module, *, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read raw images, uint8 (N, 28, 28).

        Returns:
            logits (N, C), probabilities (N, C) and known (N,), all float32.
        """
        logits = self.net(normalise(scale_pixels(images)))
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        return logits, probabilities, probabilities.amax(dim=1)
