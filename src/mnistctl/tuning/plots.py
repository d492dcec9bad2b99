"""The plots of a study: history, importances, slices, parallel coordinates, and the Pareto front."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistctl.evaluation.figures import COLOURS, FONT_SIZE, new_figure, save, tidy
from mnistctl.tuning.definition import MAXIMIZED
from mnistctl.tuning.result import TrialResult, TuneResult
from mnistctl.tuning.search_space import Dimension, text_of
from mnistctl.tuning.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREEN = COLOURS[:3]
_GREY = "0.6"
_LABELS = {
    "accuracy": "validation accuracy (%)",
    "loss": "validation loss (nats)",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
    "train_seconds": "training time (s)",
}
_COLUMNS = 4  # of slices
_JITTER = 0.12  # of choices, so that equal points do not hide one another
_SHOWN = 0.75  # of the trials, the best ones: the axis of an objective fits these


def draw(study: Study, result: TuneResult) -> list[Path]:
    """Draw the plots of a study into its folder.

    Args:
        study: to draw.
        result: its state, with a complete trial.

    Raises:
        WriteError: a plot cannot be written.
    """
    dimensions = study.definition.dimensions
    figures: dict[str, Callable[[], Figure]] = {
        "history": lambda: history(result),
        "slices": lambda: slices(result, dimensions),
        "parallel": lambda: parallel(result, dimensions),
    }
    if importance := study.importances():
        figures["importances"] = lambda: importances(importance, title=_title(result, "importances"))
    if len(result.objectives) > 1:
        figures["pareto"] = lambda: pareto(result)
    paths = []
    for name, build in figures.items():
        paths.append(study.folder / f"{name}.png")
        save(build(), paths[-1])
    return paths


def history(result: TuneResult) -> "Figure":
    """The objective of every trial, the best so far, and the confirmation."""
    name = result.objectives[0]
    figure = new_figure(9, 4.8, _title(result, "trials"))
    axes = figure.subplots()
    complete = _complete(result)
    numbers = [trial.number for trial in complete]
    values = _values(result, name)
    choose = np.maximum if name in MAXIMIZED else np.minimum
    axes.plot(numbers, values, "o", color=_BLUE, label="complete", zorder=3)
    axes.step(
        [*numbers, result.trials[-1].number],
        [*choose.accumulate(values), choose.reduce(values)],
        where="post",
        color=_ORANGE,
        linewidth=2,
        label="best so far",
    )
    if name == "accuracy":
        pruned = [
            trial
            for trial in result.trials
            if trial.state == "pruned" and trial.validation_accuracy is not None
        ]
        if pruned:
            accuracies = [100 * (trial.validation_accuracy or 0) for trial in pruned]
            axes.plot([trial.number for trial in pruned], accuracies, "x", color=_GREY, label="pruned")
        if result.confirmed_accuracy is not None:
            mean, deviation = 100 * result.confirmed_accuracy, 100 * (result.confirmed_std or 0)
            label = "confirmed, mean ± std" if deviation else "confirmed"
            axes.axhline(mean, color=_GREEN, linestyle="--", label=label)
            axes.axhspan(mean - deviation, mean + deviation, color=_GREEN, alpha=0.15, linewidth=0)
    best = result.best_trial
    if best is not None:
        value = _scaled(name, best.objectives[name])
        axes.plot(best.number, value, "*", color=_ORANGE, markersize=15, zorder=4, label="best trial")
    shown = (
        values
        if name != "accuracy"
        else [*values, 100 * (result.confirmed_accuracy or max(values) / 100)]
    )
    _fit_axis(axes, np.array(shown), name)
    _number_axis(axes, result)
    axes.set_ylabel(_LABELS[name], fontsize=FONT_SIZE)
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=FONT_SIZE)
    return figure


def importances(values: Mapping[str, float], *, title: str) -> "Figure":
    """Bars of the importances of the searched settings.

    Args:
        values: setting -> importance.
        title: of the plot.
    """
    figure = new_figure(8, 1.6 + 0.45 * len(values), title)
    axes = figure.subplots()
    ordered = sorted(values.items(), key=lambda item: item[1])
    bars = axes.barh([name for name, _ in ordered], [value for _, value in ordered], color=_BLUE)
    axes.bar_label(bars, [f"{100 * value:.0f}%" for _, value in ordered], padding=3, fontsize=FONT_SIZE)
    axes.set_xlim(0, 1.15 * max(values.values()) or 1)
    axes.set_xticks([])
    axes.tick_params(labelsize=FONT_SIZE)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_xlabel("how much a setting separates the best quarter of the trials", fontsize=FONT_SIZE)
    return figure


def slices(result: TuneResult, dimensions: Sequence[Dimension]) -> "Figure":
    """The objective by the value of each searched setting."""
    name = result.objectives[0]
    rows = -(-len(dimensions) // _COLUMNS)
    columns = -(-len(dimensions) // rows)
    figure = new_figure(3.3 * columns + 1.2, 3.1 * rows + 0.8, _title(result, "settings"))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    values = _values(result, name)
    complete = _complete(result)
    order = [trial.number for trial in complete]
    for axes in panels.ravel():
        axes.set_axis_off()
    for axes, dimension in zip(panels.ravel(), dimensions, strict=False):
        axes.set_axis_on()
        positions = _positions(complete, dimension)
        if dimension.choices:
            random = np.random.default_rng(0)
            positions = positions + random.uniform(-_JITTER, _JITTER, len(positions))
        points = axes.scatter(positions, values, c=order, cmap="viridis_r", s=36, zorder=3)
        _setting_axis(axes, dimension)
        _fit_axis(axes, values, name)
        tidy(axes)
    for axes in panels[:, 0]:
        axes.set_ylabel(_LABELS[name], fontsize=FONT_SIZE)
    bar = figure.colorbar(points, ax=panels, pad=0.01)
    bar.set_label("trial", fontsize=FONT_SIZE)
    return figure


def parallel(result: TuneResult, dimensions: Sequence[Dimension]) -> "Figure":
    """A line per trial through the values of its settings to its objective."""
    import matplotlib as mpl

    name = result.objectives[0]
    figure = new_figure(1.7 * (len(dimensions) + 1) + 1.5, 5.2, _title(result, "trials"))
    axes = figure.subplots()
    complete, values = _complete(result), _values(result, name)
    low, high = _limits(values, name)
    columns = [_shares(complete, dimension) for dimension in dimensions]
    columns.append(np.clip((values - low) / (high - low), 0, 1))
    heights = np.stack(columns, axis=1)
    colours = mpl.colormaps["viridis" if name in MAXIMIZED else "viridis_r"]
    rank = np.argsort(np.argsort(values)) / max(len(values) - 1, 1)
    for row in np.argsort(values if name in MAXIMIZED else -values):  # the best ones on top
        is_best = complete[row].number == result.best
        axes.plot(
            heights[row],
            color=_ORANGE if is_best else colours(rank[row]),
            linewidth=3 if is_best else 1.2,
            alpha=1 if is_best else 0.7,
            zorder=4 if is_best else 3,
            label="best trial" if is_best else None,
        )
    ticks = [_ticks(dimension) for dimension in dimensions]
    ticks.append([(0, _text(name, low)), (1, _text(name, high))])
    for column, marks in enumerate(ticks):
        axes.axvline(column, color="0.3", linewidth=1)
        for height, text in marks:
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
            axes.text(
                column, height, f" {text}", fontsize=FONT_SIZE - 2, va="center", bbox=box, zorder=5
            )
    names = [dimension.name for dimension in dimensions]
    axes.set_xticks(
        range(len(ticks)), [*names, _LABELS[name].replace(" (", "\n(")], fontsize=FONT_SIZE - 1
    )
    for label in axes.get_xticklabels()[: len(names)]:
        label.set_rotation(20)
        label.set_horizontalalignment("right")
        label.set_rotation_mode("anchor")
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(ticks) - 0.45)
    axes.spines[:].set_visible(False)
    figure.legend(loc="outside upper right", frameon=False, fontsize=FONT_SIZE)
    return figure


def pareto(result: TuneResult) -> "Figure":
    """The first objective by each of the others, with the trials that no other one surpasses."""
    first, *others = result.objectives
    figure = new_figure(1 + 5.5 * len(others), 4.8, _title(result, "objectives"))
    panels = figure.subplots(1, len(others), sharey=True, squeeze=False)[0]
    front = [result.trials[number] for number in result.front]
    for axes, other in zip(panels, others, strict=True):
        axes.plot(_values(result, other), _values(result, first), "o", color=_GREY, label="complete")
        marks = sorted(
            (_scaled(other, trial.objectives[other]), _scaled(first, trial.objectives[first]))
            for trial in front
        )
        style = {"linestyle": "-" if len(others) == 1 else "", "linewidth": 1.2}
        axes.plot(*zip(*marks, strict=True), "o", color=_BLUE, label="Pareto front", **style)
        best = result.best_trial
        if best is not None:
            point = [_scaled(name, best.objectives[name]) for name in (other, first)]
            axes.plot(*point, "*", color=_ORANGE, markersize=15, label="best trial")
        axes.set_xscale("log")
        axes.set_xlabel(_LABELS[other], fontsize=FONT_SIZE)
        _fit_axis(axes, _values(result, first), first)
        tidy(axes)
    panels[0].set_ylabel(_LABELS[first], fontsize=FONT_SIZE)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=FONT_SIZE
    )
    return figure


def _title(result: TuneResult, what: str) -> str:
    return f"{result.study}: {what} of {result.arch} on {Path(result.dataset).name}"


def _complete(result: TuneResult) -> list[TrialResult]:
    return [trial for trial in result.trials if trial.objectives]


def _values(result: TuneResult, name: str) -> Any:
    """The values of an objective for the complete trials, as drawn: float64 (N,)."""
    return np.array([_scaled(name, trial.objectives[name]) for trial in _complete(result)])


def _scaled(name: str, value: float) -> float:
    return 100 * value if name == "accuracy" else value


def _text(name: str, value: float) -> str:
    return f"{value:.2f}" if name == "accuracy" else f"{value:.3g}"


def _limits(values: Any, name: str) -> tuple[float, float]:
    """The range that the better trials fit in."""
    share = 1 - _SHOWN if name in MAXIMIZED else _SHOWN
    cut = float(np.quantile(values, share))
    low, high = (cut, float(max(values))) if name in MAXIMIZED else (float(min(values)), cut)
    margin = (high - low) / 4 or abs(high) / 100 or 1
    return low - margin, high + margin / 2


def _fit_axis(axes: "Axes", values: Any, name: str) -> None:
    """Show the better trials well; the others may be outside."""
    low, high = _limits(values, name)
    axes.set_ylim(low, min(high, 100.0) if name == "accuracy" else high)


def _number_axis(axes: "Axes", result: TuneResult) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("trial", fontsize=FONT_SIZE)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(-0.5, max(len(result.trials) - 0.5, 1))


def _setting_axis(axes: "Axes", dimension: Dimension) -> None:
    axes.set_xlabel(dimension.name, fontsize=FONT_SIZE)
    if dimension.choices:
        names = [text_of(choice) for choice in dimension.choices]
        is_long = sum(map(len, names)) > 22
        axes.set_xticks(range(len(names)), names, rotation=60 if is_long else 0)
        axes.set_xlim(-0.5, len(names) - 0.5)
        return
    if dimension.is_log:
        axes.set_xscale("log")
    axes.set_xlim(*_widened(dimension))


def _widened(dimension: Dimension) -> tuple[float, float]:
    """The range of a setting, with some space around it."""
    low, high = float(dimension.low), float(dimension.high)
    if dimension.is_log:
        return low / (high / low) ** 0.04, high * (high / low) ** 0.04
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _positions(trials: Sequence[TrialResult], dimension: Dimension) -> Any:
    """The values of a setting, or the numbers of its choices: float64 (N,)."""
    if not dimension.choices:
        return np.array([float(trial.settings[dimension.name]) for trial in trials])
    names = [text_of(choice) for choice in dimension.choices]
    return np.array([float(names.index(text_of(trial.settings[dimension.name]))) for trial in trials])


def _shares(trials: Sequence[TrialResult], dimension: Dimension) -> Any:
    """Where the values of a setting are in its range, in [0, 1]: float64 (N,)."""
    positions = _positions(trials, dimension)
    if dimension.choices:
        return positions / (len(dimension.choices) - 1)
    low, high = float(dimension.low), float(dimension.high)
    if dimension.is_log:
        positions, low, high = np.log(positions), float(np.log(low)), float(np.log(high))
    return (positions - low) / (high - low)


def _ticks(dimension: Dimension) -> list[tuple[float, str]]:
    """Heights in [0, 1] and texts of the marks of a setting."""
    if not dimension.choices:
        return [(0, f"{dimension.low:g}"), (1, f"{dimension.high:g}")]
    count = len(dimension.choices)
    return [(index / (count - 1), text_of(choice)) for index, choice in enumerate(dimension.choices)]
