"""Options that several commands share, spelled once, and what a shell completes them with."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mnistctl.run import run_folder
from mnistctl.settings import architectures, recipes


def _architectures(incomplete: str) -> list[tuple[str, str]]:
    summaries = {name: item.summary for name, item in architectures.ARCHITECTURES.items()}
    names = [name for name in architectures.sizes() if name.startswith(incomplete)]
    return [(name, summaries.get(name, "")) for name in names]


def _datasets(incomplete: str) -> list[tuple[str, str]]:
    from mnistctl.datasets import catalog  # NumPy, 0.07 s

    known = catalog.DATASETS.items()
    return [(name, item.summary) for name, item in known if name.startswith(incomplete)]


def complete_recipes(incomplete: str) -> list[tuple[str, str]]:
    """The recipes whose names begin so."""
    known = recipes.RECIPES.items()
    return [(name, item.summary) for name, item in known if name.startswith(incomplete)]


def complete_runs(incomplete: str) -> list[str]:
    """The runs here whose names begin so, the newest first."""
    names = [run.folder.name for run in run_folder.find_all()]
    return [name for name in reversed(names) if name.startswith(incomplete)]


MODEL_HELP = (
    "A model file, a run folder, a run's name, or 'bundled'; without it: the newest run here, else the "
    "bundled model."
)

ModelArgument = Annotated[str | None, typer.Argument(help=MODEL_HELP, autocompletion=complete_runs)]
ModelOption = Annotated[str | None, typer.Option(help=MODEL_HELP, autocompletion=complete_runs)]
ArchOption = Annotated[
    str | None,
    typer.Option(
        help="The net: linear, mlp, lenet5, cnn, torchvision:NAME, or FILE.py:CLASS.",
        autocompletion=_architectures,
        show_default="the recipe's, or cnn",
    ),
]
CustomClassOption = Annotated[
    str | None,
    typer.Option("--arch", help="FILE.py:CLASS, for a model of a class of your own; runs the file."),
]
CustomClassesOption = Annotated[
    list[str] | None,
    typer.Option("--arch", help="FILE.py:CLASS, for models of classes of your own; runs the files."),
]
PlotsOption = Annotated[
    bool, typer.Option("--plots/--no-plots", help="Draw pictures into the run's folder.")
]
DatasetArgument = Annotated[str, typer.Argument(help="The dataset's name.", autocompletion=_datasets)]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        help="The data folder.",
        envvar="MNISTCTL_DATA_DIR",
        show_default="the user's cache folder",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]


def dataset_option(help_text: str, show_default: str) -> Any:
    """The `--dataset` option, with what it means when it is not given."""
    return typer.Option(help=help_text, autocompletion=_datasets, show_default=show_default)
