"""What `mnistctl predict` prints after the results: how many are right, and which errors there are."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from mnistctl.cli import render
from mnistctl.errors import PictureError

if TYPE_CHECKING:
    from mnistctl.api.picture_results import PictureResult

_REJECTED = "rejected"  # the column of pictures without an answer
_MAX_CONFUSIONS = 10  # errors of numbers in the table


class Summary:
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
            self.rejected += any(digit.prediction.rejected for digit in result.digits)
            if result.truth is None:
                self._without_label += 1
            else:
                self._answers[result.truth, _answer(result)] += 1
            yield result

    def show_accuracy(self, class_names: Sequence[str], *, only_line: bool) -> None:
        """Print the accuracy and the confusion matrix of single digits.

        Args:
            class_names: of the model.
            only_line: print the accuracy alone, on stderr, because stdout has the results.
        """
        total = self._answers.total()
        right = sum(count for (truth, answer), count in self._answers.items() if truth == answer)
        accuracy = render.percent(right / total if total else None)
        line = self._scored_line(f"accuracy {accuracy}")
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

    def show_number_scores(self, *, only_line: bool) -> None:
        """Print the accuracies of numbers, and the most frequent errors.

        Args:
            only_line: see `show_accuracy`.
        """
        from mnistctl.evaluation import number_scores

        scores = number_scores.score(self._answers)
        line = self._scored_line(
            f"string accuracy {render.percent(scores.string_accuracy)}, "
            f"digit accuracy {render.percent(scores.digit_accuracy)}, "
            f"mean edit distance {render.number(scores.mean_edit_distance, '.3f')}"
        )
        if only_line:
            render.console(stderr=True).print(line)
            return
        render.show_text([f"\n{line}"])
        if not scores.confusions:
            return
        table = render.table("true digit", "read as", "times", left=(0, 1))
        for confusion in scores.confusions[:_MAX_CONFUSIONS]:
            table.add_row(
                confusion.truth or "none", confusion.predicted or "not read", f"{confusion.count:,}"
            )
        others = sum(confusion.count for confusion in scores.confusions[_MAX_CONFUSIONS:])
        render.show_text(["", table, *([f"{others:,} other errors"] if others else [])])

    def _scored_line(self, accuracies: str) -> str:
        total = self._answers.total()
        line = f"{accuracies} on {total:,} picture{'' if total == 1 else 's'}"
        if self._without_label:
            line += f"; {self._without_label:,} without a label could not be scored"
        return line

    def require(self) -> None:
        """Fail if a picture has an error.

        Raises:
            PictureError: one of several pictures has; the error of a single picture is printed already.
        """
        if self._errors and self._pictures > 1:
            raise PictureError(f"{self._errors} of {self._pictures} pictures could not be read")
        if self._errors:
            raise typer.Exit(PictureError.exit_code)


def _answer(result: "PictureResult") -> str:
    """The label, or the number without spaces and line breaks."""
    if result.has_numbers:
        return "".join(result.text.split())
    prediction = result.prediction
    return result.text if prediction is not None and not prediction.rejected else _REJECTED
