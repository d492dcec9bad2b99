"""Augmentation: random changes to each image of a batch, computed on the device. Never a flip."""

import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mnistctl.settings.train_settings import TrainSettings
from mnistctl.types import IMAGE_SIZE

_SMOOTHNESS = 4.0  # pixels: standard deviation of the blur that smooths an elastic displacement
_MIN_ERASED, _MAX_ERASED = 0.02, 0.2  # share of the image that an erased rectangle covers
_MAX_ASPECT = 3.0  # ratio of the longer to the shorter side of that rectangle


class AugmentParameters(NamedTuple):
    """Random numbers for the N images of a batch; None where the settings need none.

    "Uniform" is uniform in [0, 1); "normal" has mean 0 and deviation 1.
    """

    warp: Tensor | None  # (5, N), uniform: rotation, zoom, shear, shifts
    elastic: Tensor | None  # (N, 2, 28, 28), normal
    thickness: Tensor | None  # (N, 1, 1, 1), uniform
    deviation: Tensor | None  # (N, 1, 1, 1), uniform: of the noise
    noise: Tensor | None  # (N, 1, 28, 28), normal
    erase: Tensor | None  # (5, N, 1), uniform: area, aspect ratio, position, whether at all

    def select(self, rows: slice) -> "AugmentParameters":
        """The parameters of some of the images."""
        return AugmentParameters(
            None if self.warp is None else self.warp[:, rows],
            None if self.elastic is None else self.elastic[rows],
            None if self.thickness is None else self.thickness[rows],
            None if self.deviation is None else self.deviation[rows],
            None if self.noise is None else self.noise[rows],
            None if self.erase is None else self.erase[:, rows],
        )


def draw_parameters(count: int, settings: TrainSettings, device: torch.device) -> AugmentParameters:
    """Draw the parameters for `count` images from the device's global generator."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, IMAGE_SIZE, IMAGE_SIZE, device=device)

    return AugmentParameters(
        warp=uniform(5, count) if _needs_warp(settings) else None,
        elastic=normal(count, 2) if settings.elastic else None,
        thickness=uniform(count, 1, 1, 1) if settings.thickness else None,
        deviation=uniform(count, 1, 1, 1) if settings.noise else None,
        noise=normal(count, 1) if settings.noise else None,
        erase=uniform(5, count, 1) if settings.erase else None,
    )


def apply(
    images: Tensor, settings: TrainSettings, parameters: AugmentParameters | None = None
) -> Tensor:
    """Change stroke thickness, warp, add noise and erase. Areas warped in from outside are paper.

    Args:
        images: float32 (N, 1, 28, 28) in [0, 1], 0 = paper.
        settings: the amounts. If all are 0, the images are returned unchanged.
        parameters: the random numbers for these images; None: draw them now.

    Returns:
        float32 (N, 1, 28, 28) in [0, 1].
    """
    parameters = parameters or draw_parameters(len(images), settings, images.device)
    if parameters.thickness is not None:
        images = _thicken(images, parameters.thickness.mul(2).sub(1) * settings.thickness)
    if parameters.warp is not None:
        theta = _affine_maps(parameters.warp, settings)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        if parameters.elastic is not None:
            grid = grid + _displacements(parameters.elastic, settings.elastic)
        images = F.grid_sample(images, grid, align_corners=False)
    if parameters.noise is not None and parameters.deviation is not None:
        deviation = parameters.deviation * settings.noise
        images = torch.addcmul(images, parameters.noise, deviation).clamp(0, 1)
    if parameters.erase is not None:
        images = images.masked_fill(_rectangles(parameters.erase, settings.erase), 0)
    return images


def _thicken(images: Tensor, pixels: Tensor) -> Tensor:
    """Grow strokes on every side, or shrink them.

    Interpolates between the image and its morphological dilation or erosion by 3×3.

    Args:
        images: float32 (N, 1, 28, 28), 0 = paper.
        pixels: float32 (N, 1, 1, 1) in [-1, 1]; above 0 strokes grow, below 0 they shrink.
    """
    dilated, eroded = F.max_pool2d(images, 3, 1, 1), -F.max_pool2d(-images, 3, 1, 1)
    return torch.where(pixels > 0, images.lerp(dilated, pixels), images.lerp(eroded, -pixels))


def _needs_warp(settings: TrainSettings) -> bool:
    return any((settings.rotate, settings.scale, settings.shear, settings.shift, settings.elastic))


def _affine_maps(uniform: Tensor, settings: TrainSettings) -> Tensor:
    """Affine maps, (N, 2, 3), from output coordinates to input coordinates, in [-1, 1].

    Args:
        uniform: (5, N), see `AugmentParameters.warp`.
        settings: the amounts.
    """
    amounts = uniform.mul(2).sub(1)
    angle = amounts[0] * math.radians(settings.rotate)
    zoom = torch.exp(amounts[1] * settings.scale)
    shear = amounts[2] * settings.shear
    shift = amounts[3:] * (2 * settings.shift / IMAGE_SIZE)  # pixels to coordinates
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    rows = [cosine, shear * cosine - sine, shift[0], sine, shear * sine + cosine, shift[1]]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _displacements(noise: Tensor, pixels: float) -> Tensor:
    """Smooth random displacements, (N, 28, 28, 2), in coordinates of [-1, 1].

    Args:
        noise: (N, 2, 28, 28), normal.
        pixels: root mean square of the displacements.

    Source: Simard et al. 2003, "Best Practices for Convolutional Neural Networks".
    """
    blur = _blur_matrix(noise.device)
    smooth = blur @ noise @ blur.T
    deviation = 1 / (2 * _SMOOTHNESS * math.sqrt(math.pi))  # of white noise after the blur
    return smooth.mul(pixels / deviation * 2 / IMAGE_SIZE).permute(0, 2, 3, 1)


@functools.cache
def _blur_matrix(device: torch.device) -> Tensor:
    """The matrix (28, 28) that blurs a column of pixels: the blurred identity, as a blur is linear."""
    from torchvision.transforms.v2.functional import gaussian_blur  # 1 s

    kernel = 2 * IMAGE_SIZE - 1  # the widest kernel that the reflecting border allows
    identity = torch.eye(IMAGE_SIZE, device=device)[None]
    blurred: Tensor = gaussian_blur(identity, [1, kernel], [_SMOOTHNESS, _SMOOTHNESS])
    return blurred[0]


def _rectangles(uniform: Tensor, probability: float) -> Tensor:
    """A random rectangle in some of the images, bool (N, 1, 28, 28).

    Args:
        uniform: (5, N, 1), see `AugmentParameters.erase`.
        probability: that an image has a rectangle.

    Source: Zhong et al. 2017, "Random Erasing Data Augmentation".
    """
    area = (_MIN_ERASED + (_MAX_ERASED - _MIN_ERASED) * uniform[0]) * IMAGE_SIZE**2
    root_aspect = _MAX_ASPECT ** (uniform[1] - 0.5)  # square root of height / width
    sides = torch.stack([area.sqrt() * root_aspect, area.sqrt() / root_aspect])  # (2, N, 1)
    starts = uniform[2:4] * (IMAGE_SIZE - sides)
    pixels = torch.arange(IMAGE_SIZE, device=uniform.device) + 0.5
    inside = (pixels > starts) & (pixels < starts + sides)  # (2, N, 28)
    is_erased = uniform[4].unsqueeze(-1) < probability  # (N, 1, 1)
    return (inside[0].unsqueeze(2) & inside[1].unsqueeze(1) & is_erased).unsqueeze(1)
