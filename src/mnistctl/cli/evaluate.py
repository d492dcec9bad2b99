"""`mnistctl eval`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mnistctl.cli import display, numbers_report, render
from mnistctl.cli.completion import complete_splits
from mnistctl.cli.options import (
    CustomClassOption,
    DataDirOption,
    JsonOption,
    ModelArgument,
    NoPlotsOption,
    QuietOption,
    dataset_option,
    plots_choice,
    plots_option,
    share_option,
)

if TYPE_CHECKING:
    from mnistctl.evaluation.report import Report

_MAX_CLASSES = 20  # in the printed confusion matrix; --json has all
_MAX_HEADING = 3  # characters of a class name as the heading of a column


def evaluate(
    model: ModelArgument = None,
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            autocompletion=complete_splits,
            help="Split to evaluate on: train, validation, test, or for qmnist test10k or test50k; or "
            "several, side by side.",
        ),
    ] = "test",
    dataset: Annotated[
        str | None,
        dataset_option("Dataset to evaluate on.", "the dataset the model was trained on"),
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Images per batch, 1 or more.")] = 256,
    min_accuracy: Annotated[
        Any,
        share_option(
            "--min-accuracy",
            metavar="ACCURACY",
            help="Exit with code 6 if the accuracy is below this. From 0 to 1.",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV file to write with the prediction for every image; must not exist.",
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness", help="Also evaluate on corrupted images (rotated, blurred, noisy, …)."
        ),
    ] = False,
    plots: Annotated[Path | None, plots_option("the run folder, if the model is in one")] = None,
    no_plots: NoPlotsOption = False,
    arch: CustomClassOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Evaluate a model on a dataset.

    Prints accuracy, calibration error, metrics per class and the confusion matrix. For several splits
    it prints one table of accuracy, loss, calibration error and rejected images.

    A model for numbers is evaluated on 2,000 pages that are composed of the split's images.
    """
    import mnistctl
    from mnistctl.evaluation.detection import NumbersReport  # NumPy and OpenCV, 0.1 s

    names = split.split(",")
    with display.live(quiet=quiet):
        reports = mnistctl.evaluate(
            model,
            dataset=dataset,
            split=names,
            batch_size=batch_size,
            predictions=predictions,
            robustness=robustness,
            plots=plots_choice(plots, no_plots),
            arch=arch,
            data_dir=data_dir,
        )
    one: Callable[[Any], Iterator[RenderableType]] = _render
    several: Callable[[Any], Iterator[RenderableType]] = _render_side_by_side
    if isinstance(reports[0], NumbersReport):
        one, several = numbers_report.render_report, numbers_report.render_side_by_side
    if len(names) == 1:
        render.show(reports[0], one, as_json=as_json)
    else:
        render.show(reports, several, as_json=as_json)
    for report in reports:
        report.check_min_accuracy(min_accuracy)


def _render_side_by_side(reports: "Sequence[Report]") -> Iterator[RenderableType]:
    table = render.table(reports[0].dataset, *(report.split for report in reports))
    loss = _loss_name(reports[0])
    rows = ("images", "accuracy", "95% interval, from", "to", loss, "calibration error", "rejected")
    columns = [
        (
            f"{report.images:,}",
            render.percent(report.accuracy),
            *map(render.percent, report.accuracy_interval),
            f"{report.loss:.4f}",
            render.percent(report.calibration_error),
            render.percent(report.rejected),
        )
        for report in reports
    ]
    for row in zip(rows, *columns, strict=True):
        table.add_row(*row)
    yield table
    yield from _not_calibrated(reports[0])
    plots = [Path(path) for report in reports for path in report.plots]
    if plots:
        yield f"\n{len(plots)} plots in {plots[0].parent}"


def _render(report: "Report") -> Iterator[RenderableType]:
    low, high = report.accuracy_interval
    yield Text.assemble(
        "accuracy ",
        (render.percent(report.accuracy), "bold"),
        f" on {report.images:,} {report.split} images of {report.dataset} "
        f"(95% interval {render.percent(low)} to {render.percent(high)})",
    )
    rejected = "none" if report.rejected is None else render.percent(report.rejected)
    yield (
        f"{_loss_name(report)} {report.loss:.4f}, expected calibration error "
        f"{render.percent(report.calibration_error)}, rejected {rejected}\n"
    )
    metrics = render.table("class", "images", "precision", "recall", "F1")
    for row in report.per_class:
        shares = (render.percent(row[name]) for name in ("precision", "recall", "f1"))
        metrics.add_row(row["label"], f"{row['images']:,}", *shares)
    yield metrics
    if len(report.confusion) <= _MAX_CLASSES:
        yield _confusion(report)
    if report.most_confused:
        pairs = (
            f"{pair['label']} as {pair['predicted']} ({pair['images']})"
            for pair in report.most_confused
        )
        yield f"\nmost confused: {', '.join(pairs)}"
    if report.robustness:
        yield _robustness(report)
    yield from _not_calibrated(report)
    if report.plots:
        yield f"\nplots: {', '.join(report.plots)}"


def _loss_name(report: "Report") -> str:
    return "loss" if report.not_calibrated else "calibrated loss"


def _not_calibrated(report: "Report") -> Iterator[str]:
    if report.not_calibrated:
        yield f"\nnot calibrated: {report.not_calibrated}"


def _robustness(report: "Report") -> Table:
    """One row per corruption, with the accuracy at each strength."""
    table = render.table("\ncorruption", "\nunit", "\nstrength: accuracy", left=(0, 1, 2))
    rows: dict[tuple[str, str], list[str]] = {}
    for row in report.robustness:
        cell = f"{row['strength']:g}: {render.percent(row['accuracy'])}"
        rows.setdefault((row["corruption"], row["unit"]), []).append(cell)
    for (name, unit), cells in rows.items():
        table.add_row(name, unit, "  ".join(cells))
    return table


def _confusion(report: "Report") -> Table:
    """The confusion matrix; numbers head the columns where class names are long."""
    headings = names = [row["label"] for row in report.per_class]
    if max(map(len, names)) > _MAX_HEADING:
        headings = [str(number) for number in range(len(names))]
        names = [f"{number} {name}" for number, name in enumerate(names)]
    table = render.table("true \\ predicted", *headings, title="\nconfusion matrix")
    for number, counts in enumerate(report.confusion):
        cells = [str(count) if count else "·" for count in counts]
        table.add_row(names[number], *cells[:number], render.bold(cells[number]), *cells[number + 1 :])
    return table
