"""`evaluate`: measure a model on splits of a dataset."""

import dataclasses
from pathlib import Path
from typing import Any, overload

from mnistctl import datasets
from mnistctl.api import models, plot
from mnistctl.errors import UsageError
from mnistctl.evaluation import detection
from mnistctl.evaluation.detection import NumbersReport
from mnistctl.evaluation.report import Report, measure, measure_robustness, predictions_csv
from mnistctl.models import formats
from mnistctl.models.predictor import PagePredictor
from mnistctl.run import run_folder
from mnistctl.settings.architectures import NUMBERS
from mnistctl.system import files


# `Any` stands for NumbersReport, so that the type of a model's report need not be checked first.
@overload
def evaluate(
    model: str | Path | None = None,
    *,
    dataset: str | None = None,
    split: str = "test",
    batch_size: int = 256,
    predictions: Path | None = None,
    robustness: bool = False,
    plots: bool | Path = True,
    arch: str | None = None,
    data_dir: Path | None = None,
) -> Report | Any: ...


@overload
def evaluate(
    model: str | Path | None = None,
    *,
    dataset: str | None = None,
    split: list[str] | tuple[str, ...],
    batch_size: int = 256,
    predictions: Path | None = None,
    robustness: bool = False,
    plots: bool | Path = True,
    arch: str | None = None,
    data_dir: Path | None = None,
) -> list[Report] | list[Any]: ...


def evaluate(
    model: str | Path | None = None,
    *,
    dataset: str | None = None,
    split: str | list[str] | tuple[str, ...] = "test",
    batch_size: int = 256,
    predictions: Path | None = None,
    robustness: bool = False,
    plots: bool | Path = True,
    arch: str | None = None,
    data_dir: Path | None = None,
) -> Report | list[Report] | Any:
    """Measure a model on a split, by default the test set of the dataset it was trained on.

    Args:
        model: see `models.find_model`.
        dataset: the dataset to measure on; None: the model's own.
        split: train, validation (the images held out in training), test, or another split of the
            dataset; or several of them.
        batch_size: images per batch.
        predictions: a new CSV file for the prediction of every image.
        robustness: also measure on corrupted images: shifted, rotated, blurred, and so on.
        plots: the folder for plots of the results; True: the model's run folder, if it has one;
            False: none.
        arch: FILE.py:CLASS, for a model with a custom architecture.
        data_dir: the data folder; None: the default.

    Returns:
        The report of the split; for several splits, a list with a report for each of them. A model for
        numbers is measured on pages that are composed of the images: each report is a `NumbersReport`.

    Raises:
        UsageError: a value is wrong, `predictions` exists, the dataset has other classes, or an option
            is not for a model for numbers.
        ModelError: the model was not found or cannot be opened.
        DataError: the dataset is damaged or unavailable.
        WriteError: `predictions` or the folder for the plots cannot be written.
    """
    names = [split] if isinstance(split, str) else list(dict.fromkeys(split))
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: expected 1 or more")
    plot.check_folder(plots)
    for name in names:
        if dataset is not None:
            datasets.check_split(dataset, name)
    if predictions is not None:
        files.check_not_exists(predictions)
    if isinstance(plots, Path):
        files.make_folder(plots)
    path = models.find_model(model, prefer=formats.ONNX)
    folder = _plots_folder(plots, path)
    prefix = "" if dataset is None else f"{Path(dataset).resolve().name}-"
    _, metadata = models.describe(path)
    if metadata.task == NUMBERS:
        _check_numbers(predictions, robustness=robustness, arch=arch)
        detector = models.open_page_predictor(path)
        splits = [models.load_split(metadata, name, dataset, data_dir) for name in names]
        numbers = [_measure_numbers(detector, images, path, folder, prefix) for images in splits]
        return numbers[0] if isinstance(split, str) else numbers
    predictor = models.open_predictor(path, arch=arch)
    splits = [models.load_split(predictor.metadata, name, dataset, data_dir) for name in names]
    results = [measure(predictor, images, model=str(path), batch_size=batch_size) for images in splits]
    if predictions is not None:
        rows = [(images, outputs) for images, (_, outputs) in zip(splits, results, strict=True)]
        files.write_bytes(predictions, predictions_csv(rows).encode())
    reports = []
    for name, images, (report, outputs) in zip(names, splits, results, strict=True):
        if robustness:
            corrupted = measure_robustness(predictor, images, batch_size=batch_size)
            report = dataclasses.replace(report, robustness=corrupted)
        if folder is not None:
            drawn = plot.draw_results(folder, report, images, outputs, prefix=f"{prefix}{name}-")
            report = dataclasses.replace(report, plots=[str(path) for path in drawn])
        reports.append(report)
    return reports[0] if isinstance(split, str) else reports


def _check_numbers(predictions: Path | None, *, robustness: bool, arch: str | None) -> None:
    """Check that a model for numbers can be measured with these options."""
    options = {"--predictions": predictions, "--robustness": robustness, "--arch": arch}
    for name, value in options.items():
        if value:
            raise UsageError(f"{name}: not for a model for numbers")


def _measure_numbers(
    detector: PagePredictor, split: datasets.Split, path: Path, folder: Path | None, prefix: str
) -> NumbersReport:
    report, pages = detection.measure(detector, split, model=str(path))
    if folder is None:
        return report
    drawn = plot.draw_pages(folder, report, pages, prefix=f"{prefix}{split.name}-")
    return dataclasses.replace(report, plots=[str(path) for path in drawn])


def _plots_folder(plots: bool | Path, path: Path) -> Path | None:
    """The folder to draw into; None: nothing is drawn."""
    if isinstance(plots, Path):
        return plots
    run = run_folder.run_of_model(path)
    return run.folder if plots and run else None
