"""`benchmark`: size, accuracy, speed and memory of a model in every format.

Each format runs in its own process, so that memory is measured per format. The formats take turns, so
that other load on the machine affects all of them.
"""

import contextlib
import dataclasses
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.api.export import export
from mnistctl.errors import CheckFailedError, MissingExtraError, MnistctlError, UsageError, look_up
from mnistctl.evaluation.report import check_split
from mnistctl.models import checkpoint, formats
from mnistctl.models.predictor import Predictor, predict_all
from mnistctl.run import progress, run_folder
from mnistctl.system import files, provenance
from mnistctl.types import Images, Labels, Result

DONE, FAILED, NOT_INSTALLED = "done", "failed", "not installed"
PLOT = "benchmark.png"
BATCH_SIZE = 256

_ROUNDS = 5
_SINGLES_PER_ROUND = 200  # images classified one at a time
_BATCHES_PER_ROUND = 8
_PACKAGES = ("mnistctl", "torch", "onnxruntime", "openvino", "numpy")


@dataclass(frozen=True)
class FormatResult(Result):
    """The measurements of one format; None where it failed."""

    format: str  # safetensors or an export format
    status: str  # done, failed or not installed
    reason: str | None = None  # why it is not done
    bytes: int | None = None  # size of its files
    accuracy: float | None = None  # in [0, 1]
    latency_ms: float | None = None  # of one image, median
    latency_p99_ms: float | None = None  # of one image, 99th percentile
    images_per_second: float | None = None  # in batches of 256, median
    load_seconds: float | None = None  # from the file to ready, with importing the runtime except torch
    peak_mb: float | None = None  # peak resident memory of the process, in millions of bytes
    threads: int | None = None  # threads that compute


@dataclass(frozen=True)
class BenchmarkResult(Result):
    """A model in several formats."""

    model: str  # path of the model file
    dataset: str  # whose images were classified
    split: str  # test
    images: int  # number of images
    machine: str  # cores, processor and Python version
    versions: dict[str, str]  # package -> version
    formats: list[FormatResult] = field(default_factory=list)  # one entry per format
    plots: list[str] = field(default_factory=list)  # path of the plot, if one was drawn

    def require(self) -> None:
        """Check that no format failed.

        Raises:
            CheckFailedError: a format failed.
        """
        failed = [row.format for row in self.formats if row.status == FAILED]
        if failed:
            raise CheckFailedError(f"{self.model}: failed: {', '.join(failed)}")


def benchmark(
    model: str | Path | None = None,
    *,
    format: str | Sequence[str] = formats.BENCHMARKED,  # noqa: A002 - as on the command line
    output: Path | None = None,
    dataset: str | None = None,
    arch: str | None = None,
    data_dir: Path | None = None,
) -> BenchmarkResult:
    """Measure a checkpoint in every export format, or a single exported file.

    It starts other processes: a script must call it under `if __name__ == "__main__"`.

    Args:
        model: see `models.find_model`.
        format: one of `formats.BENCHMARKED`, or several.
        output: a new PNG file for the plot; None: `benchmark.png` in the model's run folder, if it
            has one.
        dataset: the dataset whose test images are classified; None: the model's own.
        arch: FILE.py:CLASS, for a model with a custom architecture.
        data_dir: the data folder; None: the default.

    Raises:
        UsageError: an unknown format, or `output` exists.
        ModelError: the model was not found or cannot be opened.
        DataError: the dataset is damaged or unavailable.
        WriteError: the plot cannot be written.
    """
    names = list(dict.fromkeys([format] if isinstance(format, str) else format))
    for name in names:
        look_up("format", name, dict.fromkeys(formats.BENCHMARKED))
    if output is not None:
        files.check_not_exists(output)
    if dataset is not None:
        datasets.check_split(dataset, "test")
    path = models.find_model(model)
    kind, metadata = models.describe(path)
    is_named = names != list(formats.BENCHMARKED)
    if kind != formats.SAFETENSORS and is_named:
        raise UsageError(
            f"--format: {path} is an exported file; name the checkpoint it was exported from"
        )
    split = models.load_split(metadata, "test", dataset, data_dir)
    check_split(metadata.class_names, split)
    with tempfile.TemporaryDirectory() as folder:
        sources: dict[str, Path | MnistctlError] = {kind: path}
        if kind == formats.SAFETENSORS:
            options = {"dataset": dataset, "arch": arch, "data_dir": data_dir}
            sources = {
                name: _export(path, name, Path(folder), options, is_named=is_named) for name in names
            }
        rows = _measure(sources, split.images, split.labels, arch)
    result = BenchmarkResult(
        model=str(path),
        dataset=split.dataset,
        split=split.name,
        images=len(split.images),
        machine=f"{os.cpu_count()} cores of {provenance.processor()}, "
        f"Python {platform.python_version()}",
        versions=_versions(),
        formats=rows,
    )
    return _draw(result, output)


def _draw(result: BenchmarkResult, output: Path | None) -> BenchmarkResult:
    """The result with its plot, if a format is done and there is a place for the plot."""
    run = run_folder.run_of_model(Path(result.model))
    target = output or (run.folder / PLOT if run else None)
    if target is None or not any(row.status == DONE for row in result.formats):
        return result
    from mnistctl.evaluation import plots  # matplotlib, 0.4 s

    files.write_bytes(target, plots.png(plots.benchmark(result.to_json())))
    return dataclasses.replace(result, plots=[str(target)])


def _export(
    path: Path, name: str, folder: Path, options: Mapping[str, Any], *, is_named: bool
) -> Path | MnistctlError:
    """The file to measure a format with, or the error if there is none."""
    if name == formats.SAFETENSORS or not formats.FORMATS[name].is_reopened:
        return path  # the process that measures exports it
    target = folder / f"model{formats.FORMATS[name].suffix}"
    try:
        export(path, format=name, output=target, **options)
    except MissingExtraError as error:
        if is_named:
            raise
        return error
    except MnistctlError as error:
        return error
    return models.find_model(target)


@dataclass
class _Samples:
    """The measurements of one format so far."""

    error: Exception | None = None
    constants: dict[str, Any] = field(default_factory=dict)  # fields of FormatResult
    latencies_s: list[float] = field(default_factory=list)
    images_per_second: list[float] = field(default_factory=list)

    def to_result(self, name: str) -> FormatResult:
        if self.error is not None:
            status = NOT_INSTALLED if isinstance(self.error, MissingExtraError) else FAILED
            reason = " ".join(str(self.error).split()) or type(self.error).__name__
            return FormatResult(name, status, reason)
        return FormatResult(
            format=name,
            status=DONE,
            latency_ms=1e3 * statistics.median(self.latencies_s),
            latency_p99_ms=1e3 * float(np.quantile(self.latencies_s, 0.99)),
            images_per_second=statistics.median(self.images_per_second),
            **self.constants,
        )


def _measure(
    sources: Mapping[str, Path | MnistctlError], images: Images, labels: Labels, arch: str | None
) -> list[FormatResult]:
    """Measure all formats in turns; one that fails does not stop the others."""
    samples: dict[str, _Samples] = {}
    with contextlib.ExitStack() as stack:
        processes: dict[str, ProcessPoolExecutor] = {}
        for name, source in sources.items():
            samples[name] = _Samples(error=source if isinstance(source, MnistctlError) else None)
            if samples[name].error is None:
                processes[name] = stack.enter_context(_new_process())
        for number in range(-1, _ROUNDS):  # -1: load the model
            for name, process in processes.items():
                row = samples[name]
                if row.error is not None:
                    continue
                try:
                    if number < 0:
                        arguments = (str(sources[name]), name, arch, images, labels)
                        row.constants = process.submit(_load, *arguments).result()
                    else:
                        latencies_s, images_per_second, peak_mb = process.submit(
                            _run_round, number
                        ).result()
                        row.latencies_s += latencies_s
                        row.images_per_second.append(images_per_second)
                        row.constants["peak_mb"] = peak_mb
                except Exception as error:  # a runtime raises errors of any type, or crashes
                    row.error = error
            progress.current().advance("measuring", number + 2, _ROUNDS + 1)
    return [row.to_result(name) for name, row in samples.items()]


def _new_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        1,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # only the parent process handles Ctrl-C
    )


# The functions below run in the process of one format.


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


_sessions: list[_Session] = []  # `_load` adds the only one, `_run_round` uses it


def _load(path: str, name: str, arch: str | None, images: Images, labels: Labels) -> dict[str, Any]:
    """Open a model and classify all images. Returns fields of FormatResult."""
    start = time.perf_counter()
    if name in formats.FORMATS and not formats.FORMATS[name].is_reopened:
        predictor, size, start = _export_and_open(Path(path), name, arch)
    else:
        predictor, size = models.open_predictor(Path(path), arch=arch), models.size_of(Path(path))
    load_seconds = time.perf_counter() - start
    _sessions.append(_Session(predictor, images))
    predicted = predict_all(predictor, images, batch_size=BATCH_SIZE).logits.argmax(axis=1)
    return {
        "bytes": size,
        "load_seconds": load_seconds,
        "accuracy": float((predicted == labels).mean()),
        "threads": predictor.threads,
    }


def _export_and_open(path: Path, name: str, arch: str | None) -> tuple[Predictor, int, float]:
    """Export a checkpoint in this process, since opening such a file from elsewhere can run code.

    Returns:
        The exported model, its size in bytes, and the time when opening it began.
    """
    import torch

    from mnistctl import exports
    from mnistctl.nn import torch_predictor

    model = checkpoint.load(path)
    predictor = torch_predictor.from_checkpoint(model, device=torch.device("cpu"), arch=arch)
    exported = exports.build(name, exports.Source(predictor))
    entry = {"format": name, "input": formats.UINT8}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"model{formats.FORMATS[name].suffix}"
        exported.save(file, dataclasses.replace(model.metadata, export=entry))
        start = time.perf_counter()
        return exported.open(file), file.stat().st_size, start


def _run_round(number: int) -> tuple[list[float], float, float | None]:
    """Latencies of single images in seconds, images per second in batches, and peak memory in MB."""
    (session,) = _sessions
    first = number * _SINGLES_PER_ROUND
    latencies_s = [session.time_single(first + offset) for offset in range(_SINGLES_PER_ROUND)]
    return latencies_s, session.images_per_second(), _peak_mb()


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


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
