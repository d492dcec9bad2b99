"""`benchmark`: a model in every format, how fast, how large, how right.

Each format runs in a process of its own, so that its memory is its own, and all take turns, so that
what else the machine does falls on all of them.
"""

import contextlib
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.api.export import export
from mnistctl.api.models import split_of
from mnistctl.errors import CheckFailedError, MissingExtraError, MnistctlError, UsageError, look_up
from mnistctl.evaluation.report import check_split
from mnistctl.models import checkpoint, formats
from mnistctl.models.predictor import Predictor, predict_all
from mnistctl.run import progress, run_folder
from mnistctl.system import files, provenance
from mnistctl.types import Images

DONE, FAILED, NOT_INSTALLED = "done", "failed", "not installed"
CHART = "benchmark.png"
BATCH = 256

_ROUNDS = 5
_SINGLES = 200  # images read one by one, in each round
_BATCHES = 8  # in each round
_PACKAGES = ("mnistctl", "torch", "onnxruntime", "openvino", "numpy")


@dataclass(frozen=True)
class FormatResult:
    """One format; figures are None where it failed."""

    format: str
    status: str  # done, failed or not installed
    reason: str | None = None  # why not done
    bytes: int | None = None
    accuracy: float | None = None  # in [0, 1]
    latency_ms: float | None = None  # of one image, median
    latency_p99_ms: float | None = None  # 99 of 100 are quicker
    images_per_second: float | None = None  # in batches of 256, median
    # From the file to ready, its runtime's import included; but for "torch", which is made there.
    load_seconds: float | None = None
    peak_mb: float | None = None  # resident memory of its process, in millions of bytes
    threads: int | None = None  # that compute


@dataclass(frozen=True)
class BenchmarkResult:
    """A model in several formats, side by side."""

    model: str
    dataset: str
    split: str
    images: int
    machine: str
    versions: dict[str, str]
    formats: list[FormatResult] = field(default_factory=list)
    chart: str | None = None  # the picture that was drawn

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def require(self) -> None:
        """Insist that nothing failed.

        Raises:
            CheckFailedError: a format did.
        """
        failed = [row.format for row in self.formats if row.status == FAILED]
        if failed:
            raise CheckFailedError(f"{self.model}: failed: {', '.join(failed)}")


def benchmark(
    model: str | Path | None = None,
    *,
    format: str | Sequence[str] = formats.BENCHMARKED,  # noqa: A002 - the word of the command line
    chart: Path | None = None,
    dataset: str | None = None,
    arch: str | None = None,
    data_dir: Path | None = None,
) -> BenchmarkResult:
    """Measure a checkpoint in every format that it can be exported to, or an exported file alone.

    Other processes are started: a script that calls this does so under `if __name__ == "__main__"`.

    Args:
        model: see `models.find`.
        format: which to measure, of `formats.BENCHMARKED`.
        chart: where to draw the figures; None: into the model's run folder, if it is of a run.
        dataset: another one than the model's own.
        arch: FILE.py:CLASS, for a model of a person's own class.
        data_dir: the data folder, if not the usual one.

    Raises:
        UsageError: an unknown format, or the chart exists.
        ModelError: no such model, or it cannot be opened.
        DataError: the model's dataset is damaged or not to be had.
        WriteError: the chart cannot be written.
    """
    names = list(dict.fromkeys([format] if isinstance(format, str) else format))
    for name in names:
        look_up("format", name, dict.fromkeys(formats.BENCHMARKED))
    if chart is not None:
        files.check_new(chart)
    if dataset is not None:
        datasets.check_split(dataset, "test")
    path = models.find(model)
    kind, about = models.describe(path)
    is_named = names != list(formats.BENCHMARKED)
    if kind != formats.SAFETENSORS and is_named:
        raise UsageError(f"--format: {path} is an exported file; name the checkpoint it was made from")
    split = split_of(about, "test", dataset, data_dir)
    check_split(about.class_names, split)
    with tempfile.TemporaryDirectory() as folder:
        sources: dict[str, Path | MnistctlError] = {kind: path}
        if kind == formats.SAFETENSORS:
            options = {"dataset": dataset, "arch": arch, "data_dir": data_dir}
            sources = {
                name: _source(path, name, Path(folder), options, is_named=is_named) for name in names
            }
        rows = _measure(sources, split.images, split.labels, arch)
    machine = f"{os.cpu_count()} cores of {provenance.processor()}, Python {platform.python_version()}"
    found = BenchmarkResult(
        *(str(path), split.dataset, split.name, len(split.images), machine, _versions(), rows),
    )
    run = run_folder.of(path)
    target = chart or (run.folder / CHART if run else None)
    if target is None or not any(row.status == DONE for row in rows):
        return found
    from mnistctl.evaluation import plots  # matplotlib, 0.4 s

    files.write_bytes(target, plots.benchmark_chart(found.to_json()))
    return BenchmarkResult(**(vars(found) | {"chart": str(target)}))


def _source(
    path: Path,
    name: str,
    folder: Path,
    options: Mapping[str, Any],
    *,
    is_named: bool,
) -> Path | MnistctlError:
    """The file of a format, or why there is none."""
    if name in (formats.SAFETENSORS, "torch"):  # the latter is made where it is opened
        return path
    target = folder / f"model{formats.FORMATS[name].suffix}"
    try:
        export(path, format=name, output=target, **options)
    except MissingExtraError as error:
        if is_named:
            raise
        return error
    except MnistctlError as error:
        return error
    return models.find(target)


def _measure(
    sources: Mapping[str, Path | MnistctlError],
    images: Images,
    labels: Any,
    arch: str | None,
) -> list[FormatResult]:
    """All formats in turns; one that fails does not stop the others."""
    failures: dict[str, Exception] = {
        name: source for name, source in sources.items() if isinstance(source, MnistctlError)
    }
    figures: dict[str, dict[str, Any]] = {name: {} for name in sources}
    latencies: dict[str, list[float]] = {name: [] for name in sources}
    speeds: dict[str, list[float]] = {name: [] for name in sources}
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                ProcessPoolExecutor(
                    1,
                    mp_context=get_context("spawn"),
                    initializer=signal.signal,
                    initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl-C is for this process alone
                )
            )
            for name in sources
            if name not in failures
        }
        for number in range(-1, _ROUNDS):
            for name, worker in workers.items():
                if name in failures:
                    continue
                try:
                    if number < 0:
                        loading = worker.submit(_load, str(sources[name]), name, arch, images, labels)
                        figures[name] = loading.result()
                        continue
                    single, speed = worker.submit(_round, number).result()
                    latencies[name] += single
                    speeds[name].append(speed)
                    figures[name]["peak_mb"] = worker.submit(_peak_mb).result()
                except Exception as error:  # whatever a runtime raises, or its end
                    failures[name] = error
            progress.current().advance("measuring", number + 2, _ROUNDS + 1)
    return [
        _failed(name, failures[name])
        if name in failures
        else FormatResult(
            format=name,
            status=DONE,
            latency_ms=1e3 * statistics.median(latencies[name]),
            latency_p99_ms=1e3 * float(np.quantile(latencies[name], 0.99)),
            images_per_second=statistics.median(speeds[name]),
            **figures[name],
        )
        for name in sources
    ]


def _failed(name: str, error: Exception) -> FormatResult:
    status = NOT_INSTALLED if isinstance(error, MissingExtraError) else FAILED
    return FormatResult(name, status, " ".join(str(error).split()) or type(error).__name__)


# What follows runs in the process of one format, which keeps these two.
_predictor: Predictor | None = None
_images: Images | None = None


def _load(path: str, name: str, arch: str | None, images: Images, labels: Any) -> dict[str, Any]:
    global _predictor, _images
    _images = images
    started = time.perf_counter()
    if name == "torch":
        _predictor, size, started = _own_program(Path(path), arch)
    else:
        _predictor, size = models.open_predictor(Path(path), arch=arch), models.size_of(Path(path))
    seconds = time.perf_counter() - started
    outputs = predict_all(_predictor, images, batch_size=BATCH)
    accuracy = float((outputs.logits.argmax(axis=1) == labels).mean())
    return {
        "bytes": size,
        "load_seconds": seconds,
        "accuracy": accuracy,
        "threads": _predictor.threads,
    }


def _own_program(path: Path, arch: str | None) -> tuple[Predictor, int, float]:
    """A torch.export program, made here: nobody opens another's."""
    import dataclasses

    import torch

    from mnistctl.exports.torch_program import TorchProgram
    from mnistctl.nn import torch_predictor

    opened = checkpoint.load(path)
    reference = torch_predictor.from_checkpoint(opened, device=torch.device("cpu"), arch=arch)
    made = TorchProgram(reference, input_kind=formats.UINT8)
    about = {"format": "torch", "input": formats.UINT8}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pt2"
        made.save(file, dataclasses.replace(opened.metadata, export=about))
        started = time.perf_counter()
        return made.open(file), file.stat().st_size, started


def _round(number: int) -> tuple[list[float], float]:
    """Seconds of each image read alone, and images a second in batches."""
    assert _predictor is not None and _images is not None  # noqa: S101, PT018 - set by `_load`
    singles = []
    for place in range(_SINGLES):
        image = _images[(number * _SINGLES + place) % len(_images)][None]
        started = time.perf_counter()
        _predictor(image)
        singles.append(time.perf_counter() - started)
    batch = np.resize(_images, (BATCH, *_images.shape[1:]))
    _predictor(batch)
    started = time.perf_counter()
    for _ in range(_BATCHES):
        _predictor(batch)
    return singles, BATCH * _BATCHES / (time.perf_counter() - started)


def _peak_mb() -> float | None:
    status = Path("/proc/self/status")
    if status.exists():  # elsewhere a process may begin with the peak of its parent
        line = next(it for it in status.read_text().splitlines() if it.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
