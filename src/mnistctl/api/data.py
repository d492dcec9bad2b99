"""`data` and `list_datasets`: what a dataset contains, and which datasets there are."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl import datasets
from mnistctl.datasets import catalog
from mnistctl.evaluation import figures, plots
from mnistctl.types import Images, Result

SAMPLES = 12  # per class, on the plot


@dataclass(frozen=True)
class DatasetSummary(Result):
    """What a dataset contains."""

    dataset: str  # name or folder
    class_names: list[str]  # in the order of the labels
    images: dict[str, dict[str, int]]  # split -> class name -> number of images
    duplicates: int  # test images that are, pixel by pixel, also in train or validation
    plots: list[str]  # path of the plot of samples; empty: no --output
    samples: list[tuple[str, Images]] = field(repr=False)  # class name, uint8 (N, 28, 28) of train

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the samples."""
        return {name: value for name, value in vars(self).items() if name != "samples"}


def data(
    dataset: str = "mnist",
    *,
    output: Path | None = None,
    data_dir: Path | None = None,
) -> DatasetSummary:
    """Count a dataset's images per class and split, count duplicates, and plot samples if asked to.

    Args:
        dataset: a name in `datasets.catalog.DATASETS`, or a folder of pictures.
        output: a new file for the plot, .png, .svg or .pdf; None: no plot.
        data_dir: the data folder; None: the default.

    Raises:
        UsageError: there is no such dataset, or `output` exists.
        DataError: the dataset is damaged or unavailable.
        WriteError: the plot cannot be written.
    """
    figures.check_output(output)
    train, validation = datasets.load_for_training(dataset, data_dir=data_dir)
    test = datasets.load(dataset, "test", data_dir=data_dir)
    names = list(train.class_names)
    counts = {
        split.name: dict(
            zip(names, np.bincount(split.labels, minlength=len(names)).tolist(), strict=True)
        )
        for split in (train, validation, test)
    }
    training_images = {image.tobytes() for split in (train, validation) for image in split.images}
    samples = [
        (name, train.images[rows[:SAMPLES]])
        for label, name in enumerate(names)
        if len(rows := np.flatnonzero(train.labels == label))
    ]
    if output is not None:
        figures.save(plots.samples(samples, title=f"{dataset}: training images"), output)
    return DatasetSummary(
        dataset=dataset,
        class_names=names,
        images=counts,
        duplicates=sum(image.tobytes() in training_images for image in test.images),
        plots=[] if output is None else [str(output)],
        samples=samples,
    )


@dataclass(frozen=True)
class DatasetInfo(Result):
    """A dataset of the catalog."""

    name: str  # as in --dataset
    summary: str  # one line
    classes: list[str]  # class names
    licence: str  # of the data
    citation: str  # of the publication
    files: list[str]  # names of the raw files
    mirrors: list[str]  # URLs
    folder: str  # where the raw files are stored
    on_disk: bool  # whether all raw files are there; they are not verified


def list_datasets(*, data_dir: Path | None = None) -> list[DatasetInfo]:
    """List the datasets of the catalog, and whether their files are on disk. No file is read."""
    return [
        DatasetInfo(
            name=dataset.name,
            summary=dataset.summary,
            classes=list(dataset.class_names),
            licence=dataset.licence,
            citation=dataset.citation,
            files=[file.name for file in dataset.files],
            mirrors=list(dataset.mirrors),
            folder=str(datasets.raw_folder(dataset, data_dir)),
            on_disk=datasets.is_on_disk(dataset, data_dir),
        )
        for dataset in catalog.DATASETS.values()
    ]
