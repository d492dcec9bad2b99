"""`benchmark`: size, accuracy, speed and memory of a model in every format.

Each format runs in its own process, so that memory is measured per format. The formats take turns, so
that other load on the machine affects all of them.
"""

import contextlib
import dataclasses
import logging
import os
import platform
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl import datasets
from mnistctl.api import benchmark_worker, export, models
from mnistctl.api.benchmark_worker import Round
from mnistctl.errors import (
    CheckFailedError,
    MissingExtraError,
    MnistctlError,
    ModelError,
    UsageError,
    look_up,
    one_line,
)
from mnistctl.evaluation import figures, plots
from mnistctl.evaluation.report import check_split
from mnistctl.models import checkpoint, formats
from mnistctl.run import progress, run_folder
from mnistctl.settings.architectures import DIGIT
from mnistctl.system import processes, provenance
from mnistctl.types import Images, Labels, Result

_log = logging.getLogger(__name__)

DONE, FAILED, NOT_INSTALLED = "done", "failed", "not installed"
PLOT = "benchmark.png"
_ROUNDS = 5
_MAX_LOAD = 0.25  # mean number of programs that compute / number of cores; above it, a warning
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
    latency_range_ms: tuple[float, float] | None = None  # lowest and highest median of a round
    latency_p99_ms: float | None = None  # of one image, 99th percentile
    images_per_second: float | None = None  # in batches of 256, median of the rounds
    images_per_second_range: tuple[float, float] | None = None  # lowest and highest of the rounds
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
        output: a new file for the plot, .png, .svg or .pdf; None: `benchmark.png` in the model's run
            folder, if it has one.
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
    figures.check_output(output)
    if dataset is not None:
        datasets.check_split(dataset, "test")
    path = models.find_model(model)
    kind, metadata = models.describe(path)
    if metadata.task != DIGIT:
        raise ModelError(
            f"{path}: a model for the task '{metadata.task}'; only models for single digits can be "
            "benchmarked"
        )
    is_named = names != list(formats.BENCHMARKED)
    if kind != formats.SAFETENSORS and is_named:
        raise UsageError(
            f"--format: {path} is an exported file; name the checkpoint it was exported from"
        )
    split = models.load_split(metadata, "test", dataset, data_dir)
    check_split(metadata.class_names, split)
    _warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        sources: dict[str, Path | MnistctlError] = {kind: path}
        if kind == formats.SAFETENSORS:
            sources = _export(path, names, Path(folder), split, arch, data_dir, is_named=is_named)
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
    figures.save(plots.benchmark(result.to_json()), target)
    return dataclasses.replace(result, plots=[str(target)])


def _warn_if_busy() -> None:
    """Warn if other programs compute on this machine."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # Windows
    if load > _MAX_LOAD * cores:
        _log.warning(
            f"this machine is busy: on average {load:.1f} programs computed on its {cores} cores in "
            "the last minute, so times are longer and vary more"
        )


def _export(
    path: Path,
    names: Sequence[str],
    folder: Path,
    split: datasets.Split,
    arch: str | None,
    data_dir: Path | None,
    *,
    is_named: bool,
) -> dict[str, Path | MnistctlError]:
    """Format -> the file to measure it with, or the error if there is none."""
    source = export.open_source(checkpoint.load(path), arch, data_dir)
    sources: dict[str, Path | MnistctlError] = {}
    for name in names:
        sources[name] = path
        if name == formats.SAFETENSORS or not formats.FORMATS[name].is_reopened:
            continue  # the process that measures exports it
        target = folder / f"model{formats.FORMATS[name].suffix}"
        try:
            export.write_checked(source, name, target, split)
            sources[name] = models.find_model(target)
        except MnistctlError as error:
            if is_named and isinstance(error, MissingExtraError):
                raise
            sources[name] = error
    return sources


@dataclass
class _Samples:
    """The measurements of one format so far."""

    error: Exception | None = None
    constants: dict[str, Any] = field(default_factory=dict)  # fields of FormatResult
    latencies_s: list[list[float]] = field(default_factory=list)  # per round
    images_per_second: list[float] = field(default_factory=list)  # per round

    def add(self, measured: Round) -> None:
        self.latencies_s.append(measured.latencies_s)
        self.images_per_second.append(measured.images_per_second)
        self.constants["peak_mb"] = measured.peak_mb

    def to_result(self, name: str) -> FormatResult:
        if self.error is not None:
            status = NOT_INSTALLED if isinstance(self.error, MissingExtraError) else FAILED
            return FormatResult(name, status, one_line(self.error))
        latencies_ms = 1e3 * np.array(self.latencies_s)  # (rounds, images)
        medians_ms = np.median(latencies_ms, axis=1).tolist()
        return FormatResult(
            format=name,
            status=DONE,
            latency_ms=float(np.median(latencies_ms)),
            latency_range_ms=(min(medians_ms), max(medians_ms)),
            latency_p99_ms=float(np.quantile(latencies_ms, 0.99)),
            images_per_second=statistics.median(self.images_per_second),
            images_per_second_range=(min(self.images_per_second), max(self.images_per_second)),
            **self.constants,
        )


def _measure(
    sources: Mapping[str, Path | MnistctlError], images: Images, labels: Labels, arch: str | None
) -> list[FormatResult]:
    """Measure all formats in turns; one that fails does not stop the others."""
    samples = {
        name: _Samples(error=source if isinstance(source, MnistctlError) else None)
        for name, source in sources.items()
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(processes.worker_environment())
        workers = {
            name: stack.enter_context(_new_worker())
            for name, row in samples.items()
            if row.error is None
        }
        for number in range(-1, _ROUNDS):  # -1: load the model
            for name, worker in workers.items():
                row = samples[name]
                try:
                    if row.error is None and number < 0:
                        arguments: Any = (sources[name], name, arch, images, labels)
                        row.constants = worker.submit(benchmark_worker.load, *arguments).result()
                    elif row.error is None:
                        row.add(worker.submit(benchmark_worker.run_round, number).result())
                except Exception as error:  # a runtime raises errors of any type, or crashes
                    row.error = error
            progress.current().advance("measuring", number + 2, _ROUNDS + 1)
    return [row.to_result(name) for name, row in samples.items()]


def _new_worker() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"), processes.exit_with_parent)


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
