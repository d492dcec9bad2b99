"""Augmentation: a random affine map for each image of a batch, on the device. Never a flip."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mnistctl.config import TrainConfig
from mnistctl.predictor import IMAGE_SIZE


def affine(images: Tensor, config: TrainConfig) -> Tensor:
    """Rotate, scale, shear and shift every image by amounts of its own; what comes in is paper.

    Args:
        images: float32 (N, 1, 28, 28), 0 = paper.
        config: how far, either way: `rotate` degrees, `scale` (a factor of e^±scale), `shear`
            (pixels sideways a pixel of height) and `shift` pixels. All 0: the images as they are.

    Draws from torch's global generator of the device.
    """
    if not (config.rotate or config.scale or config.shear or config.shift):
        return images
    amounts = torch.rand(5, len(images), device=images.device).mul(2).sub(1)
    angle = amounts[0] * math.radians(config.rotate)
    zoom = torch.exp(amounts[1] * config.scale)
    shear = amounts[2] * config.shear
    shift = amounts[3:] * (2 * config.shift / IMAGE_SIZE)  # grid_sample counts from -1 to 1
    cosine, sine = zoom * torch.cos(angle), zoom * torch.sin(angle)
    rows = [cosine, shear * cosine - sine, shift[0], sine, shear * sine + cosine, shift[1]]
    maps = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
