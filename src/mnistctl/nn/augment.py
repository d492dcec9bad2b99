"""Augmentation: for each image of a batch by amounts of its own, on the device. Never a flip."""

import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mnistctl.settings.train_settings import TrainSettings
from mnistctl.types import IMAGE_SIZE

_SMOOTHNESS = 4.0  # pixels: the standard deviation of what smooths an elastic displacement
_SMALLEST, _LARGEST = 0.02, 0.2  # share of an image that an erased rectangle covers
_LONGEST = 3.0  # times as long as it is wide


class Draws(NamedTuple):
    """What is drawn for the images of a batch; None where nothing needs it."""

    warp: Tensor | None  # (5, N), uniform in [0, 1)
    elastic: Tensor | None  # (N, 2, 28, 28), normal
    thickness: Tensor | None  # (N, 1, 1, 1), uniform
    deviation: Tensor | None  # (N, 1, 1, 1), uniform
    noise: Tensor | None  # (N, 1, 28, 28), normal
    erase: Tensor | None  # (5, N, 1), uniform

    def of(self, part: slice) -> "Draws":
        """Those of some of the images."""
        return Draws(
            None if self.warp is None else self.warp[:, part],
            None if self.elastic is None else self.elastic[part],
            None if self.thickness is None else self.thickness[part],
            None if self.deviation is None else self.deviation[part],
            None if self.noise is None else self.noise[part],
            None if self.erase is None else self.erase[:, part],
        )


def draw(count: int, config: TrainSettings, device: torch.device) -> Draws:
    """Draw what the config needs for so many images, from torch's global generator of the device."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, IMAGE_SIZE, IMAGE_SIZE, device=device)

    return Draws(
        warp=uniform(5, count) if _warps(config) else None,
        elastic=normal(count, 2) if config.elastic else None,
        thickness=uniform(count, 1, 1, 1) if config.thickness else None,
        deviation=uniform(count, 1, 1, 1) if config.noise else None,
        noise=normal(count, 1) if config.noise else None,
        erase=uniform(5, count, 1) if config.erase else None,
    )


def apply(images: Tensor, config: TrainSettings, draws: Draws | None = None) -> Tensor:
    """Thicken, warp, add noise and erase, as the config says; what comes in from outside is paper.

    Args:
        images: float32 (N, 1, 28, 28), 0 = paper.
        config: how far: see `TrainSettings`. All 0: the images as they are.
        draws: for these images; None: drawn now.
    """
    draws = draws or draw(len(images), config, images.device)
    if draws.thickness is not None:
        images = _thicken(images, draws.thickness.mul(2).sub(1) * config.thickness)
    if draws.warp is not None:
        grid = F.affine_grid(_maps(draws.warp, config), list(images.shape), align_corners=False)
        if draws.elastic is not None:
            grid = grid + _displacements(draws.elastic, config.elastic)
        images = F.grid_sample(images, grid, align_corners=False)
    if draws.noise is not None and draws.deviation is not None:
        images = torch.addcmul(images, draws.noise, draws.deviation * config.noise).clamp(0, 1)
    if draws.erase is not None:
        images = images.masked_fill(_rectangles(draws.erase, config.erase), 0)
    return images


def _thicken(images: Tensor, pixels: Tensor) -> Tensor:
    """Strokes grown on every side by so many pixels, (N, 1, 1, 1) in [-1, 1]; below 0: shrunk.

    What is less than a pixel is so much of the way to the morphological dilation or erosion by 3×3.
    """
    grown, shrunk = F.max_pool2d(images, 3, 1, 1), -F.max_pool2d(-images, 3, 1, 1)
    return torch.where(pixels > 0, images.lerp(grown, pixels), images.lerp(shrunk, -pixels))


def _warps(config: TrainSettings) -> bool:
    return any((config.rotate, config.scale, config.shear, config.shift, config.elastic))


def _maps(drawn: Tensor, config: TrainSettings) -> Tensor:
    """Affine maps, (N, 2, 3), from where a pixel goes to where it comes from."""
    amounts = drawn.mul(2).sub(1)
    angle = amounts[0] * math.radians(config.rotate)
    zoom = torch.exp(amounts[1] * config.scale)
    shear = amounts[2] * config.shear
    shift = amounts[3:] * (2 * config.shift / IMAGE_SIZE)  # grid_sample counts from -1 to 1
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    rows = [cosine, shear * cosine - sine, shift[0], sine, shear * sine + cosine, shift[1]]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _displacements(noise: Tensor, pixels: float) -> Tensor:
    """Smooth random displacements, (N, 28, 28, 2), of so many pixels, root mean square.

    Source: Simard et al. 2003, "Best Practices for Convolutional Neural Networks".
    """
    along = _smoothing(noise.device)
    smooth = along @ noise @ along.T
    # Smoothing leaves of white noise's deviation 1 this much.
    left = 1 / (2 * _SMOOTHNESS * math.sqrt(math.pi))
    return smooth.mul(pixels / left * 2 / IMAGE_SIZE).permute(0, 2, 3, 1)


@functools.cache
def _smoothing(device: torch.device) -> Tensor:
    """What smooths a column of pixels, (28, 28): the unit matrix blurred, since a blur is linear."""
    from torchvision.transforms.v2.functional import gaussian_blur  # 1 s

    kernel = 2 * IMAGE_SIZE - 1  # as wide as its reflecting border allows
    unit = torch.eye(IMAGE_SIZE, device=device)[None]
    blurred: Tensor = gaussian_blur(unit, [1, kernel], [_SMOOTHNESS, _SMOOTHNESS])
    return blurred[0]


def _rectangles(amounts: Tensor, probability: float) -> Tensor:
    """A rectangle in some of the images, bool (N, 1, 28, 28).

    Source: Zhong et al. 2017, "Random Erasing Data Augmentation".
    """
    area = (_SMALLEST + (_LARGEST - _SMALLEST) * amounts[0]) * IMAGE_SIZE**2
    shape = _LONGEST ** (amounts[1] - 0.5)  # its height by its width is the square of this
    sides = torch.stack([area.sqrt() * shape, area.sqrt() / shape])  # (2, N, 1)
    starts = amounts[2:4] * (IMAGE_SIZE - sides)
    pixels = torch.arange(IMAGE_SIZE, device=amounts.device) + 0.5
    inside = (pixels > starts) & (pixels < starts + sides)  # (2, N, 28)
    chosen = amounts[4].unsqueeze(-1) < probability  # (N, 1, 1)
    return (inside[0].unsqueeze(2) & inside[1].unsqueeze(1) & chosen).unsqueeze(1)
