"""`mnistctl runs`, `mnistctl recipes` and `mnistctl archs`."""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mnistctl.cli import display, render
from mnistctl.cli.completion import complete_recipes
from mnistctl.cli.options import JsonOption, QuietOption
from mnistctl.settings.train_settings import OPTIONS

if TYPE_CHECKING:
    from mnistctl.api.listings import ArchInfo, RecipeInfo, RunInfo

_COLUMNS = "recipe,arch,dataset,seed,epochs,validation_accuracy,train_seconds"
_HEADINGS = {"arch": "architecture", "validation_accuracy": "validation", "train_seconds": "seconds"}


def runs(
    columns: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Columns to show, such as learning_rate,batch_size: settings or keys of the JSON.",
        ),
    ] = _COLUMNS,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Sort by a column: lowest first, of accuracies highest first.",
            show_default="newest first",
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the runs in the working folder, with the metrics of their saved models."""
    import mnistctl
    from mnistctl.api import listings

    names = columns.split(",")
    for name in names:
        listings.check_column(name)
    with display.live(quiet=quiet):
        listed = mnistctl.runs(sort=sort)
    render.show(listed, functools.partial(_render_runs, columns=names), as_json=as_json)


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Recipe to describe.",
            autocompletion=complete_recipes,
            show_default="all",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the recipes with their measured accuracies, or describe one.

    The description of a recipe has all its settings. If it reproduces a published system, it also has
    the published result and what differs.
    """
    import mnistctl

    if name is None:
        render.show(mnistctl.recipes(), _render_recipes, as_json=as_json)
    else:
        render.show(mnistctl.recipe(name), _render_recipe, as_json=as_json)


def archs(as_json: JsonOption = False) -> None:
    """List the architectures with their size and compute."""
    import mnistctl

    render.show(mnistctl.archs(), _render_archs, as_json=as_json)


def _render_runs(runs: "Sequence[RunInfo]", columns: Sequence[str]) -> Iterator[RenderableType]:
    from mnistctl.api.listings import column

    if not runs:
        yield "no runs in this folder; to create one: mnistctl train"
        return
    is_text = [any(isinstance(column(run, name), str) for run in runs) for name in columns]
    table = render.table(
        "run",
        *(_HEADINGS.get(name, name.replace("_", " ")) for name in columns),
        left=(0, *(number for number, text in enumerate(is_text, start=1) if text)),
    )
    for run in runs:
        table.add_row(render.bold(run.name), *(_cell(run, name, column(run, name)) for name in columns))
    yield table


def _cell(run: "RunInfo", name: str, value: Any) -> str:
    if name == "epochs" and run.status != "finished":
        return f"{run.status}, epoch {run.epochs} of {render.number(run.planned_epochs)}"
    if name.endswith("_accuracy"):
        return render.percent(value)
    if isinstance(value, float):
        return f"{value:.1f}" if name == "train_seconds" else f"{value:.4g}"
    return ",".join(map(str, value)) if isinstance(value, list) else render.number(value)


def _render_recipes(recipes: "Sequence[RecipeInfo]") -> Iterator[RenderableType]:
    table = render.table("recipe", "test", "validation", "train", "summary", left=(0, 4))
    table.columns[4].no_wrap = False
    for recipe in recipes:
        table.add_row(render.bold(recipe.name), *_accuracies(recipe), recipe.summary)
    yield table
    yield "\naccuracies on MNIST: mean over several seeds; ± standard deviation of the test accuracy"
    yield render.NEXT
    yield "  mnistctl recipes NAME"
    yield "  mnistctl train --recipe NAME"


def _accuracies(recipe: "RecipeInfo") -> tuple[str, str, str]:
    """The test, validation and train accuracy."""
    test = render.percent(recipe.mean_test_accuracy)
    if recipe.std_test_accuracy is not None:
        test += f" ± {100 * recipe.std_test_accuracy:.2f}"
    others = (recipe.mean_validation_accuracy, recipe.mean_train_accuracy)
    return test, render.percent(others[0]), render.percent(others[1])


def _render_recipe(recipe: "RecipeInfo") -> Iterator[RenderableType]:
    yield Text.assemble((recipe.name, "bold"), f": {recipe.summary}")
    measured = "not measured with these settings"
    if recipe.seeds:
        test, validation, train = _accuracies(recipe)
        measured = f"{test} test, {validation} validation, {train} train (MNIST, {recipe.seeds} seeds)"
    rows = {"measured": measured}
    if recipe.system:
        held_out = "training images are held out for validation, and the best epoch on them is kept"
        rows = {
            "system": recipe.system,
            "published": recipe.published,
            **rows,
            "differs": "; ".join(filter(None, (recipe.deviation, held_out))),
        }
    facts = Table(box=None, pad_edge=False, show_header=False)
    for heading, text in rows.items():
        facts.add_row(Text(heading, "dim"), text)
    yield facts
    settings = render.table("\nsetting", "\nvalue", "\n", left=(0, 1, 2))
    values = {**recipe.settings, **recipe.settings["arch_args"]}
    for name in OPTIONS:
        if values.get(name) is not None and name != "recipe":
            value = values[name]
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            is_changed = name in recipe.changed
            settings.add_row(name, render.bold(text) if is_changed else text, "*" if is_changed else "")
    yield settings
    yield "\n* not the default"
    yield render.NEXT
    yield f"  mnistctl train --recipe {recipe.name}"


def _render_archs(archs: "Sequence[ArchInfo]") -> Iterator[RenderableType]:
    for arch in archs:
        if arch.summary:
            yield Text.assemble((arch.name, "bold"), f": {arch.summary}")
    table = render.table("\narchitecture", "\nparameters", "\nmultiply-adds", "\ninput size")
    for arch in archs:
        table.add_row(
            render.bold(arch.name) if arch.summary else arch.name,
            f"{arch.parameters:,}",
            f"{arch.multiply_adds:,}",
            f"{arch.input_size}×{arch.input_size}",
        )
    yield table
    yield "\nfor 10 classes and one image; for a custom architecture: --arch FILE.py:CLASS"
