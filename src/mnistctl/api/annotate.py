"""`predict --annotate` and `--explain`: write pictures that show the predictions."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from mnistctl.api.predict import DecodedPicture, PicturePredictor, PictureResult
from mnistctl.errors import UsageError
from mnistctl.system import files

_SUFFIX = ".png"


def annotate(
    results: Iterable[PictureResult],
    predictor: PicturePredictor,
    *,
    annotate: Path | None = None,
    explain: Path | None = None,
) -> Iterator[PictureResult]:
    """Yield results, and write pictures of each one that has no error.

    Args:
        results: from `predictor.read`, with `keep_pictures=True` if anything is to be written. The
            yielded results do not keep their pictures.
        predictor: the model that the results are from.
        annotate: where to write the picture with boxes and labels: a PNG file for one picture, else a
            folder, in which the file is named like the picture.
        explain: the same for a plot of how the picture was read.

    Raises:
        UsageError: one file for several pictures, a file exists, `explain` with split pictures, or the
            results have no pictures.
        WriteError: a file cannot be written.
    """
    used: dict[Path, set[Path]] = {}
    for number, result in enumerate(results):
        if result.error is None:
            for target, draw in ((annotate, _draw_boxes), (explain, _draw_explanation)):
                if target is not None:
                    path = _output_path(target, result.file, number, used.setdefault(target, set()))
                    files.check_not_exists(path)
                    files.write_bytes(path, draw(result, _decoded(result), predictor))
        yield result if result.decoded is None else replace(result, decoded=None)


def _output_path(target: Path, file: str, number: int, used: set[Path]) -> Path:
    if target.suffix.lower() == _SUFFIX:
        if number:
            raise UsageError(f"{target}: a file, but there are several pictures; name a folder")
        return target
    files.make_folder(target)
    stem = "standard-input" if file == "-" else Path(file).stem
    # Pictures in different folders may have the same name.
    path = files.unused_path(target / f"{stem}{_SUFFIX}", is_used=used.__contains__)
    used.add(path)
    return path


def _decoded(result: PictureResult) -> DecodedPicture:
    if result.decoded is None:
        raise UsageError(f"{result.file}: no decoded picture; read pictures with keep_pictures=True")
    return result.decoded


def _draw_boxes(result: PictureResult, decoded: DecodedPicture, predictor: PicturePredictor) -> bytes:
    from mnistctl.evaluation import overlays  # imports matplotlib, 0.3 s

    boxes = [(digit.box, digit.prediction) for digit in result.digits if digit.box.width]
    return overlays.draw_boxes(decoded.picture, boxes)


def _draw_explanation(
    result: PictureResult, decoded: DecodedPicture, predictor: PicturePredictor
) -> bytes:
    from mnistctl.evaluation import overlays

    if result.is_split:
        raise UsageError("--explain and --split: choose one")
    digit = result.digits[0]
    saliency = getattr(predictor.predictor, "saliency", None)  # only checkpoints have gradients
    return overlays.draw_explanation(
        decoded.picture,
        decoded.ink,
        digit.image,
        digit.prediction,
        dict(zip(predictor.predictor.metadata.class_names, digit.probabilities.tolist(), strict=True)),
        saliency=None if saliency is None else saliency(digit.image[None])[0],
        title=result.file,
    )
