"""`compare`: models side by side, and whether the difference is more than chance."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.api.models import split_of
from mnistctl.errors import UsageError
from mnistctl.evaluation import metrics
from mnistctl.evaluation.report import measure
from mnistctl.models import formats
from mnistctl.models.metadata import Metadata

SIGNIFICANCE = 0.05  # the share of comparisons of equal models that may be called different


@dataclass(frozen=True)
class ModelSummary:
    """One model, and what it came to on the images that all were measured on."""

    model: str
    format: str
    bytes: int
    arch: str
    parameters: int
    train_seconds: float | None  # until this model was saved
    accuracy: float  # in [0, 1]
    accuracy_interval: tuple[float, float]  # 95%, Wilson
    loss: float  # cross-entropy in nats


@dataclass(frozen=True)
class Pair:
    """Two models on the same images, by McNemar's test."""

    first: str
    second: str
    difference: float  # accuracy of the second less that of the first
    only_first_right: int  # images
    only_second_right: int
    p_value: float  # exact, two-sided; for several pairs adjusted by Holm's method
    significant: bool


@dataclass(frozen=True)
class Comparison:
    """Models side by side."""

    dataset: str
    split: str
    images: int
    models: list[ModelSummary]
    differences: dict[str, list[Any]]  # setting -> its value in each model, where they differ
    pairs: list[Pair]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def compare(
    compared: Sequence[str | Path],
    *,
    dataset: str | None = None,
    arch: str | Sequence[str] = (),
    data_dir: Path | None = None,
) -> Comparison:
    """Measure models on the same test images, and say what differs.

    Args:
        compared: two or more: files, run folders or names of runs.
        dataset: whose test set to use; None: that of the dataset they were trained on.
        arch: FILE.py:CLASS, for models of a person's own classes; one for each class.
        data_dir: the data folder, if not the usual one.

    Raises:
        UsageError: fewer than two models, or they were trained on different datasets and none is
            named, or their classes differ.
        ModelError: no such model, or it cannot be opened.
        DataError: the dataset is damaged or not to be had.
    """
    if len(compared) < 2:
        raise UsageError("compare: name two models or more")
    if len(set(map(str, compared))) < len(compared):
        raise UsageError("compare: a model is named twice")
    if dataset is not None:
        datasets.check_split(dataset, "test")
    paths = [models.find(model, prefer=formats.ONNX) for model in compared]
    described = [models.describe(path) for path in paths]
    trained_on = {about.dataset["name"] for _, about in described}
    if dataset is None and len(trained_on) > 1:
        raise UsageError(
            f"compare: trained on {' and '.join(sorted(trained_on))}; choose one with --dataset"
        )
    split = split_of(described[0][1], "test", dataset, data_dir)
    rows, right = [], []
    for path, (format_name, about) in zip(paths, described, strict=True):
        own = models.custom_class(about, arch)
        predictor = models.open_predictor(path, arch=own)
        report, outputs = measure(predictor, split, model=str(path), batch_size=256)
        right.append(outputs.logits.argmax(axis=1) == split.labels)
        rows.append(
            ModelSummary(
                model=str(path),
                format=format_name,
                bytes=models.size_of(path),
                arch=about.arch,
                parameters=about.parameters,
                train_seconds=about.metrics.get("train_seconds"),
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
        differences=_differences([about for _, about in described]),
        pairs=_pairs(rows, right),
    )


def _differences(described: Sequence[Metadata]) -> dict[str, list[Any]]:
    settings = [{**about.config, **about.arch_args, "arch_args": None} for about in described]
    names = dict.fromkeys(name for values in settings for name in values)
    found = {name: [values.get(name) for values in settings] for name in names}
    return {name: values for name, values in found.items() if any(v != values[0] for v in values)}


def _pairs(rows: Sequence[ModelSummary], right: Sequence[Any]) -> list[Pair]:
    numbers = list(combinations(range(len(rows)), 2))
    only = [
        (int((right[first] & ~right[second]).sum()), int((right[second] & ~right[first]).sum()))
        for first, second in numbers
    ]
    p_values = metrics.holm([metrics.mcnemar(*counts) for counts in only])
    return [
        Pair(
            first=rows[first].model,
            second=rows[second].model,
            difference=rows[second].accuracy - rows[first].accuracy,
            only_first_right=counts[0],
            only_second_right=counts[1],
            p_value=p_value,
            significant=p_value < SIGNIFICANCE,
        )
        for (first, second), counts, p_value in zip(numbers, only, p_values, strict=True)
    ]
