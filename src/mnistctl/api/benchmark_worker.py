"""The process of one format in `benchmark`. The functions here run in it."""

import dataclasses
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from mnistctl.api import export, models
from mnistctl.models import checkpoint, formats
from mnistctl.models.predictor import Predictor, predict_all
from mnistctl.types import Images, Labels

BATCH_SIZE = 256

_SINGLES_PER_ROUND = 200  # images classified one at a time
_BATCHES_PER_ROUND = 8


class Round(NamedTuple):
    """The measurements of one round."""

    latencies_s: list[float]  # of one image
    images_per_second: float  # in batches
    peak_mb: float | None  # peak resident memory of the process so far, in millions of bytes


@dataclass
class _Session:
    """A model that is ready, and the images to classify."""

    predictor: Predictor
    images: Images

    def time_single(self, index: int) -> float:
        """Seconds for one image."""
        image = self.images[index % len(self.images)][None]
        start = time.perf_counter()
        self.predictor(image)
        return time.perf_counter() - start

    def images_per_second(self) -> float:
        batch = np.resize(self.images, (BATCH_SIZE, *self.images.shape[1:]))
        self.predictor(batch)
        start = time.perf_counter()
        for _ in range(_BATCHES_PER_ROUND):
            self.predictor(batch)
        return BATCH_SIZE * _BATCHES_PER_ROUND / (time.perf_counter() - start)


_session: _Session  # `load` sets it, `run_round` uses it


def load(path: Path, name: str, arch: str | None, images: Images, labels: Labels) -> dict[str, Any]:
    """Open a model and classify all images. Returns fields of `FormatResult`."""
    global _session
    start = time.perf_counter()
    if name in formats.FORMATS and not formats.FORMATS[name].is_reopened:
        predictor, size, start = _export_and_open(path, name, arch)
    else:
        predictor, size = models.open_predictor(path, arch=arch), models.size_of(path)
    load_seconds = time.perf_counter() - start
    _session = _Session(predictor, images)
    predicted = predict_all(predictor, images, batch_size=BATCH_SIZE).logits.argmax(axis=1)
    return {
        "bytes": size,
        "load_seconds": load_seconds,
        "accuracy": float((predicted == labels).mean()),
        "threads": predictor.threads,
    }


def run_round(number: int) -> Round:
    """Measure the model that was loaded."""
    first = number * _SINGLES_PER_ROUND
    latencies_s = [_session.time_single(first + offset) for offset in range(_SINGLES_PER_ROUND)]
    return Round(latencies_s, _session.images_per_second(), _peak_mb())


def _export_and_open(path: Path, name: str, arch: str | None) -> tuple[Predictor, int, float]:
    """Export a checkpoint in this process, since opening such a file from elsewhere can run code.

    Returns:
        The exported model, its size in bytes, and the time when opening it began.
    """
    from mnistctl import exports

    source = export.open_source(checkpoint.load(path), arch, None)
    exported = exports.build(name, source)
    entry = {"format": name, "input": formats.UINT8}
    metadata = dataclasses.replace(source.predictor.metadata, export=entry)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"model{formats.FORMATS[name].suffix}"
        exported.save(file, metadata)
        start = time.perf_counter()
        return cast("Predictor", exported.open(file)), file.stat().st_size, start


def _peak_mb() -> float | None:
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere a process may start with the peak of its parent
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
