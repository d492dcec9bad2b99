"""`mnistctl compare`."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from mnistctl.cli import display, render
from mnistctl.cli.completion import complete_models
from mnistctl.cli.options import (
    CustomClassesOption,
    DataDirOption,
    JsonOption,
    QuietOption,
    dataset_option,
)
from mnistctl.errors import UsageError

if TYPE_CHECKING:
    from mnistctl.api.compare import Comparison


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Two or more models: files, run folders, names of runs, patterns of names such as "
            "'lr02-seed*', or 'bundled'.",
            autocompletion=complete_models,
        ),
    ],
    dataset: Annotated[
        str | None,
        dataset_option("Dataset to test on.", "the models' own dataset"),
    ] = None,
    arch: CustomClassesOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a row for each model as CSV, with all settings.")
    ] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the tables as Markdown.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Compare models on the same test images.

    Prints accuracies, the settings that differ, and McNemar's test for every pair of models.
    """
    import mnistctl

    if as_json + as_csv + as_markdown > 1:
        raise UsageError("--json, --csv and --markdown: choose one")
    with display.live(quiet=quiet):
        comparison = mnistctl.compare(models, dataset=dataset, arch=arch or (), data_dir=data_dir)
    if as_csv:
        _write_csv(comparison)
    elif as_markdown:
        render.show_markdown(_render(comparison))
    else:
        render.show(comparison, _render, as_json=as_json)


def _write_csv(comparison: "Comparison") -> None:
    import csv

    rows = [model.to_json() for model in comparison.models]
    for index, row in enumerate(rows):
        row["accuracy_low"], row["accuracy_high"] = row.pop("accuracy_interval")
        row |= {name: values[index] for name, values in comparison.differences.items()}
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _render(comparison: "Comparison") -> Iterator[RenderableType]:
    from mnistctl.api.compare import SIGNIFICANCE

    keys = [f"[{number}]" for number in range(1, len(comparison.models) + 1)]
    yield f"{comparison.images:,} {comparison.split} images of {comparison.dataset}\n"
    headings = ("", "model", "accuracy", "95% interval", "loss", "parameters", "training, s")
    metrics = render.table(*headings, left=(0, 1))
    for key, model in zip(keys, comparison.models, strict=True):
        low, high = (render.percent(share) for share in model.accuracy_interval)
        metrics.add_row(
            render.bold(key),
            model.name,
            render.percent(model.accuracy),
            f"{low} to {high}",
            f"{model.loss:.4f}",
            f"{model.parameters:,}",
            render.number(model.train_seconds, ",.1f"),
        )
    yield metrics
    if comparison.differences:
        settings = render.table("\nsetting", *(f"\n{key}" for key in keys))
        for name, values in comparison.differences.items():
            settings.add_row(name, *map(_setting, values))
        yield settings
    tests = render.table(
        "\npair",
        "only first\ncorrect",
        "only second\ncorrect",
        "\np value",
        f"significant\n(p < {SIGNIFICANCE})",
    )
    key_of = dict(zip((model.model for model in comparison.models), keys, strict=True))
    for pair in comparison.pairs:
        tests.add_row(
            f"{key_of[pair.first]}, {key_of[pair.second]}",
            f"{pair.only_first_right:,}",
            f"{pair.only_second_right:,}",
            f"{pair.p_value:.3g}",
            render.bold("yes") if pair.significant else "no",
        )
    yield tests


def _setting(value: Any) -> str:
    """A setting in one format: 10 for 10.0, 6,000 for 6000, and a dash for none."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return render.number(value if value is None else str(value))
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"
