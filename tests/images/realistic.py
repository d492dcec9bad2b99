"""Realistic pictures of MNIST images, reproducible by seed. They are only for tests.

Paper, ink, light, size and position of each picture are drawn from the ranges below. Each kind of
picture adds one difficulty. A digit is drawn as its coverage of the paper, in [0, 1].
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

# Ranges of uniform distributions.
SIDE = (240, 900)  # pixels: the longer side of a picture
HEIGHT = (0.15, 0.8)  # a digit's height / the picture's shorter side
SMALL, LARGE = (0.05, 0.15), (0.8, 0.9)  # the same, for the kinds `small` and `edge`
CONTRAST = (0.5, 0.95)  # between ink and paper / the paper's brightness
FAINT = (0.25, 0.4)  # the same, for the kind `pencil`
SHADOW = (0.15, 0.4)  # share of the light that a shadow removes
BLUR = (0.01, 0.035)  # standard deviation of a blur / the digit's height
GRAIN = (0.0, 0.02)  # standard deviation of noise, where 1 is black to white
NOISE = (0.03, 0.08)  # the same, for the kind `noisy`
QUALITY = (30, 90)  # JPEG quality
TILT = (-3, 3)  # degrees: angle of ruled lines
SPECKS = (5, 60)  # number of specks

Plane = npt.NDArray[Any]  # floats, (H, W) or (H, W, 3), 0 black, 1 white
Random = np.random.Generator


@dataclass
class Scene:
    """The description of a picture, which a kind changes before it is rendered."""

    digit: Plane  # (28, 28), 0 paper, 1 ink
    random: Random
    paper: Plane = field(init=False)  # (3,)
    ink: Plane = field(init=False)  # (3,)
    height: float = field(init=False)  # the digit's height / the picture's shorter side
    width_change: float = 0.0  # of the strokes / the digit's height
    light: Plane | None = None
    marks: Plane | None = None  # (H, W), coverage of lines and specks on the paper
    marks_colour: Plane | None = None
    margin: float = 0.02  # smallest distance of the digit from the edge / the shorter side
    after: list[Callable[[Plane], Plane]] = field(default_factory=list)
    encode: "Callable[[Plane], bytes] | None" = None

    def __post_init__(self) -> None:
        random = self.random
        longer = random.uniform(*SIDE)
        shorter = longer * random.uniform(0.6, 1)
        sides = (round(longer), round(shorter))
        self.shape = sides if random.random() < 0.5 else sides[::-1]
        self.paper = random.uniform(0.75, 1) * (1 - random.uniform(0, 0.05, 3)).astype(np.float32)
        self.dark(CONTRAST)
        self.height = random.uniform(*HEIGHT)

    def dark(self, contrast: tuple[float, float], tint: float = 0.1) -> None:
        """Set an ink that is darker than the paper, with a slight colour."""
        share = self.random.uniform(*contrast)
        self.ink = self.paper * (1 - share) * (1 - self.random.uniform(0, tint, 3))

    @property
    def pixels(self) -> float:
        """The digit's height in pixels."""
        return self.height * min(self.shape)

    def coverage(self) -> Plane:
        """The digit at its position with sharp strokes, (H, W) in [0, 1]."""
        rows, columns = np.nonzero(self.digit > 0)
        box = self.digit[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        box = np.pad(box, 2)
        scale = self.pixels / (len(box) - 4)
        if max(box.shape[1] - 4, 1) * scale > 0.9 * self.shape[1]:
            scale = 0.9 * self.shape[1] / (box.shape[1] - 4)
        size = (max(1, round(box.shape[1] * scale)), max(1, round(box.shape[0] * scale)))
        drawn = cv2.resize(box, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
        if scale > 2:  # enlarged strokes stay sharp
            inside = (drawn > 0.45).astype(np.uint8)
            outside = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
            distance = outside - cv2.distanceTransform(inside, cv2.DIST_L2, 5)
            widest = float(-distance.min())
            change = max(self.width_change * self.pixels, 1.0 - widest * 0.7)
            drawn = np.clip(0.5 + change / 2 - distance, 0, 1)
        room_down = self.shape[0] - drawn.shape[0]
        room_right = self.shape[1] - drawn.shape[1]
        margin = self.margin * min(self.shape) - 2 * scale  # the box has a margin of two pixels
        low, high = min(margin, room_down / 2), max(room_down - margin, room_down / 2)
        left, right = min(margin, room_right / 2), max(room_right - margin, room_right / 2)
        top, start = round(self.random.uniform(low, high)), round(self.random.uniform(left, right))
        place = np.array([[1, 0, start], [0, 1, top]], dtype=np.float32)
        placed: Plane = cv2.warpAffine(drawn.astype(np.float32), place, self.shape[::-1])
        return placed

    def render(self) -> bytes:
        """The picture as a file."""
        covered = self.coverage()[..., None]
        paper = np.broadcast_to(self.paper, (*self.shape, 3))
        if self.marks is not None:
            colour = self.ink if self.marks_colour is None else self.marks_colour
            paper = paper + self.marks[..., None] * (colour - paper)
        picture = paper + covered * (
            np.minimum(self.ink, paper) - paper if self.is_dark else self.ink - paper
        )
        if self.light is not None:
            picture = picture * self.light[..., None]
        for change in self.after:
            picture = change(picture)
        noise = self.random.normal(0, self.random.uniform(*GRAIN), picture.shape)
        picture = np.clip(picture + noise, 0, 1).astype(np.float32)
        return (self.encode or as_png)(picture)

    @property
    def is_dark(self) -> bool:
        """Whether the ink is darker than the paper."""
        return bool(self.ink.mean() < self.paper.mean())


def eight_bits(picture: Plane) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def as_png(picture: Plane) -> bytes:
    return saved(eight_bits(picture), "PNG", compress_level=1)


def across(scene: Scene) -> Plane:
    """A gradient from 0 on one side of the picture to 1 on the other, at a random angle."""
    angle = scene.random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[: scene.shape[0], : scene.shape[1]].astype(np.float32)
    along = rows / scene.shape[0] * np.sin(angle) + columns / scene.shape[1] * np.cos(angle)
    along -= along.min()
    level: Plane = along / along.max()
    return level


def clean(scene: Scene) -> None:
    """Black on white, as in a drawing program."""
    scene.paper = np.ones(3, dtype=np.float32)
    scene.ink = np.zeros(3, dtype=np.float32)


def pencil(scene: Scene) -> None:
    """Faint, grey and grainy strokes."""
    scene.dark(FAINT, tint=0.0)
    grain = cv2.GaussianBlur(scene.random.random(scene.shape, dtype=np.float32), (0, 0), 0.8)
    scene.width_change = scene.random.uniform(-0.04, 0.0)
    paper = scene.paper
    scene.after.append(
        lambda picture: picture + (paper - picture) * np.clip(grain[..., None] - 0.5, 0, 1)
    )


def pen(scene: Scene) -> None:
    """Thin strokes, blue, red, green or black."""
    colours = ([0.1, 0.2, 0.65], [0.75, 0.1, 0.15], [0.05, 0.45, 0.2], [0.1, 0.1, 0.12])
    scene.ink = np.array(colours[scene.random.integers(4)], dtype=np.float32) * scene.paper
    scene.width_change = scene.random.uniform(-0.07, -0.03)
    scene.height = scene.random.uniform(0.25, HEIGHT[1])


def marker(scene: Scene) -> None:
    """Wide strokes in strong colours."""
    colours = (
        [0.05, 0.05, 0.05],
        [0.1, 0.15, 0.7],
        [0.8, 0.05, 0.1],
        [0.0, 0.5, 0.25],
        [0.5, 0.1, 0.6],
    )
    scene.ink = np.array(colours[scene.random.integers(5)], dtype=np.float32)
    scene.width_change = scene.random.uniform(0.0, 0.05)


def chalk(scene: Scene) -> None:
    """Light and uneven strokes on a wiped blackboard."""
    scene.paper = np.array([0.12, 0.2, 0.16], dtype=np.float32) * scene.random.uniform(0.5, 1.5)
    scene.ink = scene.random.uniform(0.7, 1) * np.array([1, 1, 0.95], dtype=np.float32)
    crumbs = cv2.GaussianBlur(scene.random.random(scene.shape, dtype=np.float32), (0, 0), 1.2)
    smear = cv2.resize(
        scene.random.random((4, 4), dtype=np.float32), scene.shape[::-1], interpolation=cv2.INTER_CUBIC
    )
    board = scene.paper
    scene.after += [
        lambda picture: picture + (board - picture) * np.clip(2.5 * (crumbs[..., None] - 0.5), 0, 0.8),
        lambda picture: picture + 0.06 * np.clip(smear, 0, 1)[..., None],
    ]


def coloured(scene: Scene) -> None:
    """A coloured ink on coloured paper."""
    scene.paper = scene.random.uniform(0.45, 1, 3).astype(np.float32)
    scene.dark((0.4, 0.9), tint=0.0)
    scene.ink = scene.ink * scene.random.uniform(0.4, 1, 3).astype(np.float32)


def light_on_dark(scene: Scene) -> None:
    """Light strokes on a dark background."""
    scene.paper = scene.random.uniform(0, 0.35, 3).astype(np.float32)
    scene.ink = scene.random.uniform(0.65, 1, 3).astype(np.float32)


def rules(scene: Scene, *, squares: bool = False) -> None:
    step = (
        scene.random.uniform(0.35, 0.9) * scene.pixels
        if not squares
        else scene.random.uniform(0.2, 0.5) * scene.pixels
    )
    width = max(1.0, scene.random.uniform(0.006, 0.02) * scene.pixels)
    angle = np.radians(scene.random.uniform(*TILT))
    rows, columns = np.mgrid[: scene.shape[0], : scene.shape[1]].astype(np.float32)
    down, right = (
        rows * np.cos(angle) + columns * np.sin(angle),
        columns * np.cos(angle) - rows * np.sin(angle),
    )

    def lines(along: Plane) -> Plane:
        middle = np.abs((along / step + scene.random.random()) % 1 - 0.5) * step
        return np.clip(0.5 + width / 2 - middle, 0, 1).astype(np.float32)

    scene.marks = np.maximum(lines(down), lines(right)) if squares else lines(down)
    colours = ([0.55, 0.7, 0.9], [0.6, 0.6, 0.6], [0.85, 0.6, 0.65])
    scene.marks_colour = np.array(colours[scene.random.integers(3)], dtype=np.float32) * scene.paper
    scene.dark((0.6, 0.95), tint=0.1)


def ruled(scene: Scene) -> None:
    """Ruled paper."""
    rules(scene)


def squared(scene: Scene) -> None:
    """Squared paper."""
    rules(scene, squares=True)


def shadow(scene: Scene) -> None:
    """A shadow with a soft edge across the picture."""
    edge = scene.random.uniform(0.2, 0.8)
    softness = scene.random.uniform(0.02, 0.3)
    strength = scene.random.uniform(*SHADOW)
    scene.light = 1 - strength / (1 + np.exp(-(across(scene) - edge) / softness * 4))


def uneven(scene: Scene) -> None:
    """Light from one side and darker corners."""
    strength = scene.random.uniform(*SHADOW)
    rows, columns = np.mgrid[: scene.shape[0], : scene.shape[1]].astype(np.float32)
    distance = np.hypot(rows / scene.shape[0] - 0.5, columns / scene.shape[1] - 0.5)
    scene.light = 1 - strength * (0.5 * across(scene) + 0.7 * distance)


def soft(scene: Scene) -> None:
    """Out of focus."""
    spread = scene.random.uniform(*BLUR) * scene.pixels
    scene.after.append(lambda picture: cv2.GaussianBlur(picture, (0, 0), max(spread, 0.3)))


def jpeg(scene: Scene) -> None:
    """Strong JPEG compression."""
    quality = int(scene.random.integers(*QUALITY))
    scene.encode = lambda picture: saved(eight_bits(picture), "JPEG", quality=quality)


def noisy(scene: Scene) -> None:
    """The noise of a photo in a dim room."""
    strength = scene.random.uniform(*NOISE)
    random = scene.random
    scene.after.append(lambda picture: picture + random.normal(0, strength, picture.shape))


def specks(scene: Scene) -> None:
    """Dust, crumbs and holes in the paper."""
    scene.marks = np.zeros(scene.shape, dtype=np.float32)
    for _ in range(int(scene.random.integers(*SPECKS))):
        centre = (
            int(scene.random.integers(scene.shape[1])),
            int(scene.random.integers(scene.shape[0])),
        )
        radius = max(1, round(scene.random.uniform(0.004, 0.02) * scene.pixels))
        cv2.circle(scene.marks, centre, radius, 1.0, -1, cv2.LINE_AA)


def small(scene: Scene) -> None:
    """A small digit in a large picture."""
    scene.height = scene.random.uniform(*SMALL)
    scene.shape = (max(600, scene.shape[0]), max(600, scene.shape[1]))


def edge(scene: Scene) -> None:
    """A digit as large as the picture, up to its edge."""
    scene.height = scene.random.uniform(*LARGE)
    scene.margin = 0.0


def orientation(scene: Scene) -> None:
    """Stored rotated or mirrored, with an EXIF orientation."""
    tag = int(scene.random.integers(1, 9))
    # EXIF orientation: the transformation from the upright picture to the stored one.
    stored: dict[int, Callable[[Image.Image], Image.Image]] = {
        1: lambda upright: upright,
        2: lambda upright: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda upright: upright.transpose(Image.Transpose.ROTATE_180),
        4: lambda upright: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda upright: upright.transpose(Image.Transpose.TRANSPOSE),
        6: lambda upright: upright.transpose(Image.Transpose.ROTATE_90),
        7: lambda upright: upright.transpose(Image.Transpose.TRANSVERSE),
        8: lambda upright: upright.transpose(Image.Transpose.ROTATE_270),
    }
    exif = Image.Exif()
    exif[0x0112] = tag
    scene.encode = lambda picture: saved(
        stored[tag](eight_bits(picture)), "JPEG", quality=85, exif=exif
    )


def other_modes(scene: Scene) -> None:
    """16 bits per pixel, a palette, CMYK, or transparent paper."""

    def encode(picture: Plane) -> bytes:
        kind = scene.random.integers(4)
        drawn = eight_bits(picture)
        if kind == 0:
            grey = np.rint(np.clip(picture.mean(axis=2), 0, 1) * 65_535).astype(np.uint16)
            return saved(Image.fromarray(grey), "PNG")
        if kind == 1:
            return saved(drawn.quantize(16), "PNG")
        if kind == 2:
            return saved(drawn.convert("CMYK"), "JPEG", quality=85)
        far = np.abs(picture - scene.paper).max(axis=2) / np.abs(scene.ink - scene.paper).max()
        drawn = eight_bits(np.broadcast_to(scene.ink, picture.shape))
        drawn.putalpha(eight_bits(np.clip(far * 1.1 - 0.1, 0, 1)))
        return saved(drawn, "PNG")

    scene.encode = encode


def photo(scene: Scene) -> None:
    """A phone's photo: shadow, colour, noise, blur and compression together."""
    pen(scene)
    shadow(scene)
    scene.width_change = scene.random.uniform(-0.04, 0.02)
    spread = scene.random.uniform(BLUR[0] / 2, BLUR[1] / 2) * scene.pixels
    scene.after.append(lambda picture: cv2.GaussianBlur(picture, (0, 0), max(spread, 0.3)))
    jpeg(scene)


KINDS: dict[str, Callable[[Scene], None]] = {
    kind.__name__: kind
    for kind in (
        *(clean, pencil, pen, marker, chalk, coloured, light_on_dark, ruled, squared, shadow, uneven),
        *(soft, jpeg, noisy, specks, small, edge, orientation, other_modes, photo),
    )
}


def make(kind: str, image: npt.NDArray[np.uint8], *, seed: tuple[int, ...]) -> bytes:
    """A picture file of one kind, of a 28×28 image (0 = paper, 255 = ink)."""
    scene = Scene(image.astype(np.float32) / 255, np.random.default_rng(seed))
    KINDS[kind](scene)
    return scene.render()
