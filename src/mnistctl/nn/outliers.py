"""Pictures that are none of a dataset's classes, made up: what `familiarity` is fitted to tell apart.

That is outlier exposure. Whoever measures `familiarity` takes other letters, fonts and generators.

Source: Hendrycks et al. 2019, "Deep Anomaly Detection with Outlier Exposure".
"""

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mnistctl.images import center
from mnistctl.images.decode import Grey
from mnistctl.models.predictor import are_digits
from mnistctl.types import IMAGE_SIZE, Images

# Neither a digit nor like one: B, D, O, S, Z, l and their like are left out. So is about half of the
# other Latin letters, on which `scripts/measure_rejection.py` measures.
LETTERS = (
    "ACEMPUXacdmpurxΔΛΞΠΣΦΨΩαλμπψωДЖЛФЦШЩЪЫЮЯджлфцшщюяЂЊҖѢѪאגדהלמצקרשת"
    '#%&@+*=$€<>^~;:"√∞∑∇≠±÷×∩⊂⊃⊥∈∀∃→↑↺⇒★☺♣♥♪♯☎✓✗◆▲◐'
)
FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold")),
)  # matplotlib's own; what a font has no form for is drawn as an empty box, and left out
_CANVAS = 64  # pixels both ways, of what is drawn before it is centred

Random = np.random.Generator


def make(images: Images, class_names: Sequence[str], count: int, *, seed: int) -> Images:
    """Make up pictures of every kind.

    Args:
        images: of the classes, uint8 (N, 28, 28), N of 1 or more: some are made of these.
        class_names: where they are digits, letters and signs are made up too.
        count: how many to make.
        seed: another one gives other pictures.

    Returns:
        uint8 (count, 28, 28), 0 = paper, 255 = ink.
    """
    random = np.random.default_rng(seed)
    kinds: list[Callable[[], Images]] = [
        functools.partial(_scribble, random),
        functools.partial(_sticks, random),
        functools.partial(_noise, random),
        functools.partial(_blank, random),
        functools.partial(_lines, random),
        functools.partial(_texture, random),
        # The hardest to tell from a digit are made most often.
        *2 * [functools.partial(_two, images, random)],
        *3 * [functools.partial(_piece, images, random)],
    ]
    if are_digits(class_names):
        kinds += 4 * [functools.partial(_letter, random)]
    return np.stack([kinds[number % len(kinds)]() for number in range(count)])


@functools.cache
def _font(name: str) -> ImageFont.FreeTypeFont:
    spec = importlib.util.find_spec("matplotlib")  # found, not imported: that takes a while
    assert spec is not None  # noqa: S101 - it is among the dependencies
    assert spec.origin is not None  # noqa: S101
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"{name}.ttf", 40)


@functools.cache
def _forms() -> list[tuple[str, str]]:
    """Every font with every letter that it has a form for."""
    return [
        (name, letter)
        for name in FONTS
        for letter in LETTERS
        if bytes(_font(name).getmask(letter)) != bytes(_font(name).getmask("\U0010fffd"))
    ]


def _letter(random: Random) -> Images:
    picture = Image.new("L", (_CANVAS, _CANVAS))
    place = (_CANVAS / 2, _CANVAS / 2)
    name, letter = _forms()[random.integers(len(_forms()))]
    weight = int(random.integers(0, 3)) if random.random() < 0.3 else 0
    ImageDraw.Draw(picture).text(
        place, letter, fill=255, font=_font(name), anchor="mm", stroke_width=weight
    )
    return _centred(picture)


def _scribble(random: Random) -> Images:
    """A smooth line that wanders."""
    turns = np.cumsum(random.normal(0, random.uniform(0.2, 0.9), 60))
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    path = np.cumsum(steps, axis=0)
    return _drawn([path], random)


def _sticks(random: Random) -> Images:
    """Straight strokes that cross, or hang together at sharp angles."""
    count = int(random.integers(3, 7))
    if random.random() < 0.5:
        return _drawn([random.uniform(0, 1, (count + 1, 2))], random)
    return _drawn(list(random.uniform(0, 1, (count, 2, 2))), random)


def _drawn(paths: Sequence[npt.NDArray[np.float64]], random: Random) -> Images:
    """Paths, (points, 2) each, as a pen of some width draws them."""
    points = np.concatenate(paths)
    low, span = points.min(axis=0), max(float(np.ptp(points, axis=0).max()), 1e-6)
    picture = Image.new("L", (_CANVAS, _CANVAS))
    pen = ImageDraw.Draw(picture)
    width = int(random.integers(3, 9))
    for path in paths:
        scaled = (path - low) / span * (_CANVAS - 2 * width) + width
        pen.line([tuple(point) for point in scaled], fill=255, width=width, joint="curve")
    return _centred(picture)


def _noise(random: Random) -> Images:
    """Specks of any size, over all of the field or over a part of it."""
    side = int(random.choice([5, 7, 10, 14, 20, 28]))
    specks = random.random((side, side), dtype=np.float32)
    if random.random() < 0.6:
        specks = (specks < random.uniform(0.05, 0.7)) * random.uniform(0.4, 1)
    return _resized(specks, random)


def _blank(random: Random) -> Images:
    """Paper: even, shaded from side to side, or with a few specks."""
    level = random.uniform(0, 1) ** 2
    field = np.full((IMAGE_SIZE, IMAGE_SIZE), level, dtype=np.float32)
    kind = random.integers(3)
    if kind == 1:
        field = level * _ramp(random)
    elif kind == 2:
        field[:] = 0
        for row, column in random.integers(0, IMAGE_SIZE - 2, (int(random.integers(1, 4)), 2)):
            field[row : row + 2, column : column + 2] = random.uniform(0.2, 1)
    return _as_image(field + random.normal(0, random.uniform(0, 0.05), field.shape))


def _lines(random: Random) -> Images:
    """Ruled or squared paper, or one bar across the field."""
    share = random.uniform(0.1, 0.5)
    first = _stripes(random, angle=random.normal(0, 0.1), share=share)
    if random.random() < 0.4:
        second = _stripes(random, angle=random.normal(math.pi / 2, 0.1), share=share)
        first = np.maximum(first, second)
    elif random.random() < 0.4:
        first = _stripes(random, angle=random.uniform(0, math.pi), share=share)
    elif random.random() < 0.3:
        rows = np.arange(IMAGE_SIZE)
        bar = np.abs(rows - random.uniform(6, 22)) < random.uniform(0.6, 3)
        first = np.repeat(bar[:, None], IMAGE_SIZE, axis=1).astype(np.float32)
    return _as_image(first * random.uniform(0.3, 1))


def _stripes(random: Random, *, angle: float, share: float) -> Grey:
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE].astype(np.float32)
    along = rows * math.cos(angle) + columns * math.sin(angle)
    phase = along / random.uniform(3, 12) + random.random()
    inked: Grey = (phase % 1 < share).astype(np.float32)
    return inked


def _texture(random: Random) -> Images:
    """Waves, clouds, shading, and filled shapes."""
    kind = random.integers(4)
    if kind == 0:
        waves = sum(np.sin(2 * math.pi * _ramp(random) * random.uniform(1, 8)) for _ in range(3))
        return _as_image(0.5 + 0.3 * np.asarray(waves))
    if kind == 1:
        side = int(random.integers(3, 8))
        clouds = Image.fromarray(random.random((side, side), dtype=np.float32))
        soft = np.asarray(clouds.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))
        return _as_image((soft - 0.5) * random.uniform(1, 6) + 0.5)
    if kind == 2:
        return _as_image(_ramp(random) * random.uniform(0.5, 1.5))
    picture = Image.new("L", (_CANVAS, _CANVAS))
    pen = ImageDraw.Draw(picture)
    for corner in random.uniform(0, _CANVAS / 2, (int(random.integers(1, 4)), 2)):
        end = corner + random.uniform(_CANVAS / 4, _CANVAS / 2, 2)
        shape = pen.ellipse if random.random() < 0.5 else pen.rectangle
        shape([*corner, *end], fill=int(random.integers(100, 256)))
    return _centred(picture)


def _ramp(random: Random) -> Grey:
    """From 0 on one side to 1 on the other, at any angle."""
    angle = random.uniform(0, 2 * math.pi)
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE].astype(np.float32) / (IMAGE_SIZE - 1) - 0.5
    ramp: Grey = (rows * math.cos(angle) + columns * math.sin(angle)) / math.sqrt(2) + 0.5
    return ramp


def _two(images: Images, random: Random) -> Images:
    """Two images side by side, one below the other, or across one another."""
    first, second = (_inked(images[row]) for row in random.integers(len(images), size=2))
    kind = random.integers(3)
    if kind == 0:
        place = (0, max(1, first.shape[1] + int(random.integers(-3, 6))))
    elif kind == 1:
        place = (max(1, len(first) + int(random.integers(-3, 6))), 0)
    else:
        place = (int(random.integers(3, 9)), int(random.integers(3, 9)))
    field = np.zeros((2 * IMAGE_SIZE + 6, 2 * IMAGE_SIZE + 6), dtype=np.uint8)
    for part, (row, column) in ((first, (0, 0)), (second, place)):
        under = field[row : row + len(part), column : column + part.shape[1]]
        np.maximum(under, part, out=under)
    return _centred(Image.fromarray(field))


def _piece(images: Images, random: Random) -> Images:
    """About a half of an image's ink, cut off along a line, or a window of it."""
    image: Images = images[random.integers(len(images))]
    rows, columns = np.nonzero(image)
    if not len(rows):
        return image
    if random.random() < 0.5:
        angle = random.uniform(0, 2 * math.pi)
        along = rows * math.cos(angle) + columns * math.sin(angle)
        kept = along < np.quantile(along, random.uniform(0.25, 0.55))
    else:
        row, column = rows.mean() + random.normal(0, 4), columns.mean() + random.normal(0, 4)
        half = random.uniform(3, 6)
        kept = (np.abs(rows - row) < half) & (np.abs(columns - column) < half)
    part = np.zeros_like(image)
    part[rows[kept], columns[kept]] = image[rows[kept], columns[kept]]
    return _centred(Image.fromarray(part))


def _inked(image: Images) -> Images:
    """An image without its empty border; an empty one as it is."""
    box = Image.fromarray(image).getbbox()
    return image if box is None else image[box[1] : box[3], box[0] : box[2]]


def _resized(field: Grey, random: Random) -> Images:
    """A small field as large as an image, or as the ink in one."""
    smooth = random.choice([Image.Resampling.NEAREST, Image.Resampling.BILINEAR])
    picture = Image.fromarray(field).resize((IMAGE_SIZE, IMAGE_SIZE), smooth)
    if random.random() < 0.5:
        return _centred(picture)
    return _as_image(np.asarray(picture))


def _centred(picture: Image.Image) -> Images:
    """As the ink of any picture comes into the field; without ink: blank."""
    ink = np.asarray(picture, dtype=np.float32)
    most = ink.max()
    return center.fit(ink / most) if most > 0 else np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)


def _as_image(field: npt.NDArray[np.floating]) -> Images:
    image: Images = np.rint(np.clip(field, 0, 1) * 255).astype(np.uint8)
    return image
