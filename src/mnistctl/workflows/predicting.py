"""`predict`: pictures read by a model."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl import images, models
from mnistctl.errors import PictureError, UsageError
from mnistctl.predictor import Images, Prediction, predict_all, top_k
from mnistctl.watcher import SILENT, Watcher


@dataclass(frozen=True)
class Reading:
    """What a model reads in one picture, or why it could not be read."""

    file: str
    prediction: Prediction | None = None
    image: Images | None = field(default=None, repr=False)  # uint8 (28, 28): what the model saw
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """File, label, probability and top-k; or file and error."""
        if self.prediction is None:
            return {"file": self.file, "error": self.error}
        return {"file": self.file} | self.prediction.to_json()


def predict(
    pictures: str | Path | Sequence[str | Path],
    *,
    model: str | Path | None = None,
    top: int = 3,
    arch: str | None = None,
    watcher: Watcher = SILENT,
) -> list[Reading]:
    """Read pictures of single digits; one that cannot be read does not stop the others.

    Args:
        pictures: a file, a folder of them, or "-" for a picture on standard input; or several.
        model: a file, a run folder, a run's name; None: the newest run here.
        top: how many of the likeliest classes to give, 1 or more.
        arch: FILE.py:CLASS, for a model of a person's own class.
        watcher: hears which model it is.

    Raises:
        UsageError: `top` is below 1.
        ModelError: no such model, or it cannot be opened.
    """
    if top < 1:
        raise UsageError(f"--top {top}: expected 1 or more")
    if isinstance(pictures, str | Path):
        pictures = [pictures]
    path = models.find(model, watcher=watcher)
    predictor = models.open_predictor(path, arch=arch, watcher=watcher)
    readings = [reading for picture in pictures for reading in _read_all(picture)]
    read = [reading.image for reading in readings if reading.image is not None]
    if not read:
        return readings
    outputs = predict_all(predictor, np.stack(read), batch_size=256)
    predictions = iter(top_k(outputs.probabilities, predictor.metadata.class_names, k=top))
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
    except PictureError as error:
        return Reading(name, error=str(error))
