"""`--annotate` and `--explain` show the picture as it was decoded for the prediction."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.axes import Axes
from PIL import Image

import mnistctl
from mnistctl import datasets
from mnistctl.errors import UsageError
from mnistctl.images import decode
from mnistctl.models.predictor import Outputs
from mnistctl.types import Images

SIDE = 240  # pixels of a test picture


class CountingPredictor:
    """A predictor that counts how often it runs."""

    def __init__(self, predictor: Any) -> None:
        self.predictor = predictor
        self.runs = 0

    def __call__(self, images: Images) -> Outputs:
        self.runs += 1
        outputs: Outputs = self.predictor(images)
        return outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.predictor, name)


@pytest.fixture
def ink() -> npt.NDArray[np.uint8]:
    """A 3 in the middle of a field, uint8 (240, 240), 0 = paper."""
    split = datasets.load("digits", "test")
    digit = split.images[np.flatnonzero(split.labels == 3)[0]]
    field = Image.new("L", (SIDE, SIDE))
    field.paste(Image.fromarray(digit).resize((120, 120), Image.Resampling.BICUBIC), (60, 60))
    return np.asarray(field)


def picture_of(kind: str, ink: npt.NDArray[np.uint8]) -> Image.Image:
    if kind == "16 bits":
        return Image.fromarray((40_000 - 100 * ink.astype(np.int32)).astype(np.uint16))
    if kind == "transparent, light ink":
        picture = Image.new("RGBA", (SIDE, SIDE), (255, 250, 200, 0))
        picture.putalpha(Image.fromarray(ink))
        return picture
    return Image.fromarray(255 - ink)


KINDS = ("grey", "16 bits", "transparent, light ink")


@pytest.fixture
def decoded_files(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that Pillow opens."""
    opened: list[Any] = []
    pillow_open = Image.open

    def counting_open(file: Any, *args: Any, **options: Any) -> Any:
        opened.append(file)
        return pillow_open(file, *args, **options)

    monkeypatch.setattr(Image, "open", counting_open)
    return opened


@pytest.mark.parametrize(
    ("annotate", "explain"),
    [(None, None), ("boxes", None), (None, "plots"), ("boxes", "plots")],
    ids=["predict", "annotate", "explain", "both"],
)
@pytest.mark.parametrize("model_fixture", ["onnx_path", "checkpoint_path"])
def test_a_picture_is_decoded_once_and_classified_once(
    request: pytest.FixtureRequest,
    ink: npt.NDArray[np.uint8],
    decoded_files: list[Any],
    model_fixture: str,
    annotate: str | None,
    explain: str | None,
) -> None:
    Path("pictures").mkdir()
    for number in range(3):
        picture_of("grey", np.roll(ink, 5 * number, axis=1)).save(f"pictures/{number}.png")
    opened = mnistctl.open_model(request.getfixturevalue(model_fixture))
    model = CountingPredictor(opened.predictor)
    predictor = replace(opened, predictor=model)

    stream = predictor.read(["pictures"], keep_pictures=bool(annotate or explain))
    results = list(
        mnistctl.annotate(
            stream,
            predictor,
            annotate=Path(annotate) if annotate else None,
            explain=Path(explain) if explain else None,
        )
    )

    assert [result.error for result in results] == [None] * 3
    assert len(decoded_files) == 3
    assert model.runs == 2  # batches of 1 and 2 pictures
    for folder in filter(None, (annotate, explain)):
        assert len(list(Path(folder).iterdir())) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_are_drawn_on_the_picture_as_it_was_decoded(
    kind: str, onnx_path: Path, ink: npt.NDArray[np.uint8]
) -> None:
    picture_of(kind, ink).save("picture.png")
    expected = decode.read(Path("picture.png"), name="picture.png").colours

    predictor = mnistctl.open_model(onnx_path)
    results = predictor.read(["picture.png"], keep_pictures=True)
    list(mnistctl.annotate(results, predictor, annotate=Path("boxes.png")))

    with Image.open("boxes.png") as written:
        drawn = np.asarray(written).astype(int)
    assert drawn.shape == (SIDE, SIDE, 3)
    difference = np.abs(drawn - 255 * expected).max(axis=2)
    left, top, width, height = mnistctl.predict("picture.png", model=onnx_path)[0].digits[0].box
    assert difference[top : top + height, left : left + width].max() <= 0.5  # inside the box
    assert difference[:40].max() <= 0.5
    assert difference.max() > 50  # the box


@pytest.mark.parametrize("kind", KINDS)
def test_an_explanation_shows_the_picture_as_it_was_decoded(
    kind: str, onnx_path: Path, ink: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture_of(kind, ink).save("picture.png")
    expected = decode.read(Path("picture.png"), name="picture.png").colours
    shown: list[npt.NDArray[Any]] = []
    imshow = Axes.imshow

    def recording_imshow(axes: Axes, image: Any, *args: Any, **options: Any) -> Any:
        shown.append(np.asarray(image))
        return imshow(axes, image, *args, **options)

    monkeypatch.setattr(Axes, "imshow", recording_imshow)

    predictor = mnistctl.open_model(onnx_path)
    results = predictor.read(["picture.png"], keep_pictures=True)
    list(mnistctl.annotate(results, predictor, explain=Path("explained.png")))

    assert np.abs(shown[0] - 255 * expected).max() <= 0.5
    assert shown[1].max() == 1  # the ink
    assert np.corrcoef(shown[1].ravel(), ink.ravel())[0, 1] > 0.95


def test_boxes_on_a_reduced_picture_are_at_the_digits(
    onnx_path: Path, ink: npt.NDArray[np.uint8]
) -> None:
    large = Image.fromarray(255 - ink).resize((10 * SIDE, 10 * SIDE))
    large.save("picture.png")

    predictor = mnistctl.open_model(onnx_path)
    results = predictor.read(["picture.png"], keep_pictures=True)
    (result,) = mnistctl.annotate(results, predictor, annotate=Path("boxes.png"))

    with Image.open("boxes.png") as written:
        drawn = np.asarray(written).astype(int)
    assert written.size == (decode.WORKING_SIDE, decode.WORKING_SIDE)
    is_coloured = np.ptp(drawn, axis=2) > 50
    rows, columns = np.nonzero(is_coloured)
    scale = 10 * SIDE / decode.WORKING_SIDE
    left, top, width, height = (side / scale for side in result.digits[0].box)
    assert columns.min() == pytest.approx(left, abs=20)  # the line and its distance
    assert columns.max() == pytest.approx(left + width, abs=20)
    assert rows.max() == pytest.approx(top + height, abs=20)


def test_results_keep_decoded_pictures_only_until_they_are_annotated(
    onnx_path: Path, ink: npt.NDArray[np.uint8]
) -> None:
    picture_of("grey", ink).save("picture.png")
    predictor = mnistctl.open_model(onnx_path)

    (plain,) = predictor.read(["picture.png"])
    (kept,) = predictor.read(["picture.png"], keep_pictures=True)
    (annotated,) = mnistctl.annotate([kept], predictor, annotate=Path("boxes.png"))

    assert plain.decoded is None
    assert kept.decoded is not None
    assert annotated.decoded is None
    assert annotated.to_json() == kept.to_json() == plain.to_json()


def test_annotate_rejects_results_without_their_pictures(
    onnx_path: Path, ink: npt.NDArray[np.uint8]
) -> None:
    picture_of("grey", ink).save("picture.png")
    predictor = mnistctl.open_model(onnx_path)
    results = predictor.read(["picture.png"])

    with pytest.raises(UsageError, match="keep_pictures=True"):
        list(mnistctl.annotate(results, predictor, annotate=Path("boxes.png")))


def test_a_blank_picture_is_annotated_without_boxes_and_explained(onnx_path: Path) -> None:
    Image.new("L", (90, 90), 255).save("blank.png")
    predictor = mnistctl.open_model(onnx_path)
    results = predictor.read(["blank.png"], keep_pictures=True)

    (result,) = mnistctl.annotate(
        results, predictor, annotate=Path("boxes.png"), explain=Path("explained.png")
    )

    assert result.digits[0].prediction.reason == "blank"
    assert Path("explained.png").stat().st_size > 1_000
    with Image.open("boxes.png") as written:
        assert np.asarray(written).min() == 255
