"""The results of `mnistctl predict` as JSON, CSV and text, printed one by one as they come."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.cells import set_cell_size
from rich.text import Text

from mnistctl.cli import render, terminal_art
from mnistctl.errors import printable

if TYPE_CHECKING:
    from mnistctl.api.picture_results import Detection, PictureResult
    from mnistctl.models.predictor import Prediction

_NO_DIGITS = "no digits"
_FILE_WIDTH = 40  # columns for the file name; a longer name moves the rest to the right


def write_json(results: "Iterable[PictureResult]") -> None:
    """Print a JSON list."""
    print("[", end="")
    for number, result in enumerate(results):
        text = json.dumps(result.to_json(), indent=2, ensure_ascii=False)
        print("," if number else "", "\n  ", text.replace("\n", "\n  "), sep="", end="", flush=True)
    print("\n]", flush=True)


def write_json_lines(results: "Iterable[PictureResult]") -> None:
    """Print one line of JSON per picture."""
    for result in results:
        print(json.dumps(result.to_json(), ensure_ascii=False), flush=True)


def write_csv(results: "Iterable[PictureResult]", *, top: int, numbers: bool, with_truth: bool) -> None:
    """Print CSV: one row per digit, or per picture without digits.

    Args:
        results: of the pictures.
        top: number of pairs of columns for labels and probabilities.
        numbers: whether there are columns for the text of a digit's line, and for its place.
        with_truth: whether there is a column for the true label.
    """
    places = ["text", "line", "word", "left", "top", "width", "height"] if numbers else []
    ranks = ["", *(f"_{rank}" for rank in range(2, top + 1))]
    answers = [name + rank for rank in ranks for name in ("label", "probability")]
    truth = ["truth"] if with_truth else []
    writer = csv.DictWriter(
        sys.stdout,
        ["file", *places, *answers, "familiarity", "reason", "error", *truth],
        extrasaction="ignore",
        lineterminator="\n",
    )
    writer.writeheader()
    for result in results:
        # Only a terminal acts on control characters.
        file = printable(result.file) if sys.stdout.isatty() else result.file
        row = {"file": file, "error": result.error, "truth": result.truth}
        for line in result.lines:
            for digit in line.digits:
                prediction = digit.prediction
                place = [line.text, digit.line, digit.word, *digit.box]
                cells = [cell for answer in prediction.top for cell in answer]
                writer.writerow(
                    row
                    | dict(zip(places, place, strict=False))
                    | dict(zip(answers, cells, strict=False))
                    | {"familiarity": prediction.familiarity, "reason": prediction.reason}
                )
        if not result.digits:
            writer.writerow(row | {"reason": "" if result.error else _NO_DIGITS})
        sys.stdout.flush()


def write_text(results: "Iterable[PictureResult]", *, preview: bool) -> None:
    """Print one line per picture; for numbers, one per line of digits and one per digit.

    Args:
        results: of the pictures; those with an error are skipped.
        preview: whether to print the model's input too.
    """
    has_heading = False
    for result in results:
        if result.error is not None:
            continue
        if preview:
            for digit in result.digits:
                render.show_text([f"{printable(result.file)}\n{terminal_art.block_art(digit.image)}"])
        if result.has_numbers:
            render.show_text(_number_lines(result))
            continue
        if not has_heading:
            heading = f"{'file':<{_FILE_WIDTH}}  label  probability  runners-up"
            render.show_text([Text(heading, style="dim")])
            has_heading = True
        render.show_text([_digit_line(printable(result.file), result.digits[0])])


def _digit_line(file: str, digit: "Detection") -> Text:
    prediction = digit.prediction
    name = file if len(file) > _FILE_WIDTH else set_cell_size(file, _FILE_WIDTH)
    if prediction.rejected:
        return Text.assemble(
            name, "  ", (f"{'–':>5}", "bold"), f"  {'–':>11}  {_rejection(prediction)}"
        )
    runners_up = ", ".join(f"{label} {render.percent(share)}" for label, share in prediction.top[1:])
    label = (f"{prediction.label:>5}", "bold")
    probability = render.percent(prediction.probability)
    return Text.assemble(name, "  ", label, f"  {probability:>11}  {runners_up}")


def _rejection(prediction: "Prediction") -> str:
    """Why a digit is rejected, and the best guess, if the picture may show a digit."""
    from mnistctl.models.predictor import BLANK, SEVERAL_DIGITS  # imports NumPy; done by now

    if prediction.reason in (BLANK, SEVERAL_DIGITS):
        return str(prediction.reason)
    guess = f"{prediction.label}, {render.percent(prediction.probability)}"
    return f"{prediction.reason}; best guess {guess}"


def _number_lines(result: "PictureResult") -> Iterator[Text]:
    """Each line of digits with its probability, followed by its digits."""
    file = printable(result.file)
    if not result.digits:
        yield Text.assemble(file, "  ", (_NO_DIGITS, "bold"))
    for number, line in enumerate(result.lines, 1):
        place = f"  line {number}" if len(result.lines) > 1 else ""
        probability = render.percent(line.probability)
        yield Text.assemble(file, place, "  ", (line.text, "bold"), f"  {probability}")
        for digit in line.digits:
            prediction, box = digit.prediction, digit.box
            yield Text(
                f"  {prediction.label}  {render.percent(prediction.probability):>7}  "
                f"familiarity {prediction.familiarity:.2f}  "
                f"{box.width}×{box.height} at {box.left}, {box.top}",
                style="dim",
            )
