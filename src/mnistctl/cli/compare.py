"""`mnistctl compare`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from mnistctl.api.compare import Comparison


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Two or more models: files, run folders, names of runs, or 'bundled'.",
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
    quiet: QuietOption = False,
) -> None:
    """Compare models on the same test images.

    Prints accuracies, the settings that differ, and McNemar's test for every pair of models.
    """
    import mnistctl

    with display.live(quiet=quiet):
        comparison = mnistctl.compare(models, dataset=dataset, arch=arch or (), data_dir=data_dir)
    render.show(comparison, _render, as_json=as_json)


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
            model.model,
            render.percent(model.accuracy),
            f"{low} to {high}",
            f"{model.loss:.4f}",
            f"{model.parameters:,}",
            render.number(model.train_seconds, ".1f"),
        )
    yield metrics
    if comparison.differences:
        settings = render.table("\nsetting", *(f"\n{key}" for key in keys))
        for name, values in comparison.differences.items():
            settings.add_row(name, *("–" if value is None else str(value) for value in values))
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
            str(pair.only_first_right),
            str(pair.only_second_right),
            f"{pair.p_value:.3g}",
            render.bold("yes") if pair.significant else "no",
        )
    yield tests
