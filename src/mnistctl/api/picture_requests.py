"""Which pictures `predict` reads: files, folders, patterns, lists of names, and standard input."""

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mnistctl import images
from mnistctl.errors import DataError, MissingExtraError, PictureError, UsageError, shorten
from mnistctl.images import decode
from mnistctl.system import files

EXAMPLE = Path(__file__).parents[1] / "bundled" / "example.png"  # a drawing of a digit


class Request(NamedTuple):
    """A picture to read, or the reason why it cannot be read."""

    file: str  # its path; "FILE#page=2" for a page of a TIFF or PDF file, "-" for standard input
    source: Path | bytes
    page: int | None = None  # from 1; None: the file has one page
    error: str | None = None
    place: Path = Path("standard-input")  # its path below the folder that all pictures share


def list_requests(
    names: Sequence[str | Path], *, recursive: bool, skip: Collection[str] = ()
) -> list[Request]:
    """The pictures that files, folders, patterns and "-" name.

    Args:
        names: of the pictures.
        recursive: whether to search a folder's sub-folders too.
        skip: files to leave out.

    Raises:
        MissingExtraError: the only picture needs an optional package. Among others it is not read.
    """
    requests = [request for name in names for request in _expand(str(name), recursive)]
    if len(requests) == 1 and (command := decode.missing_extra(Path(requests[0].file).suffix)):
        raise MissingExtraError(f"{requests[0].file}: needs an optional package; run {command}")
    paths = [request.source.absolute() for request in requests if isinstance(request.source, Path)]
    shared: Path | None = None
    with contextlib.suppress(ValueError):  # no files, or files on several drives
        shared = Path(os.path.commonpath([path.parent for path in paths]))
    return [
        request._replace(place=_place(request, shared))
        for request in requests
        if request.file not in skip
    ]


def _place(request: Request, shared: Path | None) -> Path:
    if not isinstance(request.source, Path):
        return request.place
    place = Path(request.source.name)
    if shared is not None:
        place = request.source.absolute().relative_to(shared)
    return place if request.page is None else place.with_stem(f"{place.stem}-{request.page}")


def _expand(name: str, recursive: bool) -> Iterator[Request]:
    """The pictures that a name stands for."""
    try:
        if not name:
            raise PictureError("the picture's name is empty")
        if "\0" in name:
            raise PictureError(f"{name}: the name contains a NUL character")
        if name == "-":
            yield from list_pages(name, files.read_stdin(PictureError))
        else:
            for path in images.find_files(name, recursive=recursive):
                yield from list_pages(str(path), path)
    except PictureError as error:
        yield Request(name, b"", error=str(error))
    except OSError as error:  # the name is too long, for example
        yield Request(name, b"", error=f"{shorten(name)}: {error.strerror}")


def list_pages(file: str, source: Path | bytes) -> Iterator[Request]:
    """The pages of one file, or its only picture.

    Args:
        file: its name in results and errors.
        source: the file, or its content.
    """
    try:
        pages = decode.list_pages(source, name=file)
    except PictureError as error:
        yield Request(file, source, error=str(error))
        return
    for page in pages:
        yield Request(file if page is None else f"{file}#page={page}", source, page)


def read_names(file: Path) -> list[str]:
    """The lines of a file, or of standard input for -; without empty lines.

    Raises:
        UsageError: the file cannot be read.
    """
    is_stdin = str(file) == "-"
    content = files.read_stdin(UsageError) if is_stdin else files.read_bytes(file, UsageError)
    # Names of files are bytes, not always UTF-8.
    lines = content.decode("utf-8-sig", errors="surrogateescape").split("\n")
    return [name for line in lines if (name := line.rstrip("\r")).strip()]


class Finished(NamedTuple):
    """The pictures whose results an earlier run has written."""

    files: set[str]
    complete_bytes: int  # the size of the file without an incomplete last line


def read_finished(file: Path) -> Finished:
    """The pictures in the output of `predict --jsonl`. A last line without a line break is ignored.

    Raises:
        DataError: the file cannot be read, or a line is not a result of `predict`.
    """
    content = files.read_bytes(file, DataError)
    complete_bytes = content.rfind(b"\n") + 1
    names = set()
    for number, line in enumerate(content[:complete_bytes].splitlines(), 1):
        try:
            names.add(json.loads(line)["file"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(f"{file}: line {number}: expected a line of 'predict --jsonl'") from error
    return Finished(names, complete_bytes)


class TrueLabels:
    """The true labels of pictures, from a CSV file. See `read_labels`."""

    def __init__(self, by_path: Mapping[str, str]) -> None:
        self.by_path = by_path  # absolute path, with "#page=2" for a page

    def of(self, file: str) -> str | None:
        """The label of a picture, named as in `Request.file`; None: it has none."""
        return self.by_path.get(os.path.abspath(file))


def read_labels(file: Path, class_names: Sequence[str], *, numbers: bool) -> TrueLabels:
    """Read true labels from a CSV file with the columns `file` and `label`; others are ignored.

    A relative path is relative to the folder of the CSV file. A row without a label is ignored.

    Args:
        file: the CSV file.
        class_names: the possible labels.
        numbers: whether labels are strings of class names. Spaces in them do not count.

    Raises:
        DataError: the file cannot be read, lacks a column, or has a label that is not possible or two
            labels for a picture.
    """
    text = files.read_bytes(file, DataError).decode("utf-8-sig", errors="surrogateescape")
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    by_path: dict[str, str] = {}
    try:
        if not {"file", "label"} <= {*(rows.fieldnames or ())}:
            raise DataError(f"{file}: expected the columns 'file' and 'label'")
        for row in rows:
            label = (row["label"] or "").strip()
            if numbers:
                label = "".join(label.split())
            if not label:
                continue
            if not ({*label} <= {*class_names} if numbers else label in class_names):
                expected = "a number" if numbers else f"one of {', '.join(class_names)}"
                raise DataError(
                    f"{file}: line {rows.line_num}: label '{shorten(label)}': expected {expected}"
                )
            path = os.path.abspath(file.parent / (row["file"] or ""))
            if by_path.setdefault(path, label) != label:
                raise DataError(f"{file}: line {rows.line_num}: another label for {row['file']}")
    except csv.Error as error:
        raise DataError(f"{file}: not CSV ({error})") from error
    return TrueLabels(by_path)


def label_finder(
    labels: Path | None, class_names: Sequence[str], *, labels_from_names: bool, numbers: bool
) -> Callable[[str], str | None]:
    """A function that returns the true label of a picture, named as in `Request.file`, or None.

    Args:
        labels: a CSV file; see `read_labels`.
        class_names: the possible labels.
        labels_from_names: whether labels are in the names of pictures.
        numbers: whether labels are strings of class names.

    Raises:
        UsageError: both sources of labels are given.
        DataError: see `read_labels`.
    """
    if labels is not None and labels_from_names:
        raise UsageError("--labels and --labels-from-names: choose one")
    if labels is not None:
        return read_labels(labels, class_names, numbers=numbers).of
    if not labels_from_names:
        return lambda file: None
    if numbers:
        return lambda file: number_in_name(Path(file))
    return lambda file: label_in_name(Path(file), class_names)


def label_in_name(path: Path, class_names: Sequence[str]) -> str | None:
    """The class in the name of a picture's folder, or at the start or end of the picture's own name.

    In a file's name, the class is a separate word: "7_0001", "digit-7", or "7".
    """
    if path.parent.name in class_names:
        return path.parent.name
    return next((word for word in _outer_words(path) if word in class_names), None)


def number_in_name(path: Path) -> str | None:
    """The number at the start or end of a picture's own name: "1984_0001", "cheque-250", or "42"."""
    return next((word for word in _outer_words(path) if word.isascii() and word.isdecimal()), None)


def _outer_words(path: Path) -> tuple[str, ...]:
    """The first and the last word of a file's name."""
    words = "".join(char if char.isalnum() else " " for char in path.stem).split()
    return (*words[:1], *words[-1:])
