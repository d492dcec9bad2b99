"""`mnistctl compare`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from mnistctl.cli import display, render
from mnistctl.cli.options import (
    CustomClassesOption,
    DataDirOption,
    JsonOption,
    QuietOption,
    complete_runs,
    dataset_option,
)

if TYPE_CHECKING:
    from mnistctl.api.compare import Comparison


def compare(
    models: Annotated[
        list[str],
        typer.Argument(help="Model files, run folders or names of runs.", autocompletion=complete_runs),
    ],
    dataset: Annotated[
        str | None, dataset_option("What to compare them on.", "what they were trained on")
    ] = None,
    arch: CustomClassesOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare models on the same test images: what differs, and is it more than chance?"""
    import mnistctl

    with display.live(quiet=quiet):
        comparison = mnistctl.compare(models, dataset=dataset, arch=arch or (), data_dir=data_dir)
    render.show(comparison, _render, as_json=as_json)


def _render(found: "Comparison") -> Iterator[RenderableType]:
    yield f"on {found.images:,} {found.split} images of {found.dataset}\n"
    heads = ("", "model", "accuracy", "95% interval", "loss", "parameters", "seconds")
    figures = render.table(*heads, left=(0, 1))
    for letter, model in zip(_letters(found), found.models, strict=True):
        low, high = (render.percent(share) for share in model.accuracy_interval)
        seconds = "–" if model.train_seconds is None else f"{model.train_seconds:.1f}"
        figures.add_row(
            render.bold(letter),
            model.model,
            render.percent(model.accuracy),
            f"{low} to {high}",
            f"{model.loss:.4f}",
            f"{model.parameters:,}",
            seconds,
        )
    yield figures
    if found.differences:
        settings = render.table("\nsetting", *(f"\n{letter}" for letter in _letters(found)))
        for name, values in found.differences.items():
            settings.add_row(name, *("–" if value is None else str(value) for value in values))
        yield settings
    tests = render.table(
        "\npair", "only the\nfirst right", "only the\nsecond right", "\np", "\nmore than chance?"
    )
    letters = dict(zip((model.model for model in found.models), _letters(found), strict=True))
    for pair in found.pairs:
        tests.add_row(
            f"{letters[pair.first]}, {letters[pair.second]}",
            str(pair.only_first_right),
            str(pair.only_second_right),
            f"{pair.p_value:.3g}",
            render.bold("yes") if pair.significant else "no",
        )
    yield tests


def _letters(found: "Comparison") -> list[str]:
    """A short name for each model."""
    return [f"[{number}]" for number in range(1, len(found.models) + 1)]
