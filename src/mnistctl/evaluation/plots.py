"""Plots, drawn with matplotlib. Each function returns a figure; `figures.save` writes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistctl.evaluation.corruptions import CORRUPTIONS
from mnistctl.evaluation.figures import (
    FONT_SIZE,
    RIGHT,
    WRONG,
    new_figure,
    percent,
    short,
    show_ink,
    tidy,
)
from mnistctl.evaluation.metrics import Counts, wilson_interval
from mnistctl.models.predictor import Outputs
from mnistctl.types import IMAGE_SIZE, Images, Labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_WRITTEN_CLASSES = 20  # a confusion matrix of more classes has no numbers in its cells
_COLUMNS = 8  # of a sheet of predictions
_LOW_ACCURACY = 0.95  # lower accuracies are emphasised


def samples(images: Sequence[tuple[str, Images]], *, title: str) -> "Figure":
    """A row of images for each class.

    Args:
        images: class name and its images, uint8 (N, 28, 28), N of 1 or more; at least one class.
        title: of the plot.
    """
    columns = max(len(row) for _, row in images)
    figure = new_figure(1.6 + 0.5 * columns, 0.6 + 0.5 * len(images), title)
    grid = figure.subplots(len(images), 1, squeeze=False)[:, 0]
    for axes, (name, row) in zip(grid, images, strict=True):
        strip = np.zeros((IMAGE_SIZE, IMAGE_SIZE * columns), dtype=np.uint8)
        strip[:, : IMAGE_SIZE * len(row)] = np.hstack(list(row))
        show_ink(axes, strip)
        axes.set_ylabel(short(name), rotation=0, ha="right", va="center", parse_math=False)
    return figure


def confusion(
    counts: Counts,
    class_names: Sequence[str],
    predicted_names: Sequence[str] | None = None,
    *,
    title: str,
) -> "Figure":
    """A confusion matrix: each cell has the number of images and its share of the true class.

    Args:
        counts: (C, C), rows are the true class, columns the predicted class.
        class_names: C names, of the rows.
        predicted_names: C names, of the columns; None: those of the rows.
        title: of the plot.
    """
    classes = len(class_names)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    is_written = classes <= _MAX_WRITTEN_CLASSES
    side = 2.4 + (0.66 if is_written else 0.2) * classes
    figure = new_figure(side + 1, side, title)
    from matplotlib.colors import PowerNorm

    axes = figure.subplots()
    norm = PowerNorm(0.4, vmin=0, vmax=100)  # not linear: one image in a hundred must be visible
    image = axes.imshow(shares, cmap="Blues", norm=norm)
    for row, column in np.argwhere(counts) if is_written else ():
        axes.text(
            column,
            row,
            f"{counts[row, column]:,}\n{percent(shares[row, column])}",
            ha="center",
            va="center",
            fontsize=FONT_SIZE - 2,
            color="white" if norm(shares[row, column]) > 0.55 else "black",
        )
    rows = [short(name) for name in class_names]
    columns = [short(name) for name in predicted_names or class_names]
    is_long = sum(len(name) > 3 for name in columns) > 1
    rotation, alignment = (45, "right") if is_long else (0, "center")
    axes.set_xticks(range(classes), columns, parse_math=False, rotation=rotation, ha=alignment)
    axes.set_yticks(range(classes), rows, parse_math=False)
    axes.tick_params(labelsize=FONT_SIZE)
    axes.set_xlabel("predicted label", fontsize=FONT_SIZE)
    axes.set_ylabel("true label", fontsize=FONT_SIZE)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 1, 5, 20, 50, 100])
    bar.set_label("share of the true class (%)", fontsize=FONT_SIZE)
    return figure


def predictions(
    images: Images, labels: Labels, outputs: Outputs, class_names: Sequence[str], *, title: str
) -> "Figure":
    """A sheet of images; above each its true label, and the predicted label with its probability.

    Args:
        images: uint8 (N, 28, 28); N may be 0.
        labels: (N,).
        outputs: of these images.
        class_names: C names.
        title: of the plot.
    """
    columns = min(_COLUMNS, max(1, len(images)))
    rows = max(1, -(-len(images) // columns))
    if len(images):
        title += "\nabove each image: true label; predicted label and its probability"
    longest = max(len(short(name)) for name in class_names)
    separator, height = (" ", 1.6) if longest <= 3 else ("\n", 1.8)
    width = max(1.35, 0.1 * (longest + 2))
    figure = new_figure(max(4, width * columns), 0.9 + height * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    predicted = outputs.logits.argmax(axis=1)
    for index, image in enumerate(images):
        axes = grid[index]
        is_right = labels[index] == predicted[index]
        colour = RIGHT if is_right else WRONG
        show_ink(axes, image)
        axes.spines[:].set(visible=True, color=colour, linewidth=1 if is_right else 3)
        probability = percent(100 * outputs.probabilities[index].max())
        mark = "✓" if is_right else "✗"
        axes.set_title(
            f"{short(class_names[labels[index]])}\n"
            f"{mark} {short(class_names[predicted[index]])}{separator}{probability}",
            fontsize=FONT_SIZE - 1,
            color=colour,
            fontweight="normal" if is_right else "bold",
            parse_math=False,
        )
    for axes in grid[len(images) :]:
        axes.set_axis_off()
    if not len(images):
        grid[0].text(0.5, 0.5, "none", ha="center", va="center")
    return figure


def reliability(bins: Sequence[Mapping[str, Any]], *, title: str) -> "Figure":
    """A reliability diagram: accuracy by confidence, and the number of images in each bin.

    Each accuracy has its 95% interval: a bin of few images says little.

    Args:
        bins: images, confidence and accuracy, from `metrics.reliability`; at least one.
        title: of the plot.
    """
    figure = new_figure(6, 6.6, title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    images = [row["images"] for row in bins]
    confidence, accuracy = (
        100 * np.array([row[key] for row in bins]) for key in ("confidence", "accuracy")
    )
    right = np.rint(accuracy * images / 100).astype(int)
    low, high = 100 * np.transpose([*map(wilson_interval, right, images)])
    errors = np.maximum(0, [accuracy - low, high - accuracy])
    above.plot([0, 100], [0, 100], color="grey", ls="--", linewidth=1, label="perfect calibration")
    above.errorbar(
        confidence,
        accuracy,
        errors,
        color=RIGHT,
        marker="o",
        linestyle="",
        capsize=3,
        clip_on=False,
        label="model, with 95% interval",
    )
    above.set_ylabel("accuracy (%)", fontsize=FONT_SIZE)
    above.set_ylim(0, 100)
    above.legend(frameon=False, fontsize=FONT_SIZE)
    below.vlines(confidence, 0.5, images, color=RIGHT, linewidth=6)
    below.set_yscale("log")
    below.set_ylim(bottom=0.5)
    below.set_xlim(0, 101)
    below.set_ylabel("images", fontsize=FONT_SIZE)
    below.set_xlabel("confidence (%)", fontsize=FONT_SIZE)
    for axes in (above, below):
        tidy(axes)
    return figure


def robustness(
    rows: Sequence[Mapping[str, Any]], image: Images, *, accuracy: float, title: str
) -> "Figure":
    """An image under every corruption and strength, with the accuracy on all images corrupted so.

    Args:
        rows: from `report.measure_robustness`.
        image: uint8 (28, 28).
        accuracy: on the original images, in [0, 1].
        title: of the plot.
    """
    columns = 1 + max(len(corruption.strengths) for corruption in CORRUPTIONS)
    accuracies = {(row["corruption"], row["strength"]): row["accuracy"] for row in rows}
    figure = new_figure(1.25 * columns + 1.6, 1.5 * len(CORRUPTIONS) + 0.6, title)
    grid = figure.subplots(len(CORRUPTIONS), columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for (original, *corrupted), corruption in zip(grid, CORRUPTIONS, strict=True):
        unit = f"\n({corruption.unit})" if corruption.unit else ""
        original.set_axis_on()
        show_ink(original, image)
        original.set_title(f"original: {percent(100 * accuracy)}", fontsize=FONT_SIZE - 2)
        original.set_ylabel(
            corruption.name + unit, rotation=0, ha="right", va="center", fontsize=FONT_SIZE
        )
        for axes, strength in zip(corrupted, corruption.strengths, strict=False):
            share = accuracies[corruption.name, strength]
            axes.set_axis_on()
            show_ink(axes, corruption.corrupt(image[None], strength, np.random.default_rng(0))[0])
            prefix = f"{strength:g}: " if corruption.unit else ""
            axes.set_title(
                prefix + percent(100 * share),
                fontsize=FONT_SIZE - 2,
                color=WRONG if share < _LOW_ACCURACY else "black",
                fontweight="bold" if share < _LOW_ACCURACY else "normal",
            )
    return figure


_BARS = {  # key of a format -> title, format of a value
    "latency_ms": ("latency of one image (ms)\nlower is better", "{:.2f}"),
    "images_per_second": ("images per second, batches of 256\nhigher is better", "{:,.0f}"),
    "bytes": ("size (kB)\nlower is better", "{:,.0f}"),
}


def benchmark(result: Mapping[str, Any]) -> "Figure":
    """Bars of latency, speed and size, one row per format.

    Args:
        result: from `BenchmarkResult.to_json`, with at least one format that is done.
    """
    rows = [row for row in result["formats"] if row["status"] == "done"][::-1]
    names = [row["format"] for row in rows]
    model = "/".join(Path(result["model"]).parts[-2:])  # with its run folder
    figure = new_figure(11, 1.8 + 0.5 * len(rows), model)
    panels = figure.subplots(1, len(_BARS), sharey=True)
    for axes, (key, (title, template)) in zip(panels, _BARS.items(), strict=True):
        values = [row[key] / 1e3 if key == "bytes" else row[key] for row in rows]
        bars = axes.barh(names, values, color=RIGHT, height=0.6)
        axes.bar_label(bars, [template.format(value) for value in values], padding=3)
        axes.set_title(title, fontsize=FONT_SIZE)
        axes.set_xlim(0, 1.3 * max(values))
        axes.set_xticks([])
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    return figure
