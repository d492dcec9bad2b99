"""`evaluate`: measure a model on a split of a dataset."""

import dataclasses
from pathlib import Path

from mnistctl import datasets
from mnistctl.api import models, plot
from mnistctl.errors import UsageError
from mnistctl.evaluation.report import Report, measure, measure_robustness, predictions_csv
from mnistctl.models import formats
from mnistctl.run import run_folder
from mnistctl.system import files


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
) -> Report:
    """Measure a model on a split, by default the test set of the dataset it was trained on.

    Args:
        model: see `models.find_model`.
        dataset: the dataset to measure on; None: the model's own.
        split: train, validation (the images held out in training), test, or another split of the
            dataset.
        batch_size: images per batch.
        predictions: a new CSV file for the prediction of every image.
        robustness: also measure on corrupted images: shifted, rotated, blurred, and so on.
        plots: the folder for plots of the results; True: the model's run folder, if it has one;
            False: none.
        arch: FILE.py:CLASS, for a model with a custom architecture.
        data_dir: the data folder; None: the default.

    Raises:
        UsageError: a value is wrong, `predictions` exists, or the dataset has other classes.
        ModelError: the model was not found or cannot be opened.
        DataError: the dataset is damaged or unavailable.
        WriteError: `predictions` or the folder for the plots cannot be written.
    """
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: expected 1 or more")
    plot.check_folder(plots)
    if dataset is not None:
        datasets.check_split(dataset, split)
    if predictions is not None:
        files.check_not_exists(predictions)
    if isinstance(plots, Path):
        files.make_folder(plots)
    path = models.find_model(model, prefer=formats.ONNX)
    predictor = models.open_predictor(path, arch=arch)
    images = models.load_split(predictor.metadata, split, dataset, data_dir)
    report, outputs = measure(predictor, images, model=str(path), batch_size=batch_size)
    if predictions is not None:
        files.write_bytes(predictions, predictions_csv(images, outputs).encode())
    if robustness:
        rows = measure_robustness(predictor, images, batch_size=batch_size)
        report = dataclasses.replace(report, robustness=rows)
    folder = _plots_folder(plots, path)
    if folder is None:
        return report
    prefix = f"{split}-" if dataset is None else f"{Path(dataset).resolve().name}-{split}-"
    drawn = plot.draw_results(folder, report, images, outputs, prefix=prefix)
    return dataclasses.replace(report, plots=[str(path) for path in drawn])


def _plots_folder(plots: bool | Path, path: Path) -> Path | None:
    """The folder to draw into; None: nothing is drawn."""
    if isinstance(plots, Path):
        return plots
    run = run_folder.run_of_model(path)
    return run.folder if plots and run else None
