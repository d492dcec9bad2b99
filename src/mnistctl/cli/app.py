"""The command line: the commands in panels, and the place where an error becomes an exit code."""

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from mnistctl import __version__
from mnistctl.cli import (
    benchmark,
    compare,
    completion,
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
    render,
    serve,
    train,
    tune,
)
from mnistctl.cli.command import Command, Group
from mnistctl.errors import MnistctlError
from mnistctl.system import failures, torchrun

_INTERRUPTED = 128 + signal.SIGINT
_MAX_LINE = 900  # characters of an error
_CLOSED_PIPE = 128 + 13  # SIGPIPE, which not every system knows


app = typer.Typer(
    name="mnistctl",
    cls=Group,
    help="Train, evaluate, use and export models that recognise handwritten digits.",
    epilog="'mnistctl help COMMAND' shows the options and examples of a command.",
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
                "mnistctl eval careful --split train,validation,test",
                "mnistctl eval careful --robustness --plots plots/",
                "mnistctl eval model.onnx --min-accuracy 0.99",
            ],
        ),
        (
            "predict",
            predict.predict,
            [
                "mnistctl predict --example",
                "mnistctl predict digit.png",
                "mnistctl predict number.jpg --numbers --annotate boxes.png",
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
        (
            "tune",
            tune.tune,
            [
                "mnistctl tune --arch mlp --minutes 10",
                "mnistctl tune rates --search learning_rate=1e-3..1e-1:log --trials 40",
                "mnistctl tune --resume rates",
                "mnistctl tune rates --show",
            ],
        ),
        (
            "serve",
            serve.serve,
            [
                "mnistctl serve",
                "mnistctl serve careful bundled --port 9000",
                "mnistctl serve --host 0.0.0.0 --token-file token.txt --log-format json",
            ],
        ),
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
            [
                "mnistctl data digits",
                "mnistctl data fashion-mnist --output fashion.png",
                "mnistctl data --recipe numbers --output pages.png",
            ],
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
        (
            "runs",
            listings.runs,
            ["mnistctl runs", "mnistctl runs --sort validation_accuracy"],
        ),
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
        ("recipes", listings.recipes, ["mnistctl recipes", "mnistctl recipes mlp-sgd"]),
        ("archs", listings.archs, ["mnistctl archs", "mnistctl train --arch torchvision:resnet18"]),
        ("doctor", doctor.doctor, ["mnistctl doctor", "mnistctl doctor --self-test"]),
    ],
}


def _add(panel: str, name: str, function: Callable[..., None], examples: Sequence[str]) -> None:
    # Typer would keep the line breaks of the docstring.
    paragraphs = (" ".join(text.split()) for text in (function.__doc__ or "").split("\n\n"))
    epilog = "\n".join(["[bold]Examples[/bold]", *(f"  {example}" for example in examples)])
    help_text = "\n\n".join(paragraphs)
    command = app.command(name, cls=Command, rich_help_panel=panel, help=help_text, epilog=epilog)
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
            "--version",
            "-V",
            help="Print the version and exit.",
            callback=_print_version,
            is_eager=True,
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
    except typer.TyperException as error:
        return _fail(error.format_message(), error.exit_code)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # the reader has ended, as in `… | head`
            return _CLOSED_PIPE
        raise
    except Exception as error:
        failure = failures.explain(error)
        if failure is None:
            raise
        return _fail(str(failure), failure.exit_code)
    if result == _INTERRUPTED:  # Typer returns this code after Ctrl-C
        return _fail("interrupted", _INTERRUPTED)
    return result if isinstance(result, int) else 0


def _fail(message: str, exit_code: int) -> int:
    line = " ".join(message.split())
    if len(line) > _MAX_LINE:  # it quotes a very long name or value
        line = f"{line[:_MAX_LINE]}…"
    if line and torchrun.is_first_to_report():  # empty: Typer has printed the help
        render.show_error(line)
    return exit_code


def run() -> None:
    """Entry point of the console script."""
    if os.environ.get("_MNISTCTL_COMPLETE") == "complete_bash":
        completion.join_bash_words()
    if len(os.environ.get("COLUMNS", "")) > 4:  # no terminal is that wide; rich would pad every line
        del os.environ["COLUMNS"]
    if sys.stderr is None:  # closed by the program that started this one
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.exit(_fail("standard output is closed; send it to a file or to /dev/null", 1))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal keeps its encoding and shows "?" for what it lacks. Pipes and files get UTF-8.
            # It lacks only the bytes of file names that are no text: \udcff is JSON for such a byte.
            encoding = stream.encoding if stream.isatty() else "utf-8"
            errors = "backslashreplace" if encoding.lower() == "utf-8" else "replace"
            stream.reconfigure(encoding=encoding, errors=errors)
    sys.exit(main())
