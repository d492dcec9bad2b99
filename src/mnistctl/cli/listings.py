"""`mnistctl runs`, `mnistctl recipes` and `mnistctl archs`."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from mnistctl.cli import display, render
from mnistctl.cli.options import JsonOption, QuietOption

if TYPE_CHECKING:
    from mnistctl.api.listings import ArchInfo, RecipeInfo, RunInfo


def runs(as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the runs here, the newest first."""
    import mnistctl

    with display.live(quiet=quiet):
        found = mnistctl.runs()
    render.show_all(found, _render_runs, as_json=as_json)


def recipes(as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the recipes: what they stand for, what was published, what was measured here."""
    import mnistctl

    render.show_all(mnistctl.recipes(), _render_recipes, as_json=as_json)


def archs(as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the nets, with their parameters and their multiply-adds for one image."""
    import mnistctl

    render.show_all(mnistctl.archs(), _render_archs, as_json=as_json)


def _render_runs(found: "Sequence[RunInfo]") -> Iterator[RenderableType]:
    if not found:
        yield "no runs here; 'mnistctl train' makes one"
        return
    heads = ("run", "recipe", "net", "dataset", "seed", "epochs", "validation", "seconds")
    table = render.table(*heads, left=(0, 1, 2, 3))
    for run in found:
        table.add_row(
            render.bold(run.name),
            run.recipe or "–",
            run.arch,
            run.dataset,
            str(run.seed),
            str(run.epochs),
            render.percent(run.validation_accuracy),
            f"{run.train_seconds:.1f}",
        )
    yield table


def _render_recipes(found: "Sequence[RecipeInfo]") -> Iterator[RenderableType]:
    for recipe in found:
        published = f"; published: {recipe.published}" if recipe.published else ""
        yield Text.assemble((recipe.name, "bold"), f": {recipe.summary}{published}")
    table = render.table("\nrecipe", "\ntest", "\nvalidation", "\ntrain", "\nseeds")
    for recipe in found:
        accuracy = render.percent(recipe.mean_test_accuracy)
        if recipe.std_test_accuracy is not None:
            accuracy += f" ± {100 * recipe.std_test_accuracy:.2f}"
        table.add_row(
            render.bold(recipe.name),
            accuracy,
            render.percent(recipe.mean_validation_accuracy),
            render.percent(recipe.mean_train_accuracy),
            str(recipe.seeds),
        )
    yield table
    yield "\naccuracy on MNIST: mean over seeds, of test ± standard deviation"
    yield "\nnext:"
    yield "  mnistctl train --recipe NAME"


def _render_archs(found: "Sequence[ArchInfo]") -> Iterator[RenderableType]:
    for arch in found:
        if arch.summary:
            yield Text.assemble((arch.name, "bold"), f": {arch.summary}")
    table = render.table("\nnet", "\nparameters", "\nmultiply-adds", "\ninput")
    for arch in found:
        table.add_row(
            render.bold(arch.name) if arch.summary else arch.name,
            f"{arch.parameters:,}",
            f"{arch.multiply_adds:,}",
            f"{arch.input_size}×{arch.input_size}",
        )
    yield table
    yield "\nfor 10 classes; a net of your own: --arch path/to/file.py:ClassName"
