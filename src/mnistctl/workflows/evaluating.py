"""`evaluate`: a model measured on a split."""

from pathlib import Path

from mnistctl import datasets, evaluation, files, models
from mnistctl.datasets import catalog
from mnistctl.errors import DataError, UsageError
from mnistctl.evaluation import Report
from mnistctl.metadata import Metadata
from mnistctl.watcher import SILENT, Watcher


def evaluate(
    model: str | Path | None = None,
    *,
    dataset: str | None = None,
    split: str = "test",
    batch_size: int = 256,
    predictions: Path | None = None,
    data_dir: Path | None = None,
    watcher: Watcher = SILENT,
) -> Report:
    """Measure a model on a split: by default the test set of the dataset it was trained on.

    Args:
        model: a file, a run folder, a run's name; None: the newest run here.
        dataset: another dataset than the model's own.
        split: train, validation (the images held out when the model was trained), test, or one
            that the dataset has besides.
        batch_size: images at a time.
        predictions: a new CSV file to write every image's answer to.
        data_dir: the data folder, if not the usual one.
        watcher: hears which model it is, and of downloads.

    Raises:
        UsageError: a value is wrong, `predictions` exists, or the dataset has other classes.
        ModelError: no such model, or it cannot be opened.
        DataError: the dataset is damaged or not to be had.
        WriteError: `predictions` cannot be written.
    """
    if batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: expected 1 or more")
    if dataset is not None:
        datasets.check_split(dataset, split)
    if predictions is not None:
        files.check_new(predictions)
    path = models.find(model, watcher=watcher)
    predictor = models.open_predictor(path)
    images_of = split_of(predictor.metadata, split, dataset, data_dir, watcher)
    report, outputs = evaluation.evaluate(predictor, images_of, model=str(path), batch_size=batch_size)
    if predictions is not None:
        files.write_bytes(predictions, evaluation.predictions_csv(images_of, outputs).encode())
    return report


def split_of(
    metadata: Metadata, split: str, dataset: str | None, data_dir: Path | None, watcher: Watcher
) -> datasets.Split:
    """A split as the model's own run divided it, so that validation is what it did not learn from."""
    own = metadata.dataset["name"]
    if dataset is None and own not in catalog.DATASETS and not Path(own).is_dir():
        raise DataError(f"{own}: the pictures that the model learned from are not there; see --dataset")
    wanted = own if dataset is None else datasets.canonical(dataset)
    is_own = wanted == own
    config = metadata.config if is_own else {}
    loaded = datasets.load(
        wanted,
        split,
        data_dir=data_dir,
        validation_size=config.get("validation_size"),
        split_seed=config.get("split_seed", 0),
        watcher=watcher,
    )
    if is_own and split in ("train", "validation") and loaded.sha256 != metadata.dataset["sha256"]:
        watcher.warn(f"{wanted} has changed since: {split} may not be what it was in training")
    return loaded
