"""Composed pages: what is written on them is what their labels and boxes say."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.images import center
from mnistctl.models.formats import ONNX
from mnistctl.pages import (
    camera,
    compose,
    doodles,
    fonts,
    glyphs,
    strokes,
    targets,
    templates,
    variants,
)
from mnistctl.pages.camera import Ink
from mnistctl.pages.canvas import Canvas
from mnistctl.pages.compose import Page
from mnistctl.pages.glyphs import GlyphBank


@pytest.fixture(scope="module")
def bank() -> GlyphBank:
    train = datasets.load("digits", "train")
    return glyphs.build_bank(train.images, train.labels, size=200, seed=0)


@pytest.fixture(scope="module")
def pages(bank: GlyphBank) -> list[Page]:
    return [compose.compose(bank, (0, number)) for number in range(60)]


@pytest.mark.parametrize("digit", range(10))
def test_every_template_of_a_digit_can_be_drawn(digit: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        lines, aspect = strokes.draw(digit, generator)

        assert 0.05 < aspect < 1.5
        assert all(np.isfinite(line).all() and line.shape[1] == 2 for line in lines)
        assert all((line > -0.6).all() and (line < 1.6).all() for line in lines)


@pytest.mark.parametrize("mark", templates.MARKS)
def test_every_mark_can_be_drawn(mark: str) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        field = glyphs.draw_lines(*strokes.draw_mark(mark, generator))

        assert 1 <= (field == 0).sum() < 500  # a thin line


def test_a_smooth_curve_passes_through_its_points_and_keeps_corners() -> None:
    points = np.array([[0, 0], [1, 0], [1, 0], [1, 1], [0, 2]], dtype=float)

    curve = strokes.smooth(points)

    assert all(np.abs(curve - point).sum(axis=1).min() < 1e-9 for point in points)
    before_corner = curve[curve[:, 0] < 1 - 1e-9]
    assert np.abs(before_corner[before_corner[:, 1] < 0.5][:, 1]).max() < 1e-9  # straight to the corner


def test_thinning_leaves_connected_lines_of_one_pixel() -> None:
    images = datasets.load("digits", "test").images[:40]
    thick = glyphs._enlarge(images)

    lines = glyphs.thin(thick)

    for before, line in zip(thick, lines, strict=True):
        parts = [cv2.connectedComponents(mask.astype(np.uint8))[0] for mask in (before, line)]
        assert parts[0] == parts[1]
        assert not (line & ~before).any()
        assert line.sum() < 0.5 * before.sum()
        blocks = line[:-1, :-1] & line[1:, :-1] & line[:-1, 1:] & line[1:, 1:]
        assert blocks.sum() <= 3


def test_a_bank_has_glyphs_of_every_digit(bank: GlyphBank) -> None:
    assert all(len(rows) > 10 for rows in bank.rows)
    assert bank.fields.shape == (800, glyphs.SIDE, glyphs.SIDE)
    assert (bank.fields.min(axis=(1, 2)) == 0).all()  # every glyph has a line


def test_digits_of_fonts_are_in_a_bank_as_lines_and_with_their_width(bank: GlyphBank) -> None:
    areas = (bank.fields == 0).sum(axis=(1, 2))
    lines, outlines = areas[400:600], areas[600:]

    assert np.array_equal(bank.has_width, np.arange(800) >= 600)
    assert np.median(lines) < 150 < np.median(outlines)


@pytest.mark.parametrize("name", [fonts.HANDWRITING, fonts.PRINT])
def test_every_character_of_a_sheet_fills_its_square(name: str) -> None:
    sheet = fonts.load(name)

    assert len(sheet.digits) > 200
    assert sheet.digits.shape[1:] == (10, fonts.CELL, fonts.CELL)
    assert sheet.letters.shape[1:] == (fonts.LETTERS, fonts.CELL, fonts.CELL)
    for shapes in sheet:
        heights, widths = shapes.any(axis=3).sum(axis=2), shapes.any(axis=2).sum(axis=2)
        sides = np.maximum(heights, widths)
        assert np.median(sides) == fonts.CELL
        assert sides.min() > fonts.CELL / 2  # hairlines of a few characters fade at this size


def test_most_printed_digits_that_the_bundled_model_was_trained_with_are_read_rightly() -> None:
    digits = fonts.load(fonts.PRINT).digits.reshape(-1, fonts.CELL, fonts.CELL)
    images = np.stack([center.fit(shape.astype(np.float32)) for shape in digits])

    outputs = models.open_predictor(models.bundled(ONNX))(images)

    assert (outputs.logits.argmax(axis=1) == np.arange(len(images)) % 10).mean() > 0.95


def test_variants_are_decided_by_the_seed_and_show_their_digit() -> None:
    train = datasets.load("digits", "train")

    images, labels = variants.draw(train.images, train.labels, 100, seed=0)
    again, _ = variants.draw(train.images, train.labels, 100, seed=0)

    assert np.array_equal(images, again)
    assert images.shape == (100, 28, 28)
    assert np.bincount(labels).tolist() == [10] * 10
    assert (images.max(axis=(1, 2)) > 100).all()
    outputs = models.open_predictor(models.bundled(ONNX))(images)
    assert (outputs.logits.argmax(axis=1) == labels).mean() >= 0.9


def test_doodles_differ_and_stay_in_their_field() -> None:
    generator = np.random.default_rng(0)
    fields = [doodles.doodle(generator) for _ in range(60)]

    assert all((field == 0).sum() > 20 for field in fields)
    assert len({field.tobytes() for field in fields}) == 60


@pytest.mark.parametrize("draw", [doodles.things, doodles.texture])
def test_a_picture_without_writing_has_the_size_asked_for(draw: Callable[..., Ink]) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        ink = draw(50, 70, generator)

        assert ink.shape == (50, 70)
        assert ink.dtype == np.float32
        assert ink.min() >= 0
        assert ink.max() <= 1


def test_a_page_is_decided_by_its_seed(bank: GlyphBank) -> None:
    first, second, other = (compose.compose(bank, seed) for seed in ((0, 1), (0, 1), (0, 2)))

    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(("height", "width"), [(64, 192), (96, 96), (320, 480)])
def test_pages_have_any_size(bank: GlyphBank, height: int, width: int) -> None:
    for number in range(20):
        page = compose.compose(bank, (1, number), height=height, width=width)

        assert page.image.shape == (height, width)
        assert page.image.dtype == np.uint8


def test_some_pictures_are_smaller_than_their_page(pages: list[Page]) -> None:
    is_surrounded = [not page.image[:4].any() and not page.image[:, :4].any() for page in pages]

    assert 15 <= sum(is_surrounded) <= 50
    for page in np.array(pages, dtype=object)[is_surrounded]:
        assert (page[1][:, :2] >= 4).all()


def test_large_pages_have_more_and_larger_digits(bank: GlyphBank) -> None:
    large = [compose.compose(bank, (2, number), height=480, width=640) for number in range(12)]

    counts = [len(page.labels) for page in large]
    heights = np.concatenate([page.boxes[:, 3] - page.boxes[:, 1] for page in large])
    assert 40 <= max(counts) <= 400
    assert np.median(heights) > 28


def test_cropping_moves_the_boxes_with_the_digits(bank: GlyphBank) -> None:
    ink = np.zeros((60, 150), dtype=np.float32)
    ink[20:40, 50:60] = 1
    canvas = Canvas(60, 150, bank, np.random.default_rng(0))
    canvas.ink, canvas.boxes, canvas.labels = ink, [(50, 20, 60, 40)], [3]

    canvas.crop()

    left, top, right, bottom = map(int, canvas.boxes[0])
    assert canvas.ink.shape[0] < 40
    assert canvas.ink.shape[1] < 30
    assert canvas.ink[top:bottom, left:right].all()
    assert canvas.ink.sum() == (bottom - top) * (right - left)


def test_boxes_are_on_the_page_and_have_labels(pages: list[Page]) -> None:
    labels = np.concatenate([page.labels for page in pages])
    boxes = np.concatenate([page.boxes for page in pages])

    assert set(labels.tolist()) == {-1, *range(10)}
    assert (boxes >= 0).all()
    assert (boxes <= [192, 64, 192, 64]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_some_pages_have_no_digits(pages: list[Page]) -> None:
    assert 3 <= sum(not len(page.labels) for page in pages) <= 20


def test_a_reader_of_single_digits_reads_what_the_labels_say(pages: list[Page]) -> None:
    predictor = models.open_predictor(models.bundled(ONNX))
    images, labels = [], []
    for page in pages:
        for box, label in zip(page.boxes.astype(int), page.labels, strict=True):
            left, top, right, bottom = box
            ink = page.image[top:bottom, left:right].astype(np.float32) / 255
            if label >= 0 and bottom - top >= 24 and ink.max() > 0.5:
                images.append(center.fit(np.where(ink > 0.35, ink, np.float32(0))))
                labels.append(label)

    answers = predictor(np.stack(images)).logits.argmax(axis=1)

    assert len(labels) > 60
    assert np.mean(answers == labels) > 0.7  # neighbours and patterns reach into some boxes


def test_targets_mark_the_centre_and_the_sides_of_every_digit(pages: list[Page]) -> None:
    for page in pages:
        heat, weight, sides = targets.of_page(page)

        assert heat.shape == (10, 16, 48)
        assert ((heat >= 0) & (heat <= 1)).all()
        for (left, top, right, bottom), label in zip(page.boxes, page.labels, strict=True):
            row = min(int((top + bottom) / 2 / targets.STRIDE), 15)
            column = min(int((left + right) / 2 / targets.STRIDE), 47)
            if label < 0:
                continue
            assert heat[label, row, column] == 1
            assert weight[0, row, column] == 1
            assert (sides[:, row, column] > 0).all()
        if not len(page.labels):
            assert not heat.any()
            assert not sides.any()


def test_targets_leave_digits_out_that_are_cut_off() -> None:
    image = np.zeros((64, 192), dtype=np.uint8)
    page = Page(image, np.array([[0, 8, 8, 40]], dtype=np.float32), np.array([-1]))

    heat, weight, sides = targets.of_page(page)

    assert not heat.any()
    assert not sides.any()
    assert (weight[0, 2:10, 0:2] == 0).all()
    assert weight.sum() == weight.size - 16


@pytest.mark.parametrize("contrast", [40, 120, 255])
def test_stretching_makes_paper_0_and_ink_255(contrast: int) -> None:
    pixels = np.full((40, 100), 255, dtype=np.uint8)
    pixels[10:20, 10:20] -= contrast

    stretched = camera.stretch(pixels)

    assert stretched[0, 0] == 0
    assert stretched[15, 15] == 255
