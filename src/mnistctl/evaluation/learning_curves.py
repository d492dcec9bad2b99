"""The plot of learning curves: loss and accuracy per epoch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnistctl.evaluation.figures import COLOURS, FONT_SIZE, new_figure, short, tidy
from mnistctl.run.epoch import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CROSS_ENTROPY = "loss (cross-entropy, nats)"
_MAX_MARKERS = 20  # of a curve
_MARKERS = "os^Dv"
_STYLES: dict[str, dict[str, Any]] = {
    "train": {"linestyle": "--", "linewidth": 1.4, "markersize": 3},
    "validation": {"linestyle": "-", "linewidth": 2, "markersize": 5},
}


def curves(
    runs: Sequence[tuple[str, Sequence[Epoch]]], *, title: str, loss: str = CROSS_ENTROPY
) -> "Figure":
    """Loss and accuracy per epoch, of train and of validation, for one run or several.

    A single run has a colour for train and one for validation; of several runs each has its colour.

    Args:
        runs: name and epochs of each run, at least one of each.
        title: of the plot.
        loss: what the losses are.
    """
    figure = new_figure(10, 4.4, title)
    panels = figure.subplots(1, 2)
    handles: list[Any] = []
    labels: list[str] = []
    for number, (name, epochs) in enumerate(runs):
        for part, style in _STYLES.items():
            index = number if len(runs) > 1 else int(part == "validation")
            style = style | {
                "color": COLOURS[index % len(COLOURS)],
                "marker": _MARKERS[index % len(_MARKERS)],
                "markevery": max(1, len(epochs) // _MAX_MARKERS),
                "clip_on": False,
            }
            lines = _plot_epochs(panels, epochs, part, style)
            if lines and (len(runs) == 1 or part == "train"):
                handles.append(lines[0])
                labels.append(part if len(runs) == 1 else short(name) or " ")
    if len(runs) > 1:
        handles += _grey_lines()
        labels += _STYLES
    _label_curves(panels, [epoch.epoch for _, epochs in runs for epoch in epochs], loss=loss)
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(handles), 6),
        frameon=False,
        fontsize=FONT_SIZE,
    )
    return figure


def _plot_epochs(
    panels: Sequence["Axes"], epochs: Sequence[Epoch], part: str, style: Mapping[str, Any]
) -> list[Any]:
    """Draw loss and accuracy of train or validation; nothing without validation images."""
    lines = []
    for axes, metric, factor in zip(panels, ("loss", "accuracy"), (1, 100), strict=True):
        values = [getattr(epoch, f"{part}_{metric}") for epoch in epochs]
        if None in values:
            continue
        x = [epoch.epoch for epoch in epochs]
        lines += axes.plot(x, [factor * value for value in values], **style)
    return lines


def _label_curves(panels: Sequence["Axes"], epochs: Sequence[int], *, loss: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for axes, label in zip(panels, (loss, "accuracy (%)"), strict=True):
        axes.set_xlabel("epoch", fontsize=FONT_SIZE)
        axes.set_ylabel(label, fontsize=FONT_SIZE)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        tidy(axes)
    panels[0].set_ylim(bottom=0)
    panels[1].set_ylim(top=min(100.0, panels[1].get_ylim()[1]))


def _grey_lines() -> list[Any]:
    """Grey lines for the legend: the line styles of train and validation."""
    from matplotlib.lines import Line2D

    return [Line2D([], [], color="grey", **style) for style in _STYLES.values()]
