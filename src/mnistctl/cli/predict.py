"""`mnistctl predict`."""

import contextlib
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistctl.cli import display, predict_output, render
from mnistctl.cli.options import (
    CustomClassOption,
    JsonOption,
    ModelOption,
    QuietOption,
    share_option,
)
from mnistctl.errors import PictureError, UsageError

if TYPE_CHECKING:
    from mnistctl.api.predict import PictureResult

_log = logging.getLogger(__name__)

_REJECTED = "rejected"  # the column of pictures without an answer


def predict(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURE",
            help="Pictures, folders of pictures, patterns such as '*.png', or - for standard input.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    split: Annotated[
        bool,
        typer.Option(
            "--split",
            help="Detect all digits in each picture and read them as numbers, line by line.",
        ),
    ] = False,
    top: Annotated[
        int,
        typer.Option(metavar="N", help="Number of most probable classes to show, 1 or more."),
    ] = 3,
    threshold: Annotated[
        Any,
        share_option(
            "--threshold",
            metavar="VALUE",
            help="Reject pictures with a familiarity below this. From 0 to 1.",
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
    labels_from_names: Annotated[
        bool,
        typer.Option(
            "--labels-from-names",
            help="Take true labels from file or folder names (3/photo.png, 3_a.png, a-3.png) and "
            "report the accuracy.",
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
    import mnistctl
    from mnistctl.api import picture_requests  # NumPy, 0.07 s

    names = [*(pictures or []), *(picture_requests.read_names(from_file) if from_file else [])]
    if not (names or example):
        raise UsageError("no pictures: name some, or try 'mnistctl predict --example'")
    summary = _Summary()
    # Results on a terminal show the progress themselves, and a bar would break their lines.
    with display.live(quiet=quiet, bars=not sys.stdout.isatty()):
        if example:
            names.append(str(picture_requests.EXAMPLE))
            _log.info(f"the example picture is {picture_requests.EXAMPLE}")
        finished = _read_finished(skip_done, as_jsonl=as_jsonl) if skip_done else set()
        predictor = mnistctl.open_model(
            model, top=top, threshold=threshold, reject=not no_reject, split=split, arch=arch
        )
        results = predictor.read(
            names,
            recursive=recursive,
            labels_from_names=labels_from_names,
            keep_pictures=annotate is not None or explain is not None,
            jobs=jobs,
            skip=finished,
        )
        results = mnistctl.annotate(results, predictor, annotate=annotate, explain=explain)
        results = summary.count(results)
        if as_json:
            predict_output.write_json(results)
        elif as_jsonl:
            predict_output.write_json_lines(results)
        elif as_csv:
            predict_output.write_csv(
                results, top=predictor.top, split=split, with_truth=labels_from_names
            )
        else:
            predict_output.write_text(results, preview=preview)
            if explain is None and summary.rejected:
                _log.info(
                    "--explain why.png shows why a picture was rejected, --explain why/ for several"
                )
    if labels_from_names:
        class_names = predictor.predictor.metadata.class_names
        summary.show_accuracy(class_names, only_line=as_json or as_jsonl or as_csv)
    summary.require()


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


class _Summary:
    """Counts of pictures, errors and answers."""

    def __init__(self) -> None:
        self._pictures = 0
        self._errors = 0
        self._without_label = 0
        self.rejected = 0
        self._answers: Counter[tuple[str, str]] = Counter()  # (true label, answer)

    def count(self, results: "Iterable[PictureResult]") -> "Iterator[PictureResult]":
        """Yield results as they come, count them, and print their errors."""
        for result in results:
            self._pictures += 1
            if result.error is not None:
                self._errors += 1
                render.show_error(result.error)
            prediction = result.prediction
            has_answer = prediction is not None and not prediction.rejected
            self.rejected += any(digit.prediction.rejected for digit in result.digits)
            if result.truth is None:
                self._without_label += 1
            else:
                self._answers[result.truth, result.text if has_answer else _REJECTED] += 1
            yield result

    def show_accuracy(self, class_names: Sequence[str], *, only_line: bool) -> None:
        """Print the accuracy and the confusion matrix.

        Args:
            class_names: of the model.
            only_line: print the accuracy alone, on stderr, because stdout has the results.
        """
        total = self._answers.total()
        right = sum(count for (truth, answer), count in self._answers.items() if truth == answer)
        line = f"accuracy {render.percent(right / total if total else None)} on {total:,} pictures"
        if self._without_label:
            line += f"; {self._without_label:,} without a label in the name could not be scored"
        if only_line:
            render.console(stderr=True).print(line)
            return
        answers = [*class_names, *sorted({answer for _, answer in self._answers} - set(class_names))]
        table = render.table("true \\ predicted", *answers)
        for truth in class_names:
            counts = [self._answers[truth, answer] for answer in answers]
            if any(counts):
                cells = [
                    render.bold(count) if answer == truth else str(count or "·")
                    for answer, count in zip(answers, counts, strict=True)
                ]
                table.add_row(truth, *cells)
        render.show_text([f"\n{line}\n", table])

    def require(self) -> None:
        """Fail if a picture has an error.

        Raises:
            PictureError: one of several pictures has; the error of a single picture is printed already.
        """
        if self._errors and self._pictures > 1:
            raise PictureError(f"{self._errors} of {self._pictures} pictures could not be read")
        if self._errors:
            raise typer.Exit(PictureError.exit_code)
