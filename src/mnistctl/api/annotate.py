"""`predict --annotate` and `--explain`: pictures of what was read, as it is read."""

from collections.abc import Iterator
from pathlib import Path

from mnistctl.api.predict import PicturePredictor, PictureResult
from mnistctl.errors import UsageError
from mnistctl.models.predictor import predict_all
from mnistctl.system import files

_ONE = ".png"


def annotate(
    readings: Iterator[PictureResult],
    reader: PicturePredictor,
    *,
    annotate: Path | None = None,
    explain: Path | None = None,
) -> Iterator[PictureResult]:
    """Hand readings on, and write pictures of each that could be read.

    Args:
        readings: as `reader` gives them.
        reader: with its model.
        annotate: where the picture with boxes and labels goes: a file called ….png for one picture,
            else a folder, in which it is called like the picture.
        explain: the same for a picture of how it was read.

    Raises:
        UsageError: a file for several pictures, or one of them exists.
        WriteError: it cannot be written.
    """
    taken: dict[Path, set[Path]] = {}
    for number, reading in enumerate(readings):
        if reading.error is None:
            for target, draw in ((annotate, _annotated), (explain, _explained)):
                if target is not None:
                    path = _path(target, reading.file, number, taken.setdefault(target, set()))
                    files.check_new(path)
                    files.write_bytes(path, draw(reading, reader))
        yield reading


def _path(target: Path, file: str, number: int, taken: set[Path]) -> Path:
    if target.suffix.lower() == _ONE:
        if number:
            raise UsageError(f"{target}: one file, and several pictures; name a folder")
        return target
    files.make_folder(target)
    stem = "standard-input" if file == "-" else Path(file).stem
    path = target / f"{stem}{_ONE}"
    count = 1
    while path in taken:  # of the same name in another folder
        count += 1
        path = target / f"{stem}-{count}{_ONE}"
    taken.add(path)
    return path


def _annotated(reading: PictureResult, reader: PicturePredictor) -> bytes:
    from mnistctl.evaluation import overlays  # matplotlib, 0.3 s

    return overlays.annotated(
        reading.source, [(digit.box, digit.prediction) for digit in reading.digits if digit.box.width]
    )


def _explained(reading: PictureResult, reader: PicturePredictor) -> bytes:
    from mnistctl.evaluation import overlays

    if reading.is_split:
        raise UsageError("--explain and --split: choose one")
    digit = reading.digits[0]
    image = digit.image[None]
    outputs = predict_all(reader.predictor, image, batch_size=1)
    names = reader.predictor.metadata.class_names
    shares = sorted(
        zip(names, outputs.probabilities[0].tolist(), strict=True), key=lambda answer: -answer[1]
    )
    saliency = getattr(reader.predictor, "saliency", None)  # a checkpoint's, not an export's
    return overlays.explained(
        reading.source,
        digit.image,
        digit.prediction,
        shares,
        saliency=None if saliency is None else saliency(image)[0],
        title=reading.file,
    )
