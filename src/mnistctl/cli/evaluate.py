"""`mnistctl eval`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mnistctl.cli import display, render
from mnistctl.cli.options import (
    CustomClassOption,
    DataDirOption,
    JsonOption,
    ModelArgument,
    PlotsOption,
    QuietOption,
    dataset_option,
)

if TYPE_CHECKING:
    from mnistctl.evaluation.report import Report

_MOST_SHOWN_CLASSES = 20  # of the confusion matrix; more are in --json
_LONGEST_HEAD = 3  # characters of a class name over a column


def evaluate(
    model: ModelArgument = None,
    split: Annotated[
        str, typer.Option(help="train, validation or test; qmnist has test10k and test50k too.")
    ] = "test",
    dataset: Annotated[
        str | None, dataset_option("What to measure on.", "what the model was trained on")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 256,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Exit with 6 below this accuracy.", min=0, max=1)
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Write every image's answer to this CSV file.")
    ] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Measure it on spoilt images too: turned, blurred, …")
    ] = False,
    plots: PlotsOption = True,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Draw pictures into this folder.", show_default="the run's, if it is a run"),
    ] = None,
    arch: CustomClassOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model: accuracy, figures per class, and what it confuses."""
    import mnistctl

    with display.live(quiet=quiet):
        report = mnistctl.evaluate(
            model,
            dataset=dataset,
            split=split,
            batch_size=batch_size,
            predictions=predictions,
            robustness=robustness,
            plots=plots,
            pictures=pictures,
            arch=arch,
            data_dir=data_dir,
        )
    render.show(report, _render, as_json=as_json)
    report.require(min_accuracy)


def _render(report: "Report") -> Iterator[RenderableType]:
    low, high = report.accuracy_interval
    yield Text.assemble(
        (render.percent(report.accuracy), "bold"),
        f" of {report.images:,} {report.split} images of {report.dataset} (95% interval "
        f"{render.percent(low)} to {render.percent(high)}), loss {report.loss:.4f}",
    )
    refused = "nothing" if report.rejected is None else render.percent(report.rejected)
    yield (
        f"expected calibration error {render.percent(report.calibration_error)}; "
        f"refuses {refused} of these images\n"
    )
    figures = render.table("class", "images", "precision", "recall", "F1")
    for row in report.per_class:
        shares = (render.percent(row[name]) for name in ("precision", "recall", "f1"))
        figures.add_row(row["label"], f"{row['images']:,}", *shares)
    yield figures
    if len(report.confusion) <= _MOST_SHOWN_CLASSES:
        yield _confusion(report)
    if report.most_confused:
        pairs = (
            f"{pair['label']} as {pair['predicted']} ({pair['images']})"
            for pair in report.most_confused
        )
        yield f"\nmost confused: {', '.join(pairs)}"
    if report.robustness:
        yield _robustness(report)
    if report.pictures:
        yield f"\npictures: {', '.join(report.pictures)}"


def _robustness(report: "Report") -> Table:
    """A line for every corruption, with the accuracy at each strength."""
    table = render.table("robustness", "", "strength: accuracy", title="", left=(0, 1, 2))
    lines: dict[tuple[str, str], list[str]] = {}
    for row in report.robustness:
        found = f"{row['strength']:g}: {render.percent(row['accuracy'])}"
        lines.setdefault((row["corruption"], row["unit"]), []).append(found)
    for (name, unit), cells in lines.items():
        table.add_row(name, unit, "  ".join(cells))
    return table


def _confusion(report: "Report") -> Table:
    """The confusion matrix; classes of long names have numbers for columns."""
    heads = names = [row["label"] for row in report.per_class]
    if max(map(len, names)) > _LONGEST_HEAD:
        heads = [str(number) for number in range(len(names))]
        names = [f"{number} {name}" for number, name in enumerate(names)]
    table = render.table("true \\ read as", *heads, title="\nconfusion")
    for number, counts in enumerate(report.confusion):
        cells = [str(count) if count else "·" for count in counts]
        table.add_row(names[number], *cells[:number], render.bold(cells[number]), *cells[number + 1 :])
    return table
