"""Options that several commands share."""

import functools
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from mnistctl.cli.completion import complete_datasets, complete_models
from mnistctl.errors import UsageError

MODEL_HELP = "Model: a file, a run folder, the name of a run, or 'bundled'."
_MODEL_DEFAULT = "the newest run, or bundled"

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help=MODEL_HELP,
        autocompletion=complete_models,
        show_default=_MODEL_DEFAULT,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help=MODEL_HELP,
        autocompletion=complete_models,
        show_default=_MODEL_DEFAULT,
    ),
]
_CUSTOM_HELP = "FILE.py:CLASS of a custom architecture. mnistctl executes the file."
CustomClassOption = Annotated[str | None, typer.Option("--arch", metavar="NAME", help=_CUSTOM_HELP)]
CustomClassesOption = Annotated[
    list[str] | None,
    typer.Option("--arch", metavar="NAME", help=f"{_CUSTOM_HELP} Can be repeated."),
]
NoPlotsOption = Annotated[bool, typer.Option("--no-plots", help="Draw no plots.")]
DatasetArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="Name of a dataset, or a folder of pictures.",
        autocompletion=complete_datasets,
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder where datasets are stored.",
        envvar="MNISTCTL_DATA_DIR",
        show_default="the user's cache folder",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Hide progress and informational messages.")
]


def plots_choice(plots: Path | None, no_plots: bool) -> bool | Path:
    """The argument `plots` that `--plots DIR` and `--no-plots` stand for.

    Raises:
        UsageError: both options are used.
    """
    if plots is not None and no_plots:
        raise UsageError("--plots and --no-plots: choose one")
    return not no_plots if plots is None else plots


def plots_option(show_default: str) -> Any:
    """The `--plots` option of a command."""
    return typer.Option(metavar="FOLDER", help="Folder for the plots.", show_default=show_default)


def dataset_option(help_text: str, show_default: str | bool = True) -> Any:
    """The `--dataset` option of a command."""
    return typer.Option(
        metavar="NAME",
        help=help_text,
        autocompletion=complete_datasets,
        show_default=show_default,
    )


def share_option(name: str, **options: Any) -> Any:
    """An option with a value in [0, 1]; its help should end with the range."""
    return typer.Option(name, parser=functools.partial(_parse_share, name), **options)


def _parse_share(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UsageError(f"{option} {text}: expected a value from 0 to 1")
    return value
