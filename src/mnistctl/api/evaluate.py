"""`evaluate`: a model measured on a split."""

import dataclasses
from pathlib import Path

from mnistctl import datasets
from mnistctl.api import models, plot
from mnistctl.api.models import split_of
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
    plots: bool = True,
    pictures: Path | None = None,
    arch: str | None = None,
    data_dir: Path | None = None,
) -> Report:
    """Measure a model on a split: by default the test set of the dataset it was trained on.

    Args:
        model: see `models.find`.
        dataset: another dataset than the model's own.
        split: train, validation (the images held out when the model was trained), test, or one
            that the dataset has besides.
        batch_size: images at a time.
        predictions: a new CSV file to write every image's answer to.
        robustness: whether to measure it on spoilt images too: shifted, turned, blurred, and so on.
        plots: whether to draw pictures of its answers.
        pictures: the folder they go into; None: that of the model's run, and of a model that is not
            of a run nothing is drawn.
        arch: FILE.py:CLASS, for a model of a person's own class.
        data_dir: the data folder, if not the usual one.

    Raises:
        UsageError: a value is wrong, `predictions` exists, or the dataset has other classes.
        ModelError: no such model, or it cannot be opened.
        DataError: the dataset is damaged or not to be had.
        WriteError: `predictions` cannot be written, or `pictures` not be made.
    """
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: expected 1 or more")
    if pictures is not None and not plots:
        raise UsageError("--pictures and --no-plots: choose one")
    if pictures is not None and pictures.exists() and not pictures.is_dir():
        raise UsageError(f"--pictures {pictures}: not a folder")
    if dataset is not None:
        datasets.check_split(dataset, split)
    if predictions is not None:
        files.check_new(predictions)
    if pictures is not None:
        files.make_folder(pictures)
    path = models.find(model, prefer=formats.ONNX)
    predictor = models.open_predictor(path, arch=arch)
    images_of = split_of(predictor.metadata, split, dataset, data_dir)
    report, outputs = measure(predictor, images_of, model=str(path), batch_size=batch_size)
    if predictions is not None:
        files.write_bytes(predictions, predictions_csv(images_of, outputs).encode())
    if robustness:
        rows = measure_robustness(predictor, images_of, batch_size=batch_size)
        report = dataclasses.replace(report, robustness=rows)
    run = run_folder.of(path)
    folder = run.folder if pictures is None and run is not None else pictures
    if plots and folder is not None:
        of = "" if dataset is None else f"{Path(dataset).resolve().name}-"
        drawn = plot.draw_answers(folder, report, images_of, outputs, prefix=f"{of}{split}-")
        report = dataclasses.replace(report, pictures=[str(picture) for picture in drawn])
    return report
