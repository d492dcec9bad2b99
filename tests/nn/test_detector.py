"""The detector of digits learns to find them, and its grid states what its targets say."""

import numpy as np
import pytest
import torch

from mnistctl import datasets
from mnistctl.nn import detector
from mnistctl.pages import compose, glyphs, targets
from mnistctl.pages.compose import Page


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    train = datasets.load("digits", "train")
    bank = glyphs.build_bank(train.images, train.labels, size=100, seed=0)
    return [compose.compose(bank, (0, number)) for number in range(8)]


def batch(pages: list[Page]) -> tuple[torch.Tensor, ...]:
    images = torch.from_numpy(np.stack([page.image for page in pages])).float()[:, None] / 255
    arrays = zip(*map(targets.of_page, pages), strict=True)
    return images, *(torch.from_numpy(np.stack(values)) for values in arrays)


def test_the_grid_has_a_quarter_of_the_pages_resolution() -> None:
    net = detector.Detector(10, widths=(8, 8, 8, 8)).eval()

    assert net(torch.zeros(2, 1, 64, 192)).shape == (2, 14, 16, 48)
    assert net(torch.zeros(1, 1, 160, 32)).shape == (1, 14, 40, 8)


def test_decoding_the_targets_gives_the_boxes_and_the_labels(pages: list[Page]) -> None:
    _, heat, _, boxes = batch(pages)
    grid = torch.cat([(heat.clamp(1e-6, 1 - 1e-6)).logit(), boxes.clamp_min(1e-3).log()], dim=1)

    scores, corners = detector.decode(grid, classes=10)

    for number, page in enumerate(pages):
        for box, label in zip(page.boxes, page.labels, strict=True):
            row, column = int((box[1] + box[3]) / 8), int((box[0] + box[2]) / 8)
            if label >= 0:
                assert scores[number, label, min(row, 15), min(column, 47)] > 0.9
                found = corners[number, :, min(row, 15), min(column, 47)].numpy()
                # A thin digit may lie beside the centre of its cell, 4 pixels wide.
                assert np.abs(found - box).max() < 2.5


def test_the_loss_is_lowest_for_the_targets_and_ignores_digits_that_are_cut_off(
    pages: list[Page],
) -> None:
    _, heat, weight, boxes = batch(pages)
    right = torch.cat([(heat.clamp(1e-6, 1 - 1e-6)).logit(), boxes.clamp_min(1e-3).log()], dim=1)
    blank = torch.cat([torch.full_like(heat, -4.0), torch.zeros_like(boxes)], dim=1)
    moved = right.roll(3, dims=3)
    on_cut_off = torch.where(weight == 0, 5.0, right[:, :10])

    best = detector.loss(right, heat, weight, boxes)

    assert best < detector.loss(blank, heat, weight, boxes)
    assert best < detector.loss(moved, heat, weight, boxes)
    assert detector.loss(torch.cat([on_cut_off, right[:, 10:]], dim=1), heat, weight, boxes) == best


def test_a_detector_learns_the_digits_of_a_few_pages(pages: list[Page]) -> None:
    images, heat, weight, boxes = batch(pages)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = detector.Detector(10, widths=(8, 16, 24, 32))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)

    for _ in range(120):
        optimizer.zero_grad()
        loss = detector.loss(net(images), heat, weight, boxes)
        loss.backward()
        optimizer.step()

    scores, _ = detector.decode(net(images), classes=10)
    expected = heat == 1
    found = scores > 0.3
    assert expected.sum() > 20
    assert (found & expected).sum() / expected.sum() > 0.9
    assert (found & expected).sum() / found.sum() > 0.8
