"""Synthetic out-of-distribution images, used to fit the familiarity score.

This is outlier exposure. Measure familiarity with other fonts and generators than these.

Source: Hendrycks et al. 2019, "Deep Anomaly Detection with Outlier Exposure".
"""

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from mnistctl.images import center
from mnistctl.images.decode import Grey
from mnistctl.models.predictor import are_digits
from mnistctl.pages import doodles, fonts, glyphs
from mnistctl.types import IMAGE_SIZE, Images

# Letters and signs that do not look like a digit, so no B, D, O, S, Z or l. About half of the other
# Latin letters are left out because `scripts/measure_rejection.py` measures with them.
LETTERS = (
    "ACEMPUXacdmpurxΔΛΞΠΣΦΨΩαλμπψωДЖЛФЦШЩЪЫЮЯджлфцшщюяЂЊҖѢѪאגדהלמצקרשת"
    '#%&@+*=$€<>^~;:"√∞∑∇≠±÷×∩⊂⊃⊥∈∀∃→↑↺⇒★☺♣♥♪♯☎✓✗◆▲◐'
)
FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold")),
)  # matplotlib comes with them
_CANVAS_SIDE = 64  # pixels: side of a drawing before it is fitted into an image

Random = np.random.Generator


def make(images: Images, class_names: Sequence[str], count: int, *, seed: int) -> Images:
    """Make out-of-distribution images of every kind.

    Args:
        images: images of the classes, uint8 (N, 28, 28), N is 1 or more; some kinds are made from them.
        class_names: names of the classes; letters and signs are made only if all are digits.
        count: the number of images to make.
        seed: seed of the random generator.

    Returns:
        uint8 (count, 28, 28), 0 = paper, 255 = ink.
    """
    random = np.random.default_rng(seed)
    join_two = functools.partial(_join_two, images)
    cut_piece = functools.partial(_cut_piece, images)
    kinds: list[Callable[[Random], Images]] = [
        _draw_scribble,
        _draw_doodle,
        _draw_sticks,
        _make_noise,
        _make_blank,
        _make_lines,
        _make_texture,
    ]
    # The kinds that are hardest to tell from a digit are made most often.
    kinds += [join_two] * 2 + [cut_piece] * 3
    if are_digits(class_names):
        kinds += [_draw_letter] * 4 + [_write_letter] * 3
    return np.stack([kinds[number % len(kinds)](random) for number in range(count)])


@functools.cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    spec = importlib.util.find_spec("matplotlib")  # importing it takes 0.3 s
    assert spec is not None  # noqa: S101 - matplotlib is a dependency
    assert spec.origin is not None  # noqa: S101
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"{name}.ttf", 40)


@functools.cache
def _list_glyphs() -> list[tuple[str, str]]:
    """(font, letter) for each letter that a font has; it draws an empty box for others."""
    return [
        (name, letter)
        for name in FONTS
        for letter in LETTERS
        if bytes(_font(name).getmask(letter)) != bytes(_font(name).getmask("\U0010fffd"))
    ]


def _draw_letter(random: Random) -> Images:
    picture = Image.new("L", (_CANVAS_SIDE, _CANVAS_SIDE))
    middle = (_CANVAS_SIDE / 2, _CANVAS_SIDE / 2)
    name, letter = _list_glyphs()[random.integers(len(_list_glyphs()))]
    weight = int(random.integers(0, 3)) if random.random() < 0.3 else 0
    ImageDraw.Draw(picture).text(
        middle, letter, fill=255, font=_font(name), anchor="mm", stroke_width=weight
    )
    return _fit(picture)


def _write_letter(random: Random) -> Images:
    """A letter of a font that resembles handwriting."""
    letters = fonts.load(fonts.HANDWRITING).letters
    letter = letters[random.integers(letters.shape[0]), random.integers(letters.shape[1])]
    picture = Image.fromarray(letter.astype(np.uint8) * 255)
    growth = int(random.choice([1, 3, 5]))  # pixels that a pixel of ink becomes
    return _fit(ImageOps.expand(picture, 4).filter(ImageFilter.MaxFilter(growth)))


def _draw_doodle(random: Random) -> Images:
    """A doodle as on composed pages."""
    distance = doodles.doodle(random) / glyphs.DISTANCE_UNIT
    ink = distance < random.uniform(0.8, 4)
    return _fit(Image.fromarray(ink.astype(np.uint8) * 255))


def _draw_scribble(random: Random) -> Images:
    """A smooth line with random turns."""
    turns = np.cumsum(random.normal(0, random.uniform(0.2, 0.9), 60))
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    path = np.cumsum(steps, axis=0)
    return _draw_paths([path], random)


def _draw_sticks(random: Random) -> Images:
    """Straight strokes that cross, or a line with sharp corners."""
    count = int(random.integers(3, 7))
    if random.random() < 0.5:
        return _draw_paths([random.uniform(0, 1, (count + 1, 2))], random)
    return _draw_paths(list(random.uniform(0, 1, (count, 2, 2))), random)


def _draw_paths(paths: Sequence[npt.NDArray[np.float64]], random: Random) -> Images:
    """Draw paths, (points, 2) each, with a pen of random width."""
    points = np.concatenate(paths)
    low, span = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 1e-6)
    picture = Image.new("L", (_CANVAS_SIDE, _CANVAS_SIDE))
    pen = ImageDraw.Draw(picture)
    width = int(random.integers(3, 9))
    for path in paths:
        scaled = (path - low) / span * (_CANVAS_SIDE - 2 * width) + width
        pen.line([tuple(point) for point in scaled], fill=255, width=width, joint="curve")
    return _fit(picture)


def _make_noise(random: Random) -> Images:
    """Random specks of random size, all over the image or only where the ink would be."""
    side = int(random.choice([5, 7, 10, 14, 20, 28]))
    specks = random.random((side, side), dtype=np.float32)
    if random.random() < 0.6:
        specks = (specks < random.uniform(0.05, 0.7)) * random.uniform(0.4, 1)
    return _enlarge(specks, random)


def _make_blank(random: Random) -> Images:
    """Paper: uniform, with a gradient, or with a few specks."""
    level = random.uniform(0, 1) ** 2
    field = np.full((IMAGE_SIZE, IMAGE_SIZE), level, dtype=np.float32)
    kind = random.integers(3)
    if kind == 1:
        field = level * _gradient(random)
    elif kind == 2:
        field[:] = 0
        for row, column in random.integers(0, IMAGE_SIZE - 2, (int(random.integers(1, 4)), 2)):
            field[row : row + 2, column : column + 2] = random.uniform(0.2, 1)
    return _as_image(field + random.normal(0, random.uniform(0, 0.05), field.shape))


def _make_lines(random: Random) -> Images:
    """Ruled or squared paper, or one bar across the image."""
    share = random.uniform(0.1, 0.5)
    lines = _stripes(random, angle=random.normal(0, 0.1), share=share)
    if random.random() < 0.4:
        across = _stripes(random, angle=random.normal(math.pi / 2, 0.1), share=share)
        lines = np.maximum(lines, across)
    elif random.random() < 0.4:
        lines = _stripes(random, angle=random.uniform(0, math.pi), share=share)
    elif random.random() < 0.3:
        rows = np.arange(IMAGE_SIZE)
        bar = np.abs(rows - random.uniform(6, 22)) < random.uniform(0.6, 3)
        lines = np.repeat(bar[:, None], IMAGE_SIZE, axis=1).astype(np.float32)
    return _as_image(lines * random.uniform(0.3, 1))


def _stripes(random: Random, *, angle: float, share: float) -> Grey:
    """Parallel stripes, (28, 28), of which `share` is ink; `angle` is in radians."""
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE].astype(np.float32)
    along = rows * math.cos(angle) + columns * math.sin(angle)
    phase = along / random.uniform(3, 12) + random.random()
    stripes: Grey = (phase % 1 < share).astype(np.float32)
    return stripes


def _make_texture(random: Random) -> Images:
    """Waves, clouds, a gradient, or filled shapes."""
    kind = random.integers(4)
    if kind == 0:
        waves = sum(np.sin(2 * math.pi * _gradient(random) * random.uniform(1, 8)) for _ in range(3))
        return _as_image(0.5 + 0.3 * np.asarray(waves))
    if kind == 1:
        side = int(random.integers(3, 8))
        clouds = Image.fromarray(random.random((side, side), dtype=np.float32))
        smooth = np.asarray(clouds.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))
        return _as_image((smooth - 0.5) * random.uniform(1, 6) + 0.5)
    if kind == 2:
        return _as_image(_gradient(random) * random.uniform(0.5, 1.5))
    picture = Image.new("L", (_CANVAS_SIDE, _CANVAS_SIDE))
    pen = ImageDraw.Draw(picture)
    for corner in random.uniform(0, _CANVAS_SIDE / 2, (int(random.integers(1, 4)), 2)):
        end = corner + random.uniform(_CANVAS_SIDE / 4, _CANVAS_SIDE / 2, 2)
        shape = pen.ellipse if random.random() < 0.5 else pen.rectangle
        shape([*corner, *end], fill=int(random.integers(100, 256)))
    return _fit(picture)


def _gradient(random: Random) -> Grey:
    """A gradient, (28, 28), from 0 on one side to 1 on the other, at a random angle."""
    angle = random.uniform(0, 2 * math.pi)
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE].astype(np.float32) / (IMAGE_SIZE - 1) - 0.5
    gradient: Grey = (rows * math.cos(angle) + columns * math.sin(angle)) / math.sqrt(2) + 0.5
    return gradient


def _join_two(images: Images, random: Random) -> Images:
    """Two images side by side, one below the other, or overlapping."""
    first, second = (_crop(images[row]) for row in random.integers(len(images), size=2))
    kind = random.integers(3)
    if kind == 0:
        place = (0, max(1, first.shape[1] + int(random.integers(-3, 6))))
    elif kind == 1:
        place = (max(1, len(first) + int(random.integers(-3, 6))), 0)
    else:
        place = (int(random.integers(3, 9)), int(random.integers(3, 9)))
    field = np.zeros((2 * IMAGE_SIZE + 6, 2 * IMAGE_SIZE + 6), dtype=np.uint8)
    for image, (row, column) in ((first, (0, 0)), (second, place)):
        area = field[row : row + len(image), column : column + image.shape[1]]
        np.maximum(area, image, out=area)
    return _fit(Image.fromarray(field))


def _cut_piece(images: Images, random: Random) -> Images:
    """About half of an image's ink, on one side of a line or inside a square."""
    image: Images = images[random.integers(len(images))]
    rows, columns = np.nonzero(image)
    if not len(rows):
        return image
    if random.random() < 0.5:
        angle = random.uniform(0, 2 * math.pi)
        along = rows * math.cos(angle) + columns * math.sin(angle)
        is_kept = along < np.quantile(along, random.uniform(0.25, 0.55))
    else:
        row, column = rows.mean() + random.normal(0, 4), columns.mean() + random.normal(0, 4)
        half = random.uniform(3, 6)
        is_kept = (np.abs(rows - row) < half) & (np.abs(columns - column) < half)
    piece = np.zeros_like(image)
    piece[rows[is_kept], columns[is_kept]] = image[rows[is_kept], columns[is_kept]]
    return _fit(Image.fromarray(piece))


def _crop(image: Images) -> Images:
    """Remove the empty border of an image; an empty image stays as it is."""
    box = Image.fromarray(image).getbbox()
    return image if box is None else image[box[1] : box[3], box[0] : box[2]]


def _enlarge(field: Grey, random: Random) -> Images:
    """Enlarge a small field to the whole image, or to the part of it that ink takes."""
    resampling = random.choice([Image.Resampling.NEAREST, Image.Resampling.BILINEAR])
    picture = Image.fromarray(field).resize((IMAGE_SIZE, IMAGE_SIZE), resampling)
    if random.random() < 0.5:
        return _fit(picture)
    return _as_image(np.asarray(picture))


def _fit(picture: Image.Image) -> Images:
    """Fit a drawing into an image like the ink of a picture; without ink, the image is blank."""
    ink = np.asarray(picture, dtype=np.float32)
    strongest = ink.max()
    if not strongest:
        return np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    return center.fit(ink / strongest)


def _as_image(field: npt.NDArray[np.floating]) -> Images:
    """Convert values, clipped to [0, 1], to an image."""
    image: Images = np.rint(np.clip(field, 0, 1) * 255).astype(np.uint8)
    return image
