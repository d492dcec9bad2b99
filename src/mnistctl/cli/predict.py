"""`mnistctl predict`."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import set_cell_size
from rich.text import Text

from mnistctl.cli import display, render, terminal_art
from mnistctl.cli.options import CustomClassOption, JsonOption, ModelOption, QuietOption
from mnistctl.errors import PictureError, UsageError

if TYPE_CHECKING:
    from mnistctl.api.predict import Detection, PictureResult

_FILE_WIDTH = 40  # cells, of the column of file names; longer names push the rest aside


def predict(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            help="Pictures, folders of pictures, patterns, or - for standard input.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    split: Annotated[
        bool, typer.Option("--split", help="Find every digit, and read the number they make.")
    ] = False,
    top: Annotated[int, typer.Option(help="How many of the likeliest classes to show.")] = 3,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Refuse what looks less familiar than this.",
            min=0,
            max=1,
            show_default="the model's own",
        ),
    ] = None,
    reject: Annotated[
        bool, typer.Option("--reject/--no-reject", help="Refuse what is blank or no digit.")
    ] = True,
    preview: Annotated[bool, typer.Option(help="Draw what the model sees.")] = False,
    annotate: Annotated[
        Path | None,
        typer.Option(help="Write the picture with boxes and labels; a folder for several pictures."),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(help="Write how the picture was read; a folder for several pictures."),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into folders inside folders.")
    ] = False,
    from_file: Annotated[
        Path | None, typer.Option(help="Read the names of pictures from this file, one a line.")
    ] = None,
    labels_from_names: Annotated[
        bool,
        typer.Option(
            "--labels-from-names", help="Score against the labels in folders' or files' names."
        ),
    ] = False,
    arch: CustomClassOption = None,
    as_json: JsonOption = False,
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print each picture's result as one line of JSON.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as CSV.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Read photos and drawings of digits: any ink on any paper, large or small, one or several."""
    import mnistctl

    if as_json + as_jsonl + as_csv > 1:
        raise UsageError("--json, --jsonl and --csv: choose one")
    names = [*(pictures or []), *(_listed(from_file) if from_file else [])]
    if not names:
        raise UsageError("no pictures: name some, or a file of names with --from-file")
    summary = _Summary()
    # Results that appear on a terminal show the progress themselves; a bar would tear them.
    with display.live(quiet=quiet, bars=not sys.stdout.isatty()):
        reader = mnistctl.open_model(
            model,
            top=top,
            threshold=threshold,
            reject=reject,
            split=split,
            arch=arch,
        )
        readings = reader.read(
            names,
            recursive=recursive,
            labels_from_names=labels_from_names,
        )
        shown = summary.counting(
            mnistctl.annotate(readings, reader, annotate=annotate, explain=explain)
        )
        if as_json:
            _show_json(shown)
        elif as_jsonl:
            for reading in shown:
                print(json.dumps(reading.to_json(), ensure_ascii=False), flush=True)
        elif as_csv:
            _show_csv(shown, top=top, split=split, with_truth=labels_from_names)
        else:
            _show(shown, preview=preview)
    if labels_from_names:
        summary.show(reader.predictor.metadata.class_names, quiet=as_json or as_jsonl or as_csv)
    summary.end()


def _listed(file: Path) -> list[str]:
    """The names in a file, or on standard input for -, a line each; empty lines are left out."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--from-file {file}: {reason}") from error
    return [line for line in text.splitlines() if line.strip()]


class _Summary:
    """What a stream of readings came to."""

    def __init__(self) -> None:
        self._pictures = 0
        self._unread: list[str] = []
        self._answers: Counter[tuple[str, str]] = Counter()

    def counting(self, readings: "Iterable[PictureResult]") -> "Iterator[PictureResult]":
        for reading in readings:
            self._pictures += 1
            if reading.error is not None:
                self._unread.append(reading.file)
                render.complain(reading.error)
            if reading.truth is not None:
                refused = reading.error is not None or (
                    reading.prediction is None or reading.prediction.rejected
                )
                self._answers[reading.truth, "refused" if refused else reading.text] += 1
            yield reading

    def show(self, class_names: list[str], *, quiet: bool) -> None:
        """The accuracy and the confusion matrix; on stderr where stdout has other results."""
        total = self._answers.total()
        right = sum(count for (truth, answer), count in self._answers.items() if truth == answer)
        line = f"{render.percent(right / total if total else None)} of {total:,} pictures right"
        if quiet:
            render.console(stderr=True).print(line)
            return
        others = sorted({answer for _, answer in self._answers} - set(class_names))
        table = render.table("true \\ read as", *class_names, *others)
        for truth in class_names:
            row = [self._answers[truth, answer] for answer in (*class_names, *others)]
            if any(row):
                cells = [
                    render.bold(count) if answer == truth else str(count or "·")
                    for answer, count in zip((*class_names, *others), row, strict=True)
                ]
                table.add_row(truth, *cells)
        render.show_parts([f"\n{line}\n", table])

    def end(self) -> None:
        """Fail where pictures could not be read."""
        if self._unread and self._pictures > 1:
            raise PictureError(f"{len(self._unread)} of {self._pictures} pictures could not be read")
        if self._unread:
            raise typer.Exit(PictureError.exit_code)


def _show_json(readings: "Iterable[PictureResult]") -> None:
    """A list, item by item as they come."""
    print("[", end="")
    for number, reading in enumerate(readings):
        text = json.dumps(reading.to_json(), indent=2, ensure_ascii=False)
        print("," if number else "", "\n  ", text.replace("\n", "\n  "), sep="", end="", flush=True)
    print("\n]", flush=True)


def _show_csv(readings: "Iterable[PictureResult]", *, top: int, split: bool, with_truth: bool) -> None:
    """A row for each picture; for each digit where there may be several."""
    places = ["line", "left", "top", "width", "height"] if split else []
    answers = [
        name if rank == 1 else f"{name}_{rank}"
        for rank in range(1, top + 1)
        for name in ("label", "probability")
    ]
    truth = ["truth"] if with_truth else []
    writer = csv.DictWriter(
        sys.stdout,
        ["file", *places, *answers, "familiarity", "reason", "error", *truth],
        extrasaction="ignore",
        lineterminator="\n",
    )
    writer.writeheader()
    for reading in readings:
        row = {"file": reading.file, "error": reading.error, "truth": reading.truth}
        for found in reading.digits:
            guess = found.prediction
            cells = [cell for answer in guess.top for cell in answer]
            writer.writerow(
                row
                | dict(zip(places, [found.line, *found.box], strict=False))
                | dict(zip(answers, cells, strict=False))
                | {"familiarity": guess.familiarity, "reason": guess.reason}
            )
        if not reading.digits:
            writer.writerow(row | {"reason": "" if reading.error else "blank"})
        sys.stdout.flush()


def _show(readings: "Iterable[PictureResult]", *, preview: bool) -> None:
    """A line for each picture, as they come; one picture alone has no heading to it."""
    for number, reading in enumerate(readings):
        if reading.error is not None:
            continue
        if preview:
            for found in reading.digits:
                render.show_parts([f"{reading.file}\n{terminal_art.shaded(found.image)}"])
        if not number and not reading.is_split:
            head = f"{'file':<{_FILE_WIDTH}}  label  probability  then"
            render.show_parts([Text(head, style="dim")])
        if reading.is_split:
            render.show_parts(_number(reading))
        else:
            render.show_parts([_row(reading.file, reading.digits[0])])


def _row(file: str, found: "Detection") -> Text:
    guess = found.prediction
    name = file if len(file) > _FILE_WIDTH else set_cell_size(file, _FILE_WIDTH)
    if guess.rejected:
        best = f"{guess.reason}; at best a {guess.label}, {render.percent(guess.probability)}"
        return Text.assemble(name, "  ", (f"{'–':>5}", "bold"), f"  {'–':>11}  {best}")
    then = ", ".join(f"{label} {render.percent(share)}" for label, share in guess.top[1:])
    share = render.percent(guess.probability)
    return Text.assemble(name, "  ", (f"{guess.label:>5}", "bold"), f"  {share:>11}  {then}")


def _number(reading: "PictureResult") -> Iterator[Text]:
    """The number, and below it a line for each digit."""
    shown = reading.text.replace("\n", " / ") or "nothing on it"
    yield Text.assemble(reading.file, "  ", (shown, "bold"))
    for found in reading.digits:
        guess, box = found.prediction, found.box
        place = f"{box.width}×{box.height} at {box.left}, {box.top}"
        share = render.percent(guess.probability)
        answer = f"{guess.label}  {share}"
        if guess.rejected:
            answer = f"?  {guess.reason}; at best a {guess.label}, {share}"
        yield Text(f"  {answer:<12} {place}", style="" if guess.rejected else "dim")
