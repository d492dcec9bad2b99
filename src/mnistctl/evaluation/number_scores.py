"""How well numbers were read: whole strings and single digits, compared with the true strings."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mnistctl.types import Result


@dataclass(frozen=True)
class Confusion(Result):
    """An error of the strings that were read."""

    truth: str  # the true digit; "": there is none, and a digit was read
    predicted: str  # the digit that was read; "": none was
    count: int  # how often this happened


@dataclass(frozen=True)
class NumberScores(Result):
    """The accuracy of the strings that were read."""

    pictures: int  # with a true label
    string_accuracy: float | None  # share of strings without an error, in [0, 1]; None: no pictures
    digit_accuracy: float | None  # 1 - total edit distance / total digits, at most 1; None: no pictures
    mean_edit_distance: float | None  # errors per string; None: no pictures
    confusions: tuple[Confusion, ...]  # the most frequent first


def score(strings: Mapping[tuple[str, str], int]) -> NumberScores:
    """Score strings.

    Args:
        strings: (true string, string that was read) -> number of pictures. No true string is empty.
    """
    pictures = sum(strings.values())
    errors: Counter[tuple[str, str]] = Counter()
    for (truth, text), count in strings.items():
        for pair in find_errors(truth, text):
            errors[pair] += count
    if not pictures:
        return NumberScores(0, None, None, None, ())
    right = sum(count for (truth, text), count in strings.items() if truth == text)
    digits = sum(len(truth) * count for (truth, _), count in strings.items())
    ranked = sorted(errors.items(), key=lambda item: (-item[1], item[0]))
    return NumberScores(
        pictures,
        right / pictures,
        1 - errors.total() / digits,
        errors.total() / pictures,
        tuple(Confusion(*pair, count) for pair, count in ranked),
    )


def find_errors(truth: str, text: str) -> list[tuple[str, str]]:
    """The fewest errors that turn a true string into a text; their number is the edit distance.

    Returns:
        (true character, character read) for each error; "" for the one that is missing.

    Source: Wagner and Fischer 1974, "The String-to-String Correction Problem".
    """
    # distances[i][j]: between the first i characters of the truth and the first j of the text.
    distances = [list(range(len(text) + 1))]
    for i, true in enumerate(truth, 1):
        above, row = distances[-1], [i]
        for j, read in enumerate(text, 1):
            row.append(min(above[j - 1] + (true != read), above[j] + 1, row[-1] + 1))
        distances.append(row)
    errors: list[tuple[str, str]] = []
    i, j = len(truth), len(text)
    while i or j:
        distance = distances[i][j]
        if i and j and distance == distances[i - 1][j - 1] + (truth[i - 1] != text[j - 1]):
            i, j = i - 1, j - 1
            if truth[i] != text[j]:
                errors.append((truth[i], text[j]))
        elif i and distance == distances[i - 1][j] + 1:
            i -= 1
            errors.append((truth[i], ""))
        else:
            j -= 1
            errors.append(("", text[j]))
    return errors[::-1]
