"""The commands, and the one place where an error becomes a line and an exit code."""

import errno
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

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

app = typer.Typer(
    name="mnistctl",
    help="From nothing to a handwritten-digit reader you can ship.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback is for a bug of ours: plain, and all of it
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("download")(download.download)
app.command("data")(data.data)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("label")(label.label)
app.command("export")(export.export)
app.command("benchmark")(benchmark.benchmark)
app.command("ensemble")(ensemble.ensemble)
app.command("info")(info.info)
app.command("plot")(plot.plot)
app.command("compare")(compare.compare)
app.command("runs")(listings.runs)
app.command("recipes")(listings.recipes)
app.command("archs")(listings.archs)
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mnistctl {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors become one line on stderr.

    Args:
        arguments: without the program's name; None: those of this process.

    Returns:
        The exit code, as `errors` and the README list them.
    """
    try:
        result = app(arguments, prog_name="mnistctl", standalone_mode=False)
    except MnistctlError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:  # an unknown option, a value of the wrong type
        return _fail(error.format_message(), error.exit_code)
    except PermissionError as error:  # a folder that may not be read
        return _fail(f"{error.filename}: {error.strerror}", MnistctlError.exit_code)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _fail(f"the result cannot be written: {error.strerror}", MnistctlError.exit_code)
    if result == _INTERRUPTED:  # Typer's word for Ctrl-C
        return _fail("interrupted", _INTERRUPTED)
    return result if isinstance(result, int) else 0


def _fail(message: str, exit_code: int) -> int:
    line = " ".join(message.split())
    if line and torchrun.is_first_to_report():  # it is empty when Typer has shown its help instead
        print(f"mnistctl: {line}", file=sys.stderr)
    return exit_code


def run() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal without Unicode still shows figures; what goes elsewhere is UTF-8.
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="replace")
    sys.exit(main())
