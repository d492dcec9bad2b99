"""`predict`: pictures read by a model."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl import images, models
from mnistctl.architectures import IMAGE_SIZE
from mnistctl.errors import BlankPictureError, PictureError, UsageError
from mnistctl.predictor import Images, Prediction, interpret, predict_all
from mnistctl.watcher import SILENT, Watcher


@dataclass(frozen=True)
class Reading:
    """What a model reads in one picture, or why it could not be read."""

    file: str
    prediction: Prediction | None = None
    image: Images | None = field(default=None, repr=False)  # uint8 (28, 28): what the model saw
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The file, and what `Prediction` has; or the file and the error."""
        if self.prediction is None:
            return {"file": self.file, "error": self.error}
        return {"file": self.file} | self.prediction.to_json()


def predict(
    pictures: str | Path | Sequence[str | Path],
    *,
    model: str | Path | None = None,
    top: int = 3,
    threshold: float | None = None,
    reject: bool = True,
    arch: str | None = None,
    watcher: Watcher = SILENT,
) -> list[Reading]:
    """Read pictures of single digits; one that cannot be read does not stop the others.

    Args:
        pictures: a file, a folder of them, or "-" for a picture on standard input; or several.
        model: see `models.find`.
        top: how many of the likeliest classes to give, 1 or more.
        threshold: in [0, 1]: a picture whose `known` is below is refused; None: the model's own.
        reject: whether pictures that are blank or look like nothing it was taught are refused at all;
            one that is still has its best guess.
        arch: FILE.py:CLASS, for a model of a person's own class.
        watcher: hears which model it is.

    Raises:
        UsageError: `top` is below 1, or `threshold` not in [0, 1], or given with `reject` off.
        ModelError: no such model, or it cannot be opened.
    """
    if top < 1:
        raise UsageError(f"--top {top}: expected 1 or more")
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold}: expected a value between 0 and 1")
    if threshold is not None and not reject:
        raise UsageError("--threshold and --no-reject: choose one")
    if isinstance(pictures, str | Path):
        pictures = [pictures]
    path = models.find(model, prefer=models.ONNX, watcher=watcher)
    predictor = models.open_predictor(path, arch=arch, watcher=watcher)
    readings = [reading for picture in pictures for reading in _read_all(picture)]
    read = [reading.image for reading in readings if reading.image is not None]
    if not read:
        return readings
    outputs = predict_all(predictor, np.stack(read), batch_size=256)
    about = predictor.metadata
    predictions = iter(
        interpret(
            np.stack(read),
            outputs,
            about.class_names,
            top=top,
            threshold=about.threshold if threshold is None else threshold,
            reject=reject,
        )
    )
    return [
        reading if reading.image is None else Reading(reading.file, next(predictions), reading.image)
        for reading in readings
    ]


def _read_all(picture: str | Path) -> list[Reading]:
    """One reading, or for a folder one for each picture in it."""
    name = str(picture)
    if not name:
        return [Reading(name, error="a picture's name is empty")]
    if name == "-" or not Path(picture).is_dir():
        return [_read(picture)]
    try:
        inside = images.in_folder(Path(picture))
    except PictureError as error:
        return [Reading(name, error=str(error))]
    if not inside:
        return [Reading(name, error=f"{name}: a folder without pictures")]
    return [_read(path) for path in inside]


def _read(picture: str | Path) -> Reading:
    name = str(picture)
    try:
        source = sys.stdin.buffer.read() if name == "-" else Path(picture)
        return Reading(name, image=images.read(source, name=name))
    except BlankPictureError:
        return Reading(name, image=np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8))
    except PictureError as error:
        return Reading(name, error=str(error))
