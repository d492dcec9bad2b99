"""Models for numbers that tests need: a small one with random weights, and one that knows the truth."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mnistctl import datasets
from mnistctl.models import checkpoint
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import PageOutputs
from mnistctl.nn import nets
from mnistctl.nn.detector import PageDetector
from mnistctl.pages.compose import Page
from mnistctl.types import Images

ARGUMENTS = {"widths": [8, 8, 8, 8]}
METADATA = Metadata(
    task="numbers",
    arch="detector",
    arch_args=ARGUMENTS,
    parameters=1,
    dataset={"name": "digits", "sha256": ""},
    class_names=list("0123456789"),
    config={},
    metrics={},
    versions={},
    created="",
    threshold=0.3,
    calibration_images=1_000,
)


def save_random(path: Path) -> Path:
    """Write a checkpoint of a small detector that finds digits at random; returns its path."""
    torch.manual_seed(0)
    net = nets.build("detector", arch_args={"widths": (8, 8, 8, 8)}, classes=10)
    assert isinstance(net.head, nn.Conv2d)
    with torch.no_grad():
        net.head.weight[:10] = torch.randn(net.head.weight[:10].shape) * 10
        net.head.weight[10:] = torch.randn(net.head.weight[10:].shape) * 3
    weights = PageDetector(net).state_dict()
    tensors = {name: tensor.contiguous().numpy() for name, tensor in weights.items()}
    sha256 = datasets.load("digits", "test").sha256
    checkpoint.save(path, tensors, replace(METADATA, dataset={"name": "digits", "sha256": sha256}))
    return path


class Oracle:
    """A detector that answers what it is told, for pages that it is asked about in this order."""

    threads = 1
    metadata = METADATA

    def __init__(self, answers: Sequence[Sequence[tuple[int, float, Sequence[float]]]]) -> None:
        self._answers = [*answers]  # for each page: label, score and box of what is found

    def __call__(self, pages: Images) -> PageOutputs:
        count, height, width = pages.shape
        outputs = PageOutputs(
            np.zeros((count, 10, height // 4, width // 4), dtype=np.float32),
            np.zeros((count, 4, height // 4, width // 4), dtype=np.float32),
        )
        for scores, boxes in zip(*outputs, strict=True):
            for label, score, box in self._answers.pop(0):
                left, top, right, bottom = box
                row, column = int((top + bottom) / 8), int((left + right) / 8)
                scores[label, row, column] = score
                boxes[:, row, column] = box
        return outputs


def page(*digits: tuple[int, Sequence[float]]) -> Page:
    """An empty page with these labels and boxes; -1: a digit that is cut off."""
    boxes = np.array([box for _, box in digits], dtype=np.float32).reshape(-1, 4)
    labels = np.array([label for label, _ in digits], dtype=np.int64)
    return Page(np.zeros((64, 192), dtype=np.uint8), boxes, labels)
