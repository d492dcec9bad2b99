"""What `mnistctl eval` prints about a model for numbers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mnistctl.cli import render

if TYPE_CHECKING:
    from mnistctl.evaluation.detection import NumbersReport

_SHARES = {  # row -> field of the report
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "detection precision": "detection_precision",
    "detection recall": "detection_recall",
    "pages without error": "page_accuracy",
}


def render_report(report: "NumbersReport") -> Iterator[RenderableType]:
    """The metrics of a model on one split."""
    low, high = report.page_accuracy_interval
    yield Text.assemble(
        "accuracy ",
        (render.percent(report.accuracy), "bold"),
        f" on {report.digits:,} digits of {report.pages:,} pages that are composed of "
        f"{report.split} images of {report.dataset}",
    )
    yield (
        f"pages without error {render.percent(report.page_accuracy)} "
        f"(95% interval {render.percent(low)} to {render.percent(high)})\n"
    )
    metrics = render.table("class", "digits", "precision", "recall", "F1")
    for row in report.per_class:
        shares = (render.percent(row[name]) for name in ("precision", "recall", "f1"))
        metrics.add_row(row["label"], f"{row['digits']:,}", *shares)
    digits, percent = f"{report.digits:,}", render.percent
    metrics.add_row("all", digits, *map(percent, (report.precision, report.recall, report.f1)))
    found = map(percent, (report.detection_precision, report.detection_recall))
    metrics.add_row("any label", digits, *found)
    yield metrics
    yield _confusion(report)
    if report.most_confused:
        pairs = (
            f"{pair['label']} as {pair['predicted']} ({pair['digits']})"
            for pair in report.most_confused
        )
        yield f"\nmost confused: {', '.join(pairs)}"
    yield from _not_calibrated(report)
    if report.plots:
        yield f"\nplots: {', '.join(report.plots)}"


def render_side_by_side(reports: "Sequence[NumbersReport]") -> Iterator[RenderableType]:
    """The metrics of a model on several splits, a column each."""
    table = render.table(reports[0].dataset, *(report.split for report in reports))
    for name in ("pages", "digits"):
        table.add_row(name, *(f"{getattr(report, name):,}" for report in reports))
    for row, name in _SHARES.items():
        table.add_row(row, *(render.percent(getattr(report, name)) for report in reports))
    yield table
    yield from _not_calibrated(reports[0])
    plots = [Path(path) for report in reports for path in report.plots]
    if plots:
        yield f"\n{len(plots)} plots in {plots[0].parent}"


def _not_calibrated(report: "NumbersReport") -> Iterator[str]:
    if report.not_calibrated:
        yield f"\nnot calibrated: {report.not_calibrated}"


def _confusion(report: "NumbersReport") -> Table:
    from mnistctl.evaluation.detection import MISSED, NO_DIGIT

    names = [row["label"] for row in report.per_class]
    table = render.table("true \\ predicted", *names, MISSED, title="\nconfusion matrix")
    for number, (name, counts) in enumerate(zip([*names, NO_DIGIT], report.confusion, strict=True)):
        cells = [str(count) if count else "·" for count in counts]
        right = render.bold(cells[number]) if number < len(names) else cells[number]
        table.add_row(name, *cells[:number], right, *cells[number + 1 :])
    return table
