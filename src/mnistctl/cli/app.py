"""The command line: the commands in panels, and the place where an error becomes an exit code."""

import errno
import functools
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

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
    """A command whose help is plain; see `_simplify`."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters of the help."""
        return _simplify(super().get_params(ctx))


class _Group(TyperGroup):
    """The program, whose help is plain; see `_simplify`."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters of the help."""
        return _simplify(super().get_params(ctx))


def _simplify(parameters: Any) -> Any:
    """Show flags without a type and a default, and arguments without a type and braces."""
    for parameter in parameters:
        if isinstance(parameter, TyperArgument):
            name = parameter.display_name_raw
            usage = name if parameter.required else f"[{name}]"
            usage += "" if parameter.nargs == 1 else "..."
            parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
            parameter.get_usage_pieces = functools.partial(  # type: ignore[method-assign]
                lambda usage, ctx: [usage], usage
            )
        elif parameter.is_flag:
            parameter.metavar = ""  # Typer shows <bool>
            parameter.show_default = False
    return parameters


app = typer.Typer(
    name="mnistctl",
    cls=_Group,
    help="Train, evaluate, use and export models that recognise handwritten digits.",
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
        return _fail(_in_plain_words(error.format_message()), error.exit_code)
    except PermissionError as error:  # a folder that cannot be read
        return _fail(f"{error.filename}: {error.strerror}", MnistctlError.exit_code)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _fail(f"cannot write the result: {error.strerror}", MnistctlError.exit_code)
    if result == _INTERRUPTED:  # Typer returns this code after Ctrl-C
        return _fail("interrupted", _INTERRUPTED)
    return result if isinstance(result, int) else 0


def _in_plain_words(message: str) -> str:
    """A message of Typer without the phrases of Pydantic, which checks the values."""
    message = message.replace("Value error, ", "").partition(", unable to parse")[0]
    message = message.replace("a valid integer", "a whole number").replace("a valid number", "a number")
    return message.replace("Input should be", "expected")


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
