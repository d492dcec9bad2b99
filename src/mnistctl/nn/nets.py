"""The nets by name: normalised images in, logits out."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mnistctl.nn import custom_net, torchvision_nets
from mnistctl.settings import architectures
from mnistctl.types import IMAGE_SIZE

# Mean and standard deviation of MNIST's training pixels, scaled to [0, 1]. The same for every
# dataset, so that a net trained on one sees another in the scale it knows.
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081


class Cnn(nn.Sequential):
    """Convolutions, then fully connected layers; see `architectures` for the arguments.

    Takes normalised images, float32 (N, 1, 28, 28); gives logits (N, classes).
    """

    def __init__(self, classes: int, **arguments: Any) -> None:
        kernels, strides, pools = (
            architectures.per_convolution(arguments, name) for name in ("kernels", "strides", "pools")
        )
        layers: list[nn.Module] = []
        channels = 1
        for width, kernel, stride, pool in zip(
            arguments["widths"], kernels, strides, pools, strict=True
        ):
            padding = kernel // 2 if arguments["same_padding"] else 0
            normalised = arguments["batch_norm"]  # which has a bias of its own
            layers.append(nn.Conv2d(channels, width, kernel, stride, padding, bias=not normalised))
            if pool > 1:
                layers.append(nn.MaxPool2d(pool))  # first, so that less is left for what follows
            if normalised:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            if pool > 1:
                layers.append(nn.Dropout(arguments["conv_dropout"]))
            channels = width
        side = architectures.side_after_convolutions(arguments)
        layers += [_Flatten(), *_dense(channels * side * side, classes, arguments)]
        super().__init__(*layers)


class _Flatten(nn.Module):
    """(N, C, H, W) -> (N, H·W·C): as channels-last tensors lie in memory, so that nothing is moved."""

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).flatten(1)


class Mlp(nn.Sequential):
    """Fully connected layers with ReLU between them; without hidden ones, a linear classifier.

    Takes normalised images, float32 (N, 1, 28, 28); gives logits (N, classes).
    """

    def __init__(self, classes: int, **arguments: Any) -> None:
        super().__init__(nn.Flatten(), *_dense(IMAGE_SIZE * IMAGE_SIZE, classes, arguments))


class LeNet5(nn.Sequential):
    """LeNet-5, with softmax in place of its radial basis functions and all maps connected.

    Takes normalised images, float32 (N, 1, 28, 28); gives logits (N, classes).

    Source: LeCun et al. 1998, section II-B.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(
            *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)),  # (N, 6, 14, 14)
            *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),  # (N, 16, 5, 5)
            nn.Flatten(),
            *(nn.Linear(16 * 5 * 5, 120), nn.Tanh()),
            *(nn.Linear(120, 84), nn.Tanh()),
            nn.Linear(84, classes),
        )


def _dense(inputs: int, classes: int, arguments: Mapping[str, Any]) -> list[nn.Module]:
    """Fully connected layers, each hidden one with batch norm if asked for, ReLU and dropout."""
    sizes = [inputs, *arguments.get("hidden", [])]
    layers: list[nn.Module] = []
    for size, next_size in pairwise(sizes):
        layers.append(nn.Linear(size, next_size, bias=not arguments["batch_norm"]))
        if arguments["batch_norm"]:
            layers.append(nn.BatchNorm1d(next_size))
        layers += [nn.ReLU(), nn.Dropout(arguments["dropout"])]
    return [*layers, nn.Linear(sizes[-1], classes)]


NETS: dict[str, Callable[..., nn.Module]] = {"linear": Mlp, "mlp": Mlp, "lenet5": LeNet5, "cnn": Cnn}


def build(arch: str, *, arch_args: Mapping[str, Any], classes: int) -> nn.Module:
    """The net of this name, with fresh weights drawn from torch's global generator.

    Args:
        arch: a name as `architectures` has them. That of a person's own class runs its file.
        arch_args: all of them, checked by `architectures.resolve`.
        classes: how many logits it is to give.

    Raises:
        UsageError: a person's own class that is not there, or does not give such logits.
    """
    if source := architectures.custom_source(arch):
        return custom_net.build(*source, arch_args=arch_args, classes=classes)
    if architectures.is_torchvision(arch):
        net = torchvision_nets.build(arch, classes=classes)
    else:
        net = NETS[arch](classes, **arch_args)
    # Convolutions read and write channels side by side in memory: twice as fast on a CPU.
    return net.to(memory_format=torch.channels_last)


def build_shapes(arch: str, *, arch_args: Mapping[str, Any], classes: int) -> nn.Module:
    """The net of this name on the meta device: its shapes, without memory or time for weights.

    A person's own class is built for real: only it knows what it keeps besides its weights.
    """
    if architectures.custom_source(arch):
        return build(arch, arch_args=arch_args, classes=classes)
    with _EmptyOnMeta():
        net = build(arch, arch_args=arch_args, classes=classes)
    return net.to("meta")


class _EmptyOnMeta(TorchFunctionMode):
    """Puts what `torch.empty` makes, as parameters are made, on the meta device.

    `torch.device("meta")` would put everything there, and some nets compute their shapes by tensors.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is torch.empty and given.get("device") is None:
            given["device"] = "meta"
        return func(*args, **given)


def head_of(net: nn.Module, *, classes: int) -> str | None:
    """The name of the layer that gives the logits: the last with as many outputs; None: no such."""
    names = [
        name
        for name, layer in net.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == classes)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == classes)
    ]
    return names[-1] if names else None


def scale_pixels(images: Tensor) -> Tensor:
    """Raw images, uint8 (N, 28, 28) -> float32 (N, 1, 28, 28) in [0, 1]."""
    return images.unsqueeze(1).to(torch.float32).div(255)


def normalise(images: Tensor) -> Tensor:
    """Pixels in [0, 1] -> zero mean and unit spread on MNIST."""
    return images.sub(PIXEL_MEAN).div(PIXEL_STD)
