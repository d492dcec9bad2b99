"""The command line: the commands in panels, and the place where an error becomes an exit code."""

import errno
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from mnistctl import __version__
from mnistctl.cli import (
    benchmark,
    compare,
    data,
    doctor,
    download,
    ensemble,
    evaluate,
    export,
    info,
    label,
    listings,
    plot,
    predict,
    train,
)
from mnistctl.errors import MnistctlError
from mnistctl.system import torchrun

_INTERRUPTED = 128 + signal.SIGINT


class _Command(TyperCommand):
    """A command whose help shows flags without a type and without a default."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters of the help."""
        return _with_plain_flags(super().get_params(ctx))


class _Group(TyperGroup):
    """The program, whose help shows flags without a type and without a default."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters of the help."""
        return _with_plain_flags(super().get_params(ctx))


def _with_plain_flags(parameters: Any) -> Any:
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""  # Typer shows <bool>
            parameter.show_default = False
    return parameters


app = typer.Typer(
    name="mnistctl",
    cls=_Group,
    help="Train, evaluate, use and export models that recognize handwritten digits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback means a bug in mnistctl: show it plain and in full
    context_settings={"help_option_names": ["-h", "--help"]},
)


# Panel of the help -> its commands: name, function and examples.
_COMMANDS: dict[str, list[tuple[str, Callable[..., None], list[str]]]] = {
    "First steps": [
        (
            "download",
            download.download,
            [
                "mnistctl download",
                "mnistctl download fashion-mnist --from ~/Downloads",
                "mnistctl download --list",
            ],
        ),
        (
            "train",
            train.train,
            [
                "mnistctl train",
                "mnistctl train --recipe best --name careful",
                "mnistctl train --resume careful",
            ],
        ),
        (
            "eval",
            evaluate.evaluate,
            [
                "mnistctl eval",
                "mnistctl eval careful --robustness --plots plots/",
                "mnistctl eval model.onnx --min-accuracy 0.99",
            ],
        ),
        (
            "predict",
            predict.predict,
            [
                "mnistctl predict digit.png",
                "mnistctl predict number.jpg --split --annotate boxes.png",
                "mnistctl predict photos/ --recursive --csv > answers.csv",
            ],
        ),
        (
            "export",
            export.export,
            [
                "mnistctl export",
                "mnistctl export careful --format onnx,onnx-int8 --output exported/",
                "mnistctl export careful --input float32 --opset 20 --force",
            ],
        ),
    ],
    "Models": [
        ("info", info.info, ["mnistctl info", "mnistctl info bundled --card"]),
        (
            "benchmark",
            benchmark.benchmark,
            [
                "mnistctl benchmark",
                "mnistctl benchmark careful --format onnx,onnx-int8 --output speed.png",
            ],
        ),
        (
            "ensemble",
            ensemble.ensemble,
            [
                "mnistctl ensemble mnist-cnn-1 mnist-cnn-2 mnist-cnn-3",
                "mnistctl ensemble mnist-cnn-1 mnist-cnn-2 --output both.safetensors",
            ],
        ),
    ],
    "Data": [
        (
            "data",
            data.data,
            ["mnistctl data", "mnistctl data --dataset fashion-mnist --output fashion.png"],
        ),
        (
            "label",
            label.label,
            [
                "mnistctl label photos/ --output my-digits",
                "mnistctl train --init bundled --dataset my-digits",
            ],
        ),
    ],
    "Runs": [
        ("runs", listings.runs, ["mnistctl runs", "mnistctl runs --json"]),
        (
            "compare",
            compare.compare,
            [
                "mnistctl compare mnist-cnn-1 mnist-mlp-1",
                "mnistctl compare mnist-cnn-1 bundled --dataset qmnist",
            ],
        ),
        (
            "plot",
            plot.plot,
            ["mnistctl plot", "mnistctl plot mnist-cnn-1 mnist-mlp-1 --output curves.png"],
        ),
    ],
    "Setup": [
        ("recipes", listings.recipes, ["mnistctl recipes", "mnistctl train --recipe fast"]),
        ("archs", listings.archs, ["mnistctl archs", "mnistctl train --arch torchvision:resnet18"]),
        ("doctor", doctor.doctor, ["mnistctl doctor", "mnistctl doctor --json > report.json"]),
    ],
}


def _add(panel: str, name: str, function: Callable[..., None], examples: Sequence[str]) -> None:
    # Typer would keep the line breaks of the docstring.
    paragraphs = (" ".join(text.split()) for text in (function.__doc__ or "").split("\n\n"))
    epilog = "\n".join(["[bold]Examples[/bold]", *(f"  {example}" for example in examples)])
    help_text = "\n\n".join(paragraphs)
    command = app.command(name, cls=_Command, rich_help_panel=panel, help=help_text, epilog=epilog)
    command(function)


for _panel, _commands in _COMMANDS.items():
    for _command in _commands:
        _add(_panel, *_command)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"mnistctl {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error becomes one line on stderr.

    Args:
        arguments: without the program's name; None: those of this process.

    Returns:
        The exit code; `mnistctl.errors` lists them.
    """
    try:
        result = app(arguments, prog_name="mnistctl", standalone_mode=False)
    except MnistctlError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:  # an unknown option, a value of the wrong type
        return _fail(error.format_message().replace("Value error, ", ""), error.exit_code)
    except PermissionError as error:  # a folder that cannot be read
        return _fail(f"{error.filename}: {error.strerror}", MnistctlError.exit_code)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _fail(f"cannot write the result: {error.strerror}", MnistctlError.exit_code)
    if result == _INTERRUPTED:  # Typer returns this code after Ctrl-C
        return _fail("interrupted", _INTERRUPTED)
    return result if isinstance(result, int) else 0


def _fail(message: str, exit_code: int) -> int:
    line = " ".join(message.split())
    if line and torchrun.is_first_to_report():  # empty: Typer has printed the help
        print(f"mnistctl: {line}", file=sys.stderr)
    return exit_code


def run() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal keeps its encoding and shows "?" for what it lacks. Pipes and files get UTF-8.
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="replace")
    sys.exit(main())
