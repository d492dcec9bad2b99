"""`data`, `data_pages` and `list_datasets`: what datasets and composed pages contain."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl import datasets
from mnistctl.datasets import catalog
from mnistctl.errors import UsageError
from mnistctl.evaluation import figures, page_plots, plots
from mnistctl.pages import stream
from mnistctl.settings import architectures, recipes
from mnistctl.types import Images, Result

SAMPLES = 12  # per class, on the plot
SHOWN_PAGES = 36  # on the plot of pages


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
class PagesSummary(Result):
    """What the pages contain that a recipe for numbers trains on."""

    dataset: str  # of whose training images the pages are composed
    recipe: str  # that trains on such pages
    seed: int  # decides the pages
    pages: int  # number of pages
    height: int  # of a page in pixels
    width: int  # of a page in pixels
    digits: dict[str, int]  # class name -> number of digits
    cut_off: int  # digits that are only partly on their page; the detector may find them or not
    empty_pages: int  # pages without digits: letters, drawings, or nothing
    median_digit_height: float  # in pixels
    plots: list[str]  # path of the plot of pages; empty: no --output


def data_pages(
    dataset: str = "mnist",
    recipe: str = "numbers",
    *,
    pages: int = 300,
    seed: int = 0,
    output: Path | None = None,
    data_dir: Path | None = None,
) -> PagesSummary:
    """Compose pages as a recipe for numbers does, count what is on them, and plot some if asked to.

    Args:
        dataset: a name in `datasets.catalog.DATASETS`, or a folder of pictures; its classes are digits.
        recipe: a recipe for numbers.
        pages: number of pages, 1 or more.
        seed: decides the pages.
        output: a new file for the plot, .png, .svg or .pdf; None: no plot.
        data_dir: the data folder; None: the default.

    Raises:
        UsageError: the recipe trains on images and not on pages, the dataset has other classes than
            digits, the seed is negative, or `output` exists.
        DataError: the dataset is damaged or unavailable.
        WriteError: the plot cannot be written.
    """
    figures.check_output(output)
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected 0 or more")
    if architectures.task_of(recipes.find_recipe(recipe).arch) != architectures.NUMBERS:
        raise UsageError(
            f"--recipe {recipe}: trains on the images of the dataset, which 'mnistctl data {dataset}' "
            "shows; only recipes for numbers compose pages"
        )
    train, _ = datasets.load_for_training(dataset, data_dir=data_dir)
    stream.check_classes(train.dataset, train.class_names)
    composed = stream.compose_pages(train, seed=seed, pages=range(pages))
    if output is not None:
        title = f"{dataset}: pages for the recipe '{recipe}'"
        figures.save(
            page_plots.composed(composed[:SHOWN_PAGES], train.class_names, title=title), output
        )
    labels = np.concatenate([page.labels for page in composed])
    boxes = np.concatenate([page.boxes for page in composed])
    height, width = composed[0].image.shape
    return PagesSummary(
        dataset=dataset,
        recipe=recipe,
        seed=seed,
        pages=pages,
        height=height,
        width=width,
        digits={name: int((labels == label).sum()) for label, name in enumerate(train.class_names)},
        cut_off=int((labels < 0).sum()),
        empty_pages=sum(not len(page.labels) for page in composed),
        median_digit_height=float(np.median(boxes[labels >= 0, 3] - boxes[labels >= 0, 1])),
        plots=[] if output is None else [str(output)],
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
