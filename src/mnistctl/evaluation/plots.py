"""Pictures for people, drawn by matplotlib; each function gives a PNG.

The colours are those of Okabe and Ito, which the colour-blind tell apart too; nothing is told by
colour alone.
"""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistctl.evaluation.corruptions import CORRUPTIONS
from mnistctl.evaluation.metrics import Counts
from mnistctl.models.predictor import Outputs
from mnistctl.run.epoch import Epoch
from mnistctl.types import Images, Labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 150
FONT_SIZE = 12  # points: still read at half size
_LONGEST_NAME = 24  # characters beside a row
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
RIGHT, WRONG = "#0072B2", "#D55E00"
_MOST_WRITTEN_CLASSES = 20  # of which a confusion matrix has room for figures
_MOST_MARKED = 20  # epochs of a curve, for a mark each
_MARKS = "os^Dv"
_STYLES: dict[str, dict[str, Any]] = {
    "train": {"linestyle": "--", "linewidth": 1.4, "markersize": 3},
    "validation": {"linestyle": "-", "linewidth": 2, "markersize": 5},
}
_COLUMNS = 8  # of a sheet of answers
_WEAK = 0.95  # an accuracy below it stands out


def sample_sheet(samples: Sequence[tuple[str, Images]], *, title: str) -> bytes:
    """A row of images for each class.

    Args:
        samples: class name and its images, uint8 (N, 28, 28), N of 1 or more; at least one class.
        title: of the sheet.
    """
    columns = max(len(images) for _, images in samples)
    figure = new_figure(1.6 + 0.5 * columns, 0.6 + 0.5 * len(samples), title)
    grid = figure.subplots(len(samples), 1, squeeze=False)[:, 0]
    for axes, (name, images) in zip(grid, samples, strict=True):
        strip = np.zeros((28, 28 * columns), dtype=np.uint8)
        strip[:, : 28 * len(images)] = np.hstack(list(images))
        show_ink(axes, strip)
        axes.set_ylabel(short(name), rotation=0, ha="right", va="center", parse_math=False)
    return png(figure)


def curves(runs: Sequence[tuple[str, Sequence[Epoch]]], *, title: str) -> bytes:
    """Loss and accuracy over the epochs, of train and of validation, of one run or several.

    Args:
        runs: a name and what its epochs came to, at least one; at least one run.
        title: of the picture.
    """
    figure = new_figure(10, 4.4, title)
    panels = figure.subplots(1, 2)
    handles: dict[str, Any] = {}
    for number, (_, epochs) in enumerate(runs):
        x = [epoch.epoch for epoch in epochs]
        for part, style in _STYLES.items():
            # One run: a colour a part. Several: a colour and a mark a run.
            place = number if len(runs) > 1 else int(part == "validation")
            label = str(number) if len(runs) > 1 else part
            for axes, kind, factor in zip(panels, ("loss", "accuracy"), (1, 100), strict=True):
                y = [getattr(epoch, f"{part}_{kind}") for epoch in epochs]
                if None in y:  # no validation images
                    continue
                (handles[label],) = axes.plot(
                    x,
                    [factor * value for value in y],
                    **style,
                    color=_COLOURS[place % len(_COLOURS)],
                    marker=_MARKS[place % len(_MARKS)],
                    markevery=max(1, len(x) // _MOST_MARKED),
                    clip_on=False,
                )
    _label_curves(panels, [len(epochs) for _, epochs in runs])
    labels = list(handles)
    if len(runs) > 1:
        labels = [short(name) or " " for name, _ in runs]
        handles |= _styles_alone()
        labels += list(handles)[len(labels) :]
    figure.legend(
        handles.values(),
        labels,
        loc="outside lower center",
        ncols=min(len(handles), 6),
        frameon=False,
        fontsize=FONT_SIZE,
    )
    return png(figure)


def confusion(counts: Counts, class_names: Sequence[str], *, title: str) -> bytes:
    """A confusion matrix: in each cell the number of images, and its share of the true class.

    Args:
        counts: (C, C), rows the true class, columns the predicted one.
        class_names: C of them.
        title: of the picture.
    """
    from matplotlib.colors import PowerNorm

    classes = len(class_names)
    totals = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(totals, 1)
    is_written = classes <= _MOST_WRITTEN_CLASSES
    side = 2.4 + (0.66 if is_written else 0.2) * classes
    figure = new_figure(side + 1, side, title)
    axes = figure.subplots()
    # Not in proportion: one image in a hundred should be seen.
    norm = PowerNorm(0.4, vmin=0, vmax=100)
    image = axes.imshow(shares, cmap="Blues", norm=norm)
    for row, column in np.ndindex(classes, classes) if is_written else ():
        if count := counts[row, column]:
            axes.text(
                column,
                row,
                f"{count:,}\n{percent(shares[row, column])}",
                ha="center",
                va="center",
                fontsize=FONT_SIZE - 2,
                color="white" if norm(shares[row, column]) > 0.55 else "black",
            )
    names = [short(name) for name in class_names]
    is_long = max(map(len, names)) > 3
    axes.set_xticks(
        range(classes),
        names,
        parse_math=False,
        rotation=45 if is_long else 0,
        ha="right" if is_long else "center",
    )
    axes.set_yticks(range(classes), names, parse_math=False)
    axes.tick_params(labelsize=FONT_SIZE)
    axes.set_xlabel("read as", fontsize=FONT_SIZE)
    axes.set_ylabel("is", fontsize=FONT_SIZE)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[0, 1, 5, 20, 50, 100])
    bar.set_label("% of the class", fontsize=FONT_SIZE)
    return png(figure)


def answers(
    images: Images, labels: Labels, outputs: Outputs, class_names: Sequence[str], *, title: str
) -> bytes:
    """A sheet of images, each with its label, what it was read as, and how probable that seemed.

    Args:
        images: uint8 (N, 28, 28); N may be 0.
        labels: (N,).
        outputs: of these images.
        class_names: C of them.
        title: of the sheet.
    """
    columns = min(_COLUMNS, max(1, len(images)))
    rows = max(1, -(-len(images) // columns))
    figure = new_figure(max(4, 1.35 * columns), 0.7 + 1.6 * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    predicted = outputs.logits.argmax(axis=1)
    for axes, image, label, guess, probability in zip(
        grid, images, labels, predicted, outputs.probabilities.max(axis=1), strict=False
    ):
        is_right = label == guess
        colour = RIGHT if is_right else WRONG
        show_ink(axes, image)
        axes.spines[:].set(visible=True, color=colour, linewidth=1 if is_right else 3)
        mark = "✓" if is_right else "✗"
        guessed = f"{mark} {short(class_names[guess])} {percent(100 * probability)}"
        axes.set_title(
            f"{short(class_names[label])}\n{guessed}",
            fontsize=FONT_SIZE - 1,
            color=colour,
            fontweight="normal" if is_right else "bold",
            parse_math=False,
        )
    for axes in grid[len(images) :]:
        axes.set_axis_off()
    if not len(images):
        grid[0].text(0.5, 0.5, "none", ha="center", va="center")
    return png(figure)


def reliability(bins: Sequence[dict[str, Any]], *, title: str) -> bytes:
    """How often the answers are right, by how probable they were said to be; and how many there are.

    Args:
        bins: images, confidence and accuracy, as `metrics.reliability` gives them; at least one.
        title: of the picture.
    """
    figure = new_figure(6, 6.6, title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    confidence = [100 * row["confidence"] for row in bins]
    above.plot([0, 100], [0, 100], color="grey", linestyle="--", linewidth=1, label="as said")
    above.plot(
        confidence,
        [100 * row["accuracy"] for row in bins],
        color=RIGHT,
        marker="o",
        clip_on=False,
        label="as it is",
    )
    above.set_ylabel("right (%)", fontsize=FONT_SIZE)
    above.set_ylim(0, 100)
    above.legend(frameon=False, fontsize=FONT_SIZE)
    below.vlines(confidence, 0.5, [row["images"] for row in bins], color=RIGHT, linewidth=6)
    below.set_yscale("log")
    below.set_ylim(bottom=0.5)
    below.set_xlim(0, 101)
    below.set_ylabel("images", fontsize=FONT_SIZE)
    below.set_xlabel("said to be probable (%)", fontsize=FONT_SIZE)
    for axes in (above, below):
        axes.tick_params(labelsize=FONT_SIZE - 1)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return png(figure)


def robustness(rows: Sequence[dict[str, Any]], image: Images, *, accuracy: float, title: str) -> bytes:
    """An image spoilt in every way and at every strength, with the accuracy on all images so spoilt.

    Args:
        rows: as `evaluation.measure_robustness` gives them.
        image: uint8 (28, 28).
        accuracy: on the images as they are, in [0, 1].
        title: of the picture.
    """
    columns = 1 + max(len(how.strengths) for how in CORRUPTIONS)
    found = {(row["corruption"], row["strength"]): row["accuracy"] for row in rows}
    figure = new_figure(1.25 * columns + 1.6, 1.5 * len(CORRUPTIONS) + 0.6, title)
    grid = figure.subplots(len(CORRUPTIONS), columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for line, how in zip(grid, CORRUPTIONS, strict=True):
        line[0].set_axis_on()
        show_ink(line[0], image)
        line[0].set_title(percent(100 * accuracy), fontsize=FONT_SIZE - 1)
        label = f"{how.name}\n({how.unit})" if how.unit else how.name
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=FONT_SIZE)
        for axes, strength in zip(line[1:], how.strengths, strict=False):
            share = found[how.name, strength]
            spoilt = how.corrupt(image[None], strength, np.random.default_rng(0))[0]
            axes.set_axis_on()
            show_ink(axes, spoilt)
            axes.set_title(
                f"{strength:g}: {percent(100 * share)}" if how.unit else percent(100 * share),
                fontsize=FONT_SIZE - 1,
                color=WRONG if share < _WEAK else "black",
                fontweight="bold" if share < _WEAK else "normal",
            )
    return png(figure)


def new_figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure  # 0.3 s; without pyplot, so no window system is looked for

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=FONT_SIZE + 1, parse_math=False)  # a name may hold dollars
    return figure


def png(figure: "Figure") -> bytes:
    """A figure as a file's content."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class name in another script, or of vast length
        figure.savefig(content, dpi=_DPI, bbox_inches="tight")
    return content.getvalue()


def _label_curves(panels: Any, lengths: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    for axes, name in zip(panels, ("loss (cross-entropy, nats)", "accuracy"), strict=True):
        axes.set_xlabel("epoch", fontsize=FONT_SIZE)
        axes.set_ylabel(name, fontsize=FONT_SIZE)
        axes.tick_params(labelsize=FONT_SIZE - 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(0.5, max(lengths) + 0.5)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylim(bottom=0)
    panels[1].yaxis.set_major_formatter(PercentFormatter())
    panels[1].set_ylim(top=min(100.0, panels[1].get_ylim()[1]))


def _styles_alone() -> dict[str, Any]:
    """Lines in grey, to say which style is which part."""
    from matplotlib.lines import Line2D

    return {part: Line2D([], [], color="grey", **style) for part, style in _STYLES.items()}


def show_ink(axes: "Axes", image: Images) -> None:
    """An image, uint8 (H, W), its ink dark, without a frame."""
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def percent(value: float) -> str:
    """Short, and 100% only where it is: 99.97 is 99.9%."""
    return f"{min(value, 99.9):.1f}%" if value < 100 else "100%"


def short(name: str) -> str:
    """A name that may be long, without its middle: what tells names apart is often at their end."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"


_BARS = {  # key -> title, how a value is written
    "latency_ms": ("one image, ms\n(less is better)", "{:.2f}"),
    "images_per_second": ("images a second, by 256\n(more is better)", "{:,.0f}"),
    "bytes": ("size, kB\n(less is better)", "{:,.0f}"),
}


def benchmark(found: dict[str, Any]) -> bytes:
    """Bars of latency, speed and size, a row for each format that was measured.

    Args:
        found: what `Benchmark.to_json` gives, with one format done or more.
    """
    rows = [row for row in found["formats"] if row["status"] == "done"][::-1]
    names = [row["format"] for row in rows]
    name = "/".join(Path(found["model"]).parts[-2:])  # with its run
    figure = new_figure(11, 1.8 + 0.5 * len(rows), name)
    panels = figure.subplots(1, len(_BARS), sharey=True)
    for axes, (key, (title, shown)) in zip(panels, _BARS.items(), strict=True):
        values = [row[key] / 1e3 if key == "bytes" else row[key] for row in rows]
        bars = axes.barh(names, values, color=RIGHT, height=0.6)
        axes.bar_label(bars, [shown.format(value) for value in values], padding=3)
        axes.set_title(title, fontsize=FONT_SIZE)
        axes.set_xlim(0, 1.3 * max(values))
        axes.set_xticks([])
        axes.spines[["top", "right", "bottom"]].set_visible(False)
    return png(figure)
