"""`predict --annotate` and `--explain`: write pictures that show the predictions."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mnistctl.api import models
from mnistctl.api.picture_results import PictureResult
from mnistctl.api.predict import PicturePredictor
from mnistctl.errors import UsageError
from mnistctl.models import formats
from mnistctl.system import files

_log = logging.getLogger(__name__)

_SALIENCY_NOTE = "orange: pixels that\nmattered for the answer"
_SALIENCY_NOTE_OF_NUMBERS = "orange: pixels that mattered\nfor the model of single digits"
_SUFFIXES = (".png", ".svg", ".pdf")


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
        annotate: where to write the picture with boxes and labels: a PNG, SVG or PDF file for one
            picture, else a folder. The folder gets PNG files in sub-folders like those of the pictures.
        explain: the same for a plot of how the picture was read, and why. It shows which pixels
            mattered if the model is a checkpoint or the bundled model.

    Raises:
        UsageError: a name has another suffix, one file for several pictures, a file exists, or the
            results have no pictures.
        WriteError: a file cannot be written.
    """
    if annotate is None and explain is None:
        return iter(results)
    for option, target in (("--annotate", annotate), ("--explain", explain)):
        if target is not None:
            _check_target(target, option)
    from mnistctl.evaluation import overlays  # 10 ms, and later matplotlib, 0.3 s

    drawings: list[_Drawing] = []
    if annotate is not None:
        drawings.append(_Drawing(annotate, overlays.draw_boxes))
    if explain is not None:
        draw = partial(
            overlays.draw_explanation,
            class_names=predictor.metadata.class_names,
            threshold=predictor.threshold,
            saliency=_saliency(predictor),
            saliency_note=_SALIENCY_NOTE if predictor.detector is None else _SALIENCY_NOTE_OF_NUMBERS,
        )
        drawings.append(_Drawing(explain, draw))
    return _write(results, drawings)


def _is_file(target: Path) -> bool:
    return target.suffix.lower() in _SUFFIXES


def _check_target(target: Path, option: str) -> None:
    if _is_file(target):
        files.check_not_exists(target)
    elif target.suffix and not target.is_dir():
        raise UsageError(
            f"{option} {target}: expected a folder, or a name that ends in .png, .svg or .pdf"
        )


@dataclass
class _Drawing:
    """What is drawn of each picture, and where it is written."""

    target: Path
    draw: Callable[..., bytes]
    written: set[Path] = field(default_factory=set)

    def write(self, result: PictureResult) -> None:
        """Draw a result and write the file."""
        from mnistctl.evaluation import overlays

        if result.decoded is None:
            raise UsageError(
                f"{result.file}: no decoded picture; read pictures with keep_pictures=True"
            )
        path = self._path(result.place)
        self.written.add(path)
        files.check_not_exists(path)
        digits = [
            overlays.DrawnDigit(digit.box, digit.image, digit.prediction, digit.probabilities)
            for digit in result.digits
        ]
        files.write_bytes(
            path, self.draw(*result.decoded, digits, title=result.file, suffix=path.suffix)
        )

    def _path(self, place: Path) -> Path:
        if not _is_file(self.target):
            # Pictures in a folder may have the same name and other suffixes.
            path = (self.target / place).with_suffix(".png")
            return files.unused_path(path, is_used=self.written.__contains__)
        if self.written:
            raise UsageError(f"{self.target}: a file, but there are several pictures; name a folder")
        return self.target


def _write(results: Iterable[PictureResult], drawings: list[_Drawing]) -> Iterator[PictureResult]:
    for result in results:
        if result.error is None:
            for drawing in drawings:
                drawing.write(result)
        yield result if result.decoded is None else replace(result, decoded=None)
    for drawing in drawings:
        count = len(drawing.written)
        if count:
            _log.info(f"wrote {drawing.target}" + (f": {count:,} files" if count > 1 else ""))


def _saliency(predictor: PicturePredictor) -> Any:
    """The function for the saliency of images; None: an exported model does not have one."""
    source = predictor.predictor
    if predictor.path == models.bundled(formats.ONNX):
        source = models.open_predictor(models.bundled(formats.SAFETENSORS))
    saliency = getattr(source, "saliency", None)
    if saliency is None:
        _log.info(
            "--explain shows no saliency, since the model is an export; name its run with --model"
        )
    return saliency
