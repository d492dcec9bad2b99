"""Build the nets by name. Every classifier takes normalised images and returns logits."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mnistctl.nn import custom_net, torchvision_nets
from mnistctl.nn.detector import Detector
from mnistctl.settings import architectures
from mnistctl.settings.architectures import Architecture
from mnistctl.types import IMAGE_SIZE

# Mean and standard deviation of MNIST's training pixels, scaled to [0, 1]. All datasets share them, so
# that a net trained on one dataset can be fine-tuned on another without a change of scale.
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081


class Cnn(nn.Sequential):
    """Convolutions, then fully connected layers; `architectures` describes the arguments.

    Takes normalised images, float32 (N, 1, 28, 28); returns logits (N, classes).
    """

    def __init__(self, classes: int, **arguments: Any) -> None:
        kernels, strides, pools = (
            architectures.per_convolution(arguments, name) for name in ("kernels", "strides", "pools")
        )
        batch_norm = arguments["batch_norm"]
        layers: list[nn.Module] = []
        channels = 1
        for width, kernel, stride, pool in zip(
            arguments["widths"], kernels, strides, pools, strict=True
        ):
            padding = kernel // 2 if arguments["same_padding"] else 0
            # Batch norm has a bias, so the convolution needs none.
            layers.append(nn.Conv2d(channels, width, kernel, stride, padding, bias=not batch_norm))
            if pool > 1:
                layers.append(nn.MaxPool2d(pool))  # first, so that the next layers have less to do
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            if pool > 1:
                layers.append(nn.Dropout(arguments["conv_dropout"]))
            channels = width
        side = architectures.side_after_convolutions(arguments)
        layers += [_Flatten(), *_dense_layers(channels * side * side, classes, arguments)]
        super().__init__(*layers)


class _Flatten(nn.Module):
    """(N, C, H, W) -> (N, H·W·C), the order of a channels-last tensor in memory: a view, no copy."""

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).flatten(1)


class Mlp(nn.Sequential):
    """Fully connected layers with ReLU between them; a linear classifier if `hidden` is empty.

    Takes normalised images, float32 (N, 1, 28, 28); returns logits (N, classes).
    """

    def __init__(self, classes: int, **arguments: Any) -> None:
        super().__init__(nn.Flatten(), *_dense_layers(IMAGE_SIZE * IMAGE_SIZE, classes, arguments))


class LeNet5(nn.Sequential):
    """LeNet-5, with a linear output layer instead of radial basis functions, and all maps connected.

    Takes normalised images, float32 (N, 1, 28, 28); returns logits (N, classes).

    Source: LeCun et al. 1998, section II-B.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(
            nn.Conv2d(1, 6, 5, padding=2),  # (N, 6, 28, 28)
            nn.Tanh(),
            nn.AvgPool2d(2),  # (N, 6, 14, 14)
            nn.Conv2d(6, 16, 5),  # (N, 16, 10, 10)
            nn.Tanh(),
            nn.AvgPool2d(2),  # (N, 16, 5, 5)
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.Tanh(),
            nn.Linear(120, 84),
            nn.Tanh(),
            nn.Linear(84, classes),
        )


def _dense_layers(inputs: int, classes: int, arguments: Mapping[str, Any]) -> list[nn.Module]:
    """Fully connected layers; batch norm (optional), ReLU and dropout follow each hidden layer."""
    sizes = [inputs, *arguments.get("hidden", [])]
    layers: list[nn.Module] = []
    for size, next_size in pairwise(sizes):
        layers.append(nn.Linear(size, next_size, bias=not arguments["batch_norm"]))
        if arguments["batch_norm"]:
            layers.append(nn.BatchNorm1d(next_size))
        layers += [nn.ReLU(), nn.Dropout(arguments["dropout"])]
    return [*layers, nn.Linear(sizes[-1], classes)]


NETS: dict[str, Callable[..., nn.Module]] = {
    "linear": Mlp,
    "mlp": Mlp,
    "lenet5": LeNet5,
    "cnn": Cnn,
    "detector": Detector,
}


def build(arch: str, *, arch_args: Mapping[str, Any], classes: int) -> nn.Module:
    """Build a net with fresh weights drawn from torch's global generator.

    Args:
        arch: name of the architecture. A custom architecture, `FILE.py:CLASS`, runs its file.
        arch_args: all arguments of the architecture, checked by `architectures.resolve`.
        classes: number of logits.

    Raises:
        UsageError: a custom architecture was not found, or does not return such logits.
    """
    architecture = Architecture.parse(arch)
    if architecture.is_custom:
        return custom_net.build(architecture, arch_args=arch_args, classes=classes)
    if architecture.is_torchvision:
        net = torchvision_nets.build(arch, classes=classes)
    else:
        net = NETS[arch](classes, **arch_args)
    # Convolutions are twice as fast on a CPU with the channels of a pixel side by side in memory.
    return net.to(memory_format=torch.channels_last)


def build_shapes(arch: str, *, arch_args: Mapping[str, Any], classes: int) -> nn.Module:
    """Build a net on the meta device: all shapes, but no memory or time for weights.

    A custom architecture gets real tensors, because it may compute buffers in its constructor.

    Raises:
        UsageError: see `build`.
    """
    if Architecture.parse(arch).is_custom:
        return build(arch, arch_args=arch_args, classes=classes)
    with _EmptyOnMeta():
        net = build(arch, arch_args=arch_args, classes=classes)
    return net.to("meta")


class _EmptyOnMeta(TorchFunctionMode):
    """Creates the results of `torch.empty`, and so all parameters, on the meta device.

    `torch.device("meta")` would put every tensor there. Torchvision's RegNets compute their widths with
    tensors in the constructor, and a meta tensor has no values to read ("Cannot copy out of meta
    tensor"). See the limits of meta tensors: https://docs.pytorch.org/docs/stable/meta.html
    """

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        keywords = dict(kwargs or {})
        if func is torch.empty and keywords.get("device") is None:
            keywords["device"] = "meta"
        return func(*args, **keywords)


def count_multiply_adds(net: nn.Module, *, side: int = IMAGE_SIZE) -> int:
    """Multiply-adds of a net for one image of this side, in pixels."""
    from torch.utils.flop_counter import FlopCounterMode  # 75 ms

    device = next(net.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros(1, 1, side, side, device=device))
    return int(counter.get_total_flops()) // 2


def count_parameters(net: nn.Module) -> int:
    """The number of parameters: the weights and biases, without buffers."""
    return sum(parameter.numel() for parameter in net.parameters())


def find_head(net: nn.Module, *, classes: int) -> str | None:
    """Name of the layer that returns the logits: the last with `classes` outputs; None: not found."""
    names = [
        name
        for name, layer in net.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == classes)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == classes)
    ]
    return names[-1] if names else None


def scale_pixels(images: Tensor) -> Tensor:
    """Convert raw images, uint8 (N, 28, 28), to float32 (N, 1, 28, 28) in [0, 1]."""
    return images.unsqueeze(1).to(torch.float32).div(255)


def normalise(images: Tensor) -> Tensor:
    """Standardise pixels in [0, 1], (N, 1, 28, 28), to mean 0 and deviation 1 on MNIST."""
    return images.sub(PIXEL_MEAN).div(PIXEL_STD)
