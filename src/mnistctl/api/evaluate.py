"""`evaluate`: measure a model on splits of a dataset."""

import dataclasses
from pathlib import Path
from typing import overload

from mnistctl import datasets
from mnistctl.api import models, plot
from mnistctl.errors import UsageError
from mnistctl.evaluation.report import Report, measure, measure_robustness, predictions_csv
from mnistctl.models import formats
from mnistctl.run import run_folder
from mnistctl.system import files


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
) -> Report: ...


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
) -> list[Report]: ...


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
) -> Report | list[Report]:
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
        The report of the split; for several splits, a list with a report for each of them.

    Raises:
        UsageError: a value is wrong, `predictions` exists, or the dataset has other classes.
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
    predictor = models.open_predictor(path, arch=arch)
    splits = [models.load_split(predictor.metadata, name, dataset, data_dir) for name in names]
    results = [measure(predictor, images, model=str(path), batch_size=batch_size) for images in splits]
    if predictions is not None:
        rows = [(images, outputs) for images, (_, outputs) in zip(splits, results, strict=True)]
        files.write_bytes(predictions, predictions_csv(rows).encode())
    folder = _plots_folder(plots, path)
    dataset_prefix = "" if dataset is None else f"{Path(dataset).resolve().name}-"
    reports = []
    for name, images, (report, outputs) in zip(names, splits, results, strict=True):
        if robustness:
            corrupted = measure_robustness(predictor, images, batch_size=batch_size)
            report = dataclasses.replace(report, robustness=corrupted)
        if folder is not None:
            prefix = f"{dataset_prefix}{name}-"
            drawn = plot.draw_results(folder, report, images, outputs, prefix=prefix)
            report = dataclasses.replace(report, plots=[str(path) for path in drawn])
        reports.append(report)
    return reports[0] if isinstance(split, str) else reports


def _plots_folder(plots: bool | Path, path: Path) -> Path | None:
    """The folder to draw into; None: nothing is drawn."""
    if isinstance(plots, Path):
        return plots
    run = run_folder.run_of_model(path)
    return run.folder if plots and run else None
