"""The detector of digits: a fully convolutional net that finds each digit's place and class on a page.

It sees the page at a quarter of its resolution. For each cell of that grid it computes, per class, how
likely the cell is the centre of such a digit, and how far the digit's box reaches in each direction.

Source: Zhou et al. 2019, "Objects as Points".
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistctl.pages.targets import STRIDE

_FOCUS, _NEGATIVE_FOCUS = 2.0, 4.0  # exponents of the focal loss, as in the source
_BOX_WEIGHT = 0.5  # of the boxes' loss
_INITIAL_BIAS = -4.0  # a fresh net finds few digits


class Detector(nn.Module):
    """Convolutions with skip connections, as a U-Net has them.

    Takes pages, float32 (N, 1, H, W), 0 = paper, 1 = ink, H and W multiples of 16. Returns float32
    (N, classes + 4, H / 4, W / 4): a logit per class, and the logarithms of the distances in cells from
    the cell's centre to the left, upper, right and lower side of the box.
    """

    def __init__(self, classes: int, *, widths: Sequence[int]) -> None:
        super().__init__()
        stem, fine, middle, coarse = widths
        self.stem = nn.Sequential(_conv(1, stem, stride=2), _conv(stem, stem))
        self.fine = nn.Sequential(_conv(stem, fine, stride=2), _Residual(fine))
        self.middle = _down(fine, middle)
        self.coarse = _down(middle, coarse)
        self.to_middle = _conv(coarse, middle, kernel=1)
        self.merge_middle = _Residual(middle)
        self.to_fine = _conv(middle, fine, kernel=1)
        self.merge_fine = nn.Sequential(_Residual(fine), _Residual(fine))
        self.head = nn.Conv2d(fine, classes + 4, 1)
        bias = torch.cat([torch.full((classes,), _INITIAL_BIAS), torch.zeros(4)])
        self.head.bias = nn.Parameter(bias)
        nn.init.zeros_(self.head.weight)

    def forward(self, pages: Tensor) -> Tensor:
        """See the class."""
        fine = self.fine(self.stem(pages))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = self.merge_middle(middle + _double(self.to_middle(coarse)))
        fine = self.merge_fine(fine + _double(self.to_fine(middle)))
        grid: Tensor = self.head(fine)
        return grid


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class _Residual(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(maps + self.second(self.first(maps)))


def _down(inputs: int, outputs: int) -> nn.Sequential:
    """Half the resolution."""
    return nn.Sequential(_conv(inputs, outputs, stride=2), _Residual(outputs), _Residual(outputs))


def _double(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2.0, mode="nearest")


class PageDetector(nn.Module):
    """A detector with its preprocessing and its decoding.

    A call takes raw pages, uint8 (N, H, W), 0 = paper, 255 = ink, H and W multiples of 16, and returns
    scores and boxes; see `decode`.
    """

    def __init__(self, net: nn.Module, *, classes: int = 10) -> None:
        super().__init__()
        self.net = net
        self.classes = classes

    def forward(self, pages: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        return decode(self.net(scale_pixels(pages)), classes=self.classes)


def scale_pixels(pages: Tensor) -> Tensor:
    """Convert raw pages, uint8 (N, H, W), to float32 (N, 1, H, W) in [0, 1]."""
    pixels = pages.unsqueeze(1).to(torch.float32).div(255)
    return pixels.contiguous(memory_format=torch.channels_last)


def loss(grid: Tensor, heat: Tensor, weight: Tensor, boxes: Tensor) -> Tensor:
    """The loss of a batch, per digit.

    Args:
        grid: the detector's output, float32 (N, C + 4, H, W).
        heat: float32 (N, C, H, W) in [0, 1]: 1 at the centre of a digit, falling off around it.
        weight: float32 (N, 1, H, W): 0 where it does not matter what the detector finds.
        boxes: float32 (N, 4, H, W): near the centre of a digit the distances in cells to the sides of
            its box; 0 elsewhere.
    """
    classes = heat.shape[1]
    logits, distances = grid[:, :classes], grid[:, classes:]
    probability = logits.sigmoid()
    is_centre = heat == 1
    positive = F.logsigmoid(logits) * (1 - probability) ** _FOCUS
    negative = F.logsigmoid(-logits) * probability**_FOCUS * (1 - heat) ** _NEGATIVE_FOCUS
    focal = -torch.where(is_centre, positive, negative) * weight
    has_box = boxes[:, :1] > 0
    difference = (distances - boxes.clamp_min(1e-3).log()).abs() * has_box
    digits = is_centre.sum().clamp_min(1)
    return focal.sum() / digits + _BOX_WEIGHT * difference.sum() / has_box.sum().clamp_min(1)


@torch.no_grad()
def count_correct(grid: Tensor, heat: Tensor, weight: Tensor, *, score: float) -> tuple[Tensor, Tensor]:
    """The digits that are found with the right label, and the digits and false alarms together.

    Args:
        grid: the detector's output, float32 (N, C + 4, H, W).
        heat: see `loss`.
        weight: see `loss`.
        score: the lowest score of a digit, in [0, 1].

    Returns:
        Two counts, int64 (). A digit is found if the highest score near its centre is that of its
        label, and not below `score`. A false alarm is a maximum of the scores away from all digits.
    """
    likelihood = grid[:, : heat.shape[1]].sigmoid()
    is_centre = heat == 1
    near = F.max_pool2d(likelihood, 3, 1, 1)
    highest = near.amax(dim=1, keepdim=True)
    is_correct = is_centre & (near == highest) & (near >= score)
    strongest = likelihood.amax(dim=1, keepdim=True)
    is_digit = is_centre.any(dim=1, keepdim=True)
    is_near_digit = F.max_pool2d(is_digit.float(), 5, 1, 2) > 0
    is_false = (strongest == highest) & (strongest >= score) & ~is_near_digit & (weight > 0)
    return is_correct.sum(), is_digit.sum() + is_false.sum()


def decode(grid: Tensor, *, classes: int) -> tuple[Tensor, Tensor]:
    """The digits of pages, as the grid states them.

    Args:
        grid: the detector's output, float32 (N, classes + 4, H, W).
        classes: the number of classes.

    Returns:
        Scores, float32 (N, classes, H, W) in [0, 1]: how likely a cell is the centre of such a digit;
        0 for all classes where a neighbouring cell is more likely to be one. Boxes, float32
        (N, 4, H, W): left, top, right and bottom in pixels of the page.
    """
    likelihood = grid[:, :classes].sigmoid()
    strongest = likelihood.amax(dim=1, keepdim=True)
    scores = likelihood * (strongest == F.max_pool2d(strongest, 3, 1, 1))
    left, top, right, bottom = grid[:, classes:].exp().unbind(dim=1)
    rows, columns = grid.shape[2:]
    y = torch.arange(rows, device=grid.device)[:, None] + 0.5
    x = torch.arange(columns, device=grid.device) + 0.5
    return scores, STRIDE * torch.stack([x - left, y - top, x + right, y + bottom], dim=1)
