"""`mnistctl predict`."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistctl.cli import display, predict_output
from mnistctl.cli.completion import complete_models
from mnistctl.cli.options import (
    CustomClassOption,
    JsonOption,
    QuietOption,
    share_option,
)
from mnistctl.cli.predict_summary import Summary
from mnistctl.errors import UsageError

if TYPE_CHECKING:
    from mnistctl.api.picture_results import PictureResult

_log = logging.getLogger(__name__)


def predict(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURE",
            help="Pictures, folders of pictures, patterns such as '*.png', or - for standard input.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model that classifies each digit: a file, a run folder, the name of a run, or "
            "'bundled'.",
            autocompletion=complete_models,
            show_default="the newest run, or bundled; with --numbers, bundled",
        ),
    ] = None,
    numbers: Annotated[
        bool,
        typer.Option("--numbers", help="Read whole numbers: every digit of the picture, line by line."),
    ] = False,
    numbers_model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model that finds the digits, for --numbers: a file, a run folder, the name of a run, "
            "or 'bundled-numbers'.",
            autocompletion=complete_models,
            show_default="the newest run for numbers, or bundled-numbers",
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(metavar="N", help="Number of most probable classes to show, 1 or more."),
    ] = 3,
    threshold: Annotated[
        Any,
        share_option(
            "--threshold",
            metavar="VALUE",
            help="Reject pictures with a familiarity below this; with --numbers, ignore digits "
            "below it. From 0 to 1.",
            show_default="the model's",
        ),
    ] = None,
    no_reject: Annotated[
        bool, typer.Option("--no-reject", help="Do not reject blank pictures and non-digits.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show the model's input in the terminal.")
    ] = False,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="PNG, SVG or PDF file for the picture with boxes and labels; for several pictures, a "
            "folder.",
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="PNG, SVG or PDF file for a plot of how the picture was read, and why; for several "
            "pictures, a folder.",
        ),
    ] = None,
    example: Annotated[
        bool,
        typer.Option("--example", help="Read the example picture that comes with mnistctl."),
    ] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Search sub-folders too.")
    ] = False,
    from_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File with names of pictures, one per line; - for standard input."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV file with the true labels of pictures, in the columns file and label. Report the "
            "accuracy. Paths are relative to the CSV file.",
        ),
    ] = None,
    labels_from_names: Annotated[
        bool,
        typer.Option(
            "--labels-from-names",
            help="Take true labels from file or folder names (3/photo.png, 3_a.png, a-3.png; with "
            "--numbers 1984_a.png, a-1984.png) and report the accuracy.",
        ),
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Number of processes that decode pictures, 1 or more; for hundreds of pictures.",
        ),
    ] = 1,
    skip_done: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Skip the pictures that this output of an interrupted --jsonl has. To continue it: "
            "--jsonl --skip-done FILE >> FILE.",
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Address of a server of 'mnistctl serve' that reads the pictures. --model names a "
            "model of the server.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the token that --server asks for."),
    ] = None,
    arch: CustomClassOption = None,
    as_json: JsonOption = False,
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print one line of JSON per picture.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as CSV.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Recognise the digits in pictures.

    Photos and drawings work, dark or light ink on any paper. A picture that does not look like a digit
    is rejected. Some letters and other drawings do look like one.
    """
    if as_json + as_jsonl + as_csv > 1:
        raise UsageError("--json, --jsonl and --csv: choose one")
    if server is not None:
        _check_server_options(
            {
                "--numbers-model": numbers_model,
                "--arch": arch,
                "--no-reject": no_reject,
                "--preview": preview,
                "--annotate": annotate,
                "--explain": explain,
                "--jobs": jobs > 1,
            }
        )
    elif token_file is not None:
        raise UsageError("--token-file needs --server")
    import mnistctl
    from mnistctl.api import picture_requests  # NumPy, 0.07 s

    names = [*(pictures or []), *(picture_requests.read_names(from_file) if from_file else [])]
    if not (names or example):
        raise UsageError("no pictures: name some, or try 'mnistctl predict --example'")
    summary = Summary()
    is_scored = labels_from_names or labels is not None
    # Results on a terminal show the progress themselves, and a bar would break their lines.
    with display.live(quiet=quiet, bars=not sys.stdout.isatty()):
        if example:
            names.append(str(picture_requests.EXAMPLE))
            _log.info(f"the example picture is {picture_requests.EXAMPLE}")
        finished = _read_finished(skip_done, as_jsonl=as_jsonl) if skip_done else set()
        reading: dict[str, Any] = {
            "recursive": recursive,
            "labels": labels,
            "labels_from_names": labels_from_names,
            "skip": finished,
        }
        options: dict[str, Any] = {"numbers": numbers, "top": top, "threshold": threshold}
        results: Iterable[PictureResult]
        if server is not None:
            remote = mnistctl.open_server(server, model=model, token_file=token_file, **options)
            results = remote.read(names, **reading)
            top, class_names = remote.top, remote.class_names
        else:
            predictor = mnistctl.open_model(
                model, numbers_model=numbers_model, reject=not no_reject, arch=arch, **options
            )
            keeps_pictures = annotate is not None or explain is not None
            results = predictor.read(names, keep_pictures=keeps_pictures, jobs=jobs, **reading)
            results = mnistctl.annotate(results, predictor, annotate=annotate, explain=explain)
            top, class_names = predictor.top, tuple(predictor.metadata.class_names)
        results = summary.count(results)
        if as_json:
            predict_output.write_json(results)
        elif as_jsonl:
            predict_output.write_json_lines(results)
        elif as_csv:
            predict_output.write_csv(results, top=top, numbers=numbers, with_truth=is_scored)
        else:
            predict_output.write_text(results, preview=preview)
            if explain is None and summary.rejected:
                _log.info(
                    "--explain why.png shows why a picture was rejected, --explain why/ for several"
                )
    if is_scored:
        only_line = as_json or as_jsonl or as_csv
        if numbers:
            summary.show_number_scores(only_line=only_line)
        else:
            summary.show_accuracy(class_names, only_line=only_line)
    summary.require()


def _check_server_options(options: Mapping[str, object]) -> None:
    """Check that no option is used that a server does not have."""
    used = [name for name, value in options.items() if value]
    if used:
        raise UsageError(f"{used[0]} does not work with --server")


def _read_finished(file: Path, *, as_jsonl: bool) -> set[str]:
    """The pictures in earlier results. If stdout continues that file, its incomplete last line goes."""
    from mnistctl.api import picture_requests

    finished = picture_requests.read_finished(file)
    _log.info(f"skipping {len(finished.files):,} pictures that are in {file}")
    with contextlib.suppress(OSError):  # stdout may be no file
        if os.path.samestat(os.fstat(sys.stdout.fileno()), file.stat()):
            if not as_jsonl:
                raise UsageError(f"--skip-done {file}: the results are appended to it, so use --jsonl")
            os.truncate(file, finished.complete_bytes)
    return finished.files
