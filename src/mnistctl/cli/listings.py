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
    """List the runs in the working folder, newest first."""
    import mnistctl

    with display.live(quiet=quiet):
        listed = mnistctl.runs()
    render.show(listed, _render_runs, as_json=as_json)


def recipes(as_json: JsonOption = False) -> None:
    """List the recipes with published and measured accuracies."""
    import mnistctl

    render.show(mnistctl.recipes(), _render_recipes, as_json=as_json)


def archs(as_json: JsonOption = False) -> None:
    """List the architectures with their size and compute."""
    import mnistctl

    render.show(mnistctl.archs(), _render_archs, as_json=as_json)


def _render_runs(runs: "Sequence[RunInfo]") -> Iterator[RenderableType]:
    if not runs:
        yield "no runs in this folder; to create one: mnistctl train"
        return
    headings = ("run", "recipe", "architecture", "dataset", "seed", "epochs", "validation", "seconds")
    table = render.table(*headings, left=(0, 1, 2, 3))
    for run in runs:
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


def _render_recipes(recipes: "Sequence[RecipeInfo]") -> Iterator[RenderableType]:
    for recipe in recipes:
        published = f"; published: {recipe.published}" if recipe.published else ""
        yield Text.assemble((recipe.name, "bold"), f": {recipe.summary}{published}")
    table = render.table("\nrecipe", "\ntest", "\nvalidation", "\ntrain", "\nseeds")
    for recipe in recipes:
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
    yield "\naccuracies on MNIST: mean over the seeds; ± standard deviation of the test accuracy"
    yield "\nnext:"
    yield "  mnistctl train --recipe NAME"


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
