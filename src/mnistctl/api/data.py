"""`data`: what a dataset holds; and which datasets there are."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl import datasets
from mnistctl.datasets import catalog
from mnistctl.evaluation import plots
from mnistctl.system import files
from mnistctl.types import Images

SAMPLES = 12  # a class, on the sheet


@dataclass(frozen=True)
class DatasetSummary:
    """What a dataset holds."""

    dataset: str
    class_names: list[str]
    images: dict[str, dict[str, int]]  # split -> class name -> number of images
    duplicates: int  # test images that are in train or validation too, to the last pixel
    picture: str  # the sheet of samples
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
    """Count a dataset's images by class and split, look for duplicates, draw a sheet of samples.

    Args:
        dataset: a name in `datasets.catalog.DATASETS`, or a folder of pictures.
        output: a new file for the sheet; None: `<dataset>-samples.png` in the working folder,
            drawn anew each time.
        data_dir: the data folder, if not the usual one.

    Raises:
        UsageError: no such dataset, or `output` exists.
        DataError: the dataset is damaged or not to be had.
        WriteError: the sheet cannot be written.
    """
    if output is not None:
        files.check_new(output)
    train, validation = datasets.load_for_training(dataset, data_dir=data_dir)
    test = datasets.load(dataset, "test", data_dir=data_dir)
    names = list(train.class_names)
    counts = {
        split.name: dict(
            zip(names, np.bincount(split.labels, minlength=len(names)).tolist(), strict=True)
        )
        for split in (train, validation, test)
    }
    seen = {image.tobytes() for split in (train, validation) for image in split.images}
    samples = [
        (name, train.images[rows[:SAMPLES]])
        for label, name in enumerate(names)
        if len(rows := np.flatnonzero(train.labels == label))
    ]
    target = output or Path(f"{Path(dataset).resolve().name}-samples.png")
    files.write_bytes(target, plots.sample_sheet(samples, title=f"{dataset}: training images"))
    return DatasetSummary(
        dataset=dataset,
        class_names=names,
        images=counts,
        duplicates=sum(image.tobytes() in seen for image in test.images),
        picture=str(target),
        samples=samples,
    )


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset in the catalog, and what of it is on disk."""

    name: str
    summary: str
    classes: list[str]
    licence: str
    citation: str
    files: list[str]
    mirrors: list[str]
    folder: str
    on_disk: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def list_datasets(*, data_dir: Path | None = None) -> list[DatasetInfo]:
    """Every dataset in the catalog, and whether its files are on disk (they are not read)."""
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
