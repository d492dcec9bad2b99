"""The page in a real browser. The tests are skipped where Playwright or Chromium is not installed."""

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from mnistctl import datasets, web
from mnistctl.models import html_model
from tests.web import replay
from tests.web.reader import THREE, Reader

SIZES = {"phone": (360, 740), "tablet": (768, 1024), "desktop": (1440, 1000)}


@pytest.fixture
def reader(browser: Any, page: Path) -> Iterator[Reader]:
    reader = Reader(browser, page, viewport={"width": 1440, "height": 1000})
    yield reader
    reader.context.close()


@pytest.mark.mnist
@pytest.mark.slow
def test_digits_of_mnist_that_a_pen_writes_again_are_read(reader: Reader) -> None:
    digits = datasets.load("mnist", "test")
    right = 0
    for image, label in zip(digits.images[:100], digits.labels[:100], strict=True):
        reader.tab.keyboard.press("Escape")
        for line in replay.strokes_of(image):
            stroke = [*line[:-1:2], line[-1]]  # half of the points are enough
            force = [math.sqrt(max(width / 0.075 - 0.5, 0) / 2) for _, _, width in stroke]
            reader.draw([(x, y) for x, y, _ in stroke], force=force)
        right += reader.label == str(label)

    assert right >= 99
    assert reader.messages == []


def test_the_page_asks_for_nothing_and_prints_nothing(reader: Reader, page: Path) -> None:
    reader.draw(THREE)

    assert reader.label == "3"
    assert "%" in reader.verdict
    assert reader.messages == []
    assert reader.requests == [page.as_uri()]


def test_the_net_and_the_evidence_are_shown(reader: Reader) -> None:
    reader.draw(THREE)

    reader.tab.wait_for_function(
        "() => { const pen = document.getElementById('first-evidence').getContext('2d');"
        " const { data } = pen.getImageData(0, 0, 28, 28);"
        " return data.some((value, index) => index % 4 === 0 && value > data[index + 2] + 60); }"
    )
    titles = reader.tab.locator("#layers p").all_inner_texts()
    assert titles[0] == "Convolution 5×5 · 32 maps of 24×24"
    assert titles[-1] == "Fully connected · 10 units"
    assert reader.tab.locator("#first-caption").inner_text() == "3"


def test_a_scribble_is_rejected(reader: Reader) -> None:
    zigzag = [(0.2, 0.2), (0.8, 0.3), (0.2, 0.4), (0.8, 0.5), (0.2, 0.6), (0.8, 0.7), (0.3, 0.8)]
    reader.draw([*zigzag, (0.7, 0.2), (0.4, 0.85)])

    assert reader.label == "?"
    assert reader.verdict.startswith("Rejected: not a digit. The closest is ")


def test_strokes_can_be_undone_and_cleared(reader: Reader) -> None:
    reader.draw([(0.5, 0.2), (0.5, 0.8)])
    reader.draw([(0.2, 0.5), (0.8, 0.5)])
    reader.tab.get_by_role("button", name="Undo").click()
    assert reader.label == "1"

    reader.tab.keyboard.press("Control+z")
    assert reader.label == "–"

    reader.draw(THREE)
    reader.tab.get_by_role("button", name="Clear").click()
    assert reader.label == "–"
    assert reader.verdict == "Draw, or open a picture."
    reader.tab.keyboard.press("Control+z")
    assert reader.label == "3"


def test_a_stroke_that_is_cleared_while_it_is_drawn_is_gone(reader: Reader) -> None:
    mouse = reader.tab.mouse
    mouse.move(*reader.place(0.3, 0.3).values())
    mouse.down()
    mouse.move(*reader.place(0.6, 0.6).values())
    reader.tab.keyboard.press("Escape")
    mouse.move(*reader.place(0.3, 0.6).values())
    mouse.up()

    assert reader.label == "–"
    assert reader.messages == []


def test_a_pen_takes_over_from_a_palm(browser: Any, page: Path) -> None:
    reader = Reader(browser, page, viewport={"width": 768, "height": 1024}, has_touch=True)
    palm = {"type": "touchStart", "touchPoints": [reader.place(0.9, 0.9)]}
    reader.devtools.send("Input.dispatchTouchEvent", palm)
    reader.draw(THREE)

    assert reader.label == "3"
    assert reader.messages == []
    reader.context.close()


def test_a_finger_draws_on_a_phone_without_scrolling(browser: Any, page: Path) -> None:
    reader = Reader(
        browser, page, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    reader.touch(THREE)

    assert reader.label == "3"
    assert reader.tab.evaluate("scrollY") == 0
    # Turned, the drawing is still there, and there is a place beside the pad to scroll with.
    for width, height in ((740, 360), (568, 320)):
        reader.tab.set_viewport_size({"width": width, "height": height})
        assert reader.label == "3"
        assert reader.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        box = reader.tab.locator("#pad").bounding_box()
        assert max(box["width"], box["height"]) < min(width, height)
    assert reader.messages == []
    reader.context.close()


def test_keys_alone_draw_undo_and_clear(reader: Reader) -> None:
    reader.tab.keyboard.press("Tab")
    assert reader.tab.evaluate("document.activeElement.id") == "pad"

    reader.tab.keyboard.press("Space")
    for _ in range(14):
        reader.tab.keyboard.press("ArrowDown")
    reader.tab.keyboard.press("Space")
    assert reader.label == "1"

    for name in ("undo", "clear", "file"):
        reader.tab.keyboard.press("Tab")
        assert reader.tab.evaluate("document.activeElement.id") == name
    reader.tab.keyboard.press("Escape")
    assert reader.label == "–"


@pytest.mark.parametrize("colours", ["black on white", "white on transparent"])
def test_a_picture_is_read_as_predict_reads_it(
    colours: str, reader: Reader, digits_test: tuple[Any, Any]
) -> None:
    images, labels = digits_test
    ink = Image.fromarray(images[np.flatnonzero(labels == 3)[0]]).resize((280, 280))
    picture = Image.fromarray(255 - np.asarray(ink))
    if colours == "white on transparent":
        picture = Image.new("RGBA", ink.size, "white")
        picture.putalpha(ink)
    content = io.BytesIO()
    picture.save(content, "PNG")
    file = {"name": "three.png", "mimeType": "image/png", "buffer": content.getvalue()}

    reader.tab.locator("#file").set_input_files([file])

    reader.tab.wait_for_function("() => document.getElementById('label').textContent === '3'")


def test_a_dropped_picture_is_read_and_another_file_is_refused(reader: Reader, picture: Path) -> None:
    drop = """async ([bytes, type]) => {
        const file = new File([new Uint8Array(bytes)], "dropped", { type });
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(file);
        document.dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
    }"""
    reader.tab.evaluate(drop, [list(picture.read_bytes()), "image/png"])
    reader.tab.wait_for_function("() => document.getElementById('label').textContent === '3'")

    reader.tab.evaluate(drop, [list(b"not a picture"), "text/plain"])
    reader.tab.wait_for_function(
        "() => document.getElementById('verdict').textContent.startsWith('The browser cannot open')"
    )


def test_undo_brings_back_the_drawing_before_a_picture(reader: Reader, picture: Path) -> None:
    reader.draw([(0.5, 0.2), (0.5, 0.8)])
    reader.tab.locator("#file").set_input_files(picture)
    reader.tab.wait_for_function("() => document.getElementById('label').textContent === '3'")

    reader.tab.get_by_role("button", name="Undo").click()

    assert reader.label == "1"


def test_long_class_names_stay_inside_the_page(browser: Any, page: Path, tmp_path: Path) -> None:
    model = html_model.read(page)
    model.metadata["class_names"] = [f"{name}{'abcdefgh' * 6}" for name in "0123456789"]
    text = web.build_page(model=msgspec.json.encode(model).decode(), footer="")
    (tmp_path / "long.html").write_text(text, "utf-8")
    reader = Reader(browser, tmp_path / "long.html", viewport={"width": 360, "height": 740})
    reader.draw(THREE)

    assert reader.label.startswith("3abcdefgh")
    assert reader.tab.locator("#title").inner_text() == "Draw one of these classes"
    assert reader.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    reader.context.close()


def test_every_part_has_a_name_for_screen_readers(reader: Reader) -> None:
    reader.draw(THREE)
    reader.tab.wait_for_function("() => document.getElementById('status').textContent !== ''")
    snapshot = reader.tab.locator("body").aria_snapshot()

    assert 'application "Drawing pad"' in snapshot
    assert "status: 3. Probability" in snapshot
    for name in ("Undo", "Clear", "Open a picture"):
        assert f'button "{name}"' in snapshot
    assert 'img "The image that the model sees"' in snapshot
    assert reader.tab.locator("canvas:not([aria-label])").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_text_has_contrast_and_nothing_is_cut_off(
    size: str, scheme: str, browser: Any, page: Path
) -> None:
    width, height = SIZES[size]
    reader = Reader(browser, page, viewport={"width": width, "height": height}, color_scheme=scheme)
    reader.draw(THREE)
    reader.settle()

    assert reader.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    colours = reader.tab.evaluate(
        """() => [...document.querySelectorAll("h1, h2, p, button, .share, figcaption, footer, #label")]
        .map((item) => {
          let paper = item;
          const back = () => getComputedStyle(paper).backgroundColor;
          while (back() === "rgba(0, 0, 0, 0)") paper = paper.parentElement;
          return [getComputedStyle(item).color, back()];
        })"""
    )
    for pair in colours:
        assert _contrast(*pair) >= 4.5, pair  # WCAG 2.2, level AA
    reader.context.close()


def _contrast(first: str, second: str) -> float:
    """The ratio of WCAG 2.2 for two colours such as "rgb(1, 2, 3)"."""

    def luminance(colour: str) -> float:
        channels = np.array([int(part) for part in colour[4:-1].split(",")]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)
