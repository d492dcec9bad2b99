"""`compare`: models side by side, and whether they differ by more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.errors import UsageError
from mnistctl.evaluation import metrics
from mnistctl.evaluation.report import measure
from mnistctl.models import formats
from mnistctl.models.metadata import Metadata
from mnistctl.types import Result

SIGNIFICANCE = 0.05  # share of comparisons of equal models that may be called significant


@dataclass(frozen=True)
class ModelSummary(Result):
    """A model, and its metrics on the images that all models were measured on."""

    name: str  # the name of the run, "bundled", or the path
    model: str  # path of the model file
    format: str  # safetensors or an export format
    bytes: int  # size of all its files
    arch: str  # architecture
    parameters: int  # of the net; of an ensemble, of all its nets
    train_seconds: float | None  # training time until this model was saved
    accuracy: float  # in [0, 1]
    accuracy_interval: tuple[float, float]  # 95% Wilson interval
    loss: float  # cross-entropy in nats


@dataclass(frozen=True)
class Pair(Result):
    """Two models on the same images, compared by McNemar's test."""

    first: str  # path of the first model
    second: str  # path of the second model
    difference: float  # accuracy of the second minus that of the first
    only_first_right: int  # images that only the first classifies correctly
    only_second_right: int  # images that only the second classifies correctly
    p_value: float  # exact, two-sided; adjusted by Holm's method for several pairs
    significant: bool  # whether the p-value is below 0.05


@dataclass(frozen=True)
class Comparison(Result):
    """Several models on the same images."""

    dataset: str  # whose images were used
    split: str  # test
    images: int  # number of images
    models: list[ModelSummary]  # one entry per model
    differences: dict[str, list[Any]]  # setting -> its value in each model, where they differ
    pairs: list[Pair]  # one entry per pair of models


def compare(
    compared: Sequence[str | Path],
    *,
    dataset: str | None = None,
    arch: str | Sequence[str] = (),
    data_dir: Path | None = None,
) -> Comparison:
    """Measure models on the same test images and compare their settings.

    Args:
        compared: two or more files, run folders, names of runs, or patterns of names ('lr02-seed*').
        dataset: the dataset whose test images are used; None: the one the models were trained on.
        arch: FILE.py:CLASS, for models with custom architectures; one per class.
        data_dir: the data folder; None: the default.

    Raises:
        UsageError: fewer than two models, a model named twice, models of different datasets without
            `dataset`, or models with other classes than the dataset.
        ModelError: a model was not found or cannot be opened, or a pattern matches no run.
        DataError: the dataset is damaged or unavailable.
    """
    compared = models.expand(compared)
    if len(compared) < 2:
        raise UsageError(
            f"compare: {len(compared)} model; name two or more, or a pattern that matches several runs"
        )
    if dataset is not None:
        datasets.check_split(dataset, "test")
    paths = [models.find_model(model, prefer=formats.ONNX) for model in compared]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("compare: a model is named twice")
    descriptions = [models.describe(path) for path in paths]
    metadata = [description[1] for description in descriptions]
    split = _common_split(metadata, dataset, data_dir)
    rows, is_right = [], []
    for path, (format_name, model_metadata) in zip(paths, descriptions, strict=True):
        predictor = models.open_predictor(path, arch=models.matching_arch(model_metadata, arch))
        report, outputs = measure(predictor, split, model=str(path), batch_size=256)
        is_right.append(outputs.logits.argmax(axis=1) == split.labels)
        rows.append(
            ModelSummary(
                name=models.name_of(path),
                model=str(path),
                format=format_name,
                bytes=models.size_of(path),
                arch=model_metadata.arch,
                parameters=model_metadata.parameters,
                train_seconds=model_metadata.metrics.get("train_seconds"),
                accuracy=report.accuracy,
                accuracy_interval=report.accuracy_interval,
                loss=report.loss,
            )
        )
    return Comparison(
        dataset=split.dataset,
        split=split.name,
        images=len(split.images),
        models=rows,
        differences=_differences(metadata),
        pairs=_pairs(rows, is_right),
    )


def _common_split(
    metadata: Sequence[Metadata], dataset: str | None, data_dir: Path | None
) -> datasets.Split:
    """The test images of `dataset`, or of the dataset that all models were trained on."""
    trained_on = {model.dataset["name"] for model in metadata}
    if dataset is None and len(trained_on) > 1:
        raise UsageError(
            f"compare: trained on {' and '.join(sorted(trained_on))}; choose one with --dataset"
        )
    return models.load_split(metadata[0], "test", dataset, data_dir)


def _differences(metadata: Sequence[Metadata]) -> dict[str, list[Any]]:
    settings = [{**model.config, **model.arch_args, "arch_args": None} for model in metadata]
    names = dict.fromkeys(name for values in settings for name in values)
    columns = {name: [values.get(name) for values in settings] for name in names}
    return {
        name: column for name, column in columns.items() if any(value != column[0] for value in column)
    }


def _pairs(rows: Sequence[ModelSummary], is_right: Sequence[npt.NDArray[np.bool_]]) -> list[Pair]:
    pairs = list(combinations(range(len(rows)), 2))
    counts = [
        (
            int((is_right[first] & ~is_right[second]).sum()),
            int((is_right[second] & ~is_right[first]).sum()),
        )
        for first, second in pairs
    ]
    p_values = metrics.holm([metrics.mcnemar(*count) for count in counts])
    return [
        Pair(
            first=rows[first].model,
            second=rows[second].model,
            difference=rows[second].accuracy - rows[first].accuracy,
            only_first_right=only_first,
            only_second_right=only_second,
            p_value=p_value,
            significant=p_value < SIGNIFICANCE,
        )
        for (first, second), (only_first, only_second), p_value in zip(
            pairs, counts, p_values, strict=True
        )
    ]
