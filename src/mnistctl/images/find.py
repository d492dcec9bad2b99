"""Find the pictures that a file, a folder or a pattern names."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from mnistctl.errors import PictureError
from mnistctl.images import decode
from mnistctl.system import files

_log = logging.getLogger(__name__)

_MAX_COUNTED_FOLDERS = 10_000  # whose pictures are counted for the hint at sub-folders


class Listing(NamedTuple):
    """The visible content of a folder, each list sorted by name."""

    folder: Path
    pictures: list[Path]
    others: list[Path]
    folders: list[Path]  # without linked ones, which could lead in circles


def find_files(name: str, *, recursive: bool = False) -> list[Path]:
    """List picture files: one file, the pictures in a folder, or the files that match a pattern.

    A note of the files in a folder that are not pictures is logged.

    Args:
        name: a file, a folder, or a pattern with *, ? or **.
        recursive: whether to search a folder's sub-folders too. A sub-folder that cannot be read is in
            the list, so that it gives an error like a picture that cannot be read.

    Raises:
        PictureError: the folder cannot be read or has no pictures, or no file matches the pattern.
    """
    path = Path(name)
    if path.is_dir():
        return _find_in_folder(path, recursive=recursive)
    if path.exists() or not glob.has_magic(name):
        return [path]
    matches = [match for match in _matches(name) if not match.is_dir()]
    if not matches:
        raise PictureError(f"{name}: no file matches this pattern")
    return sorted(matches)


def list_pictures(folder: Path) -> list[Path]:
    """The picture files in a folder, sorted by name, without hidden files and sub-folders.

    Raises:
        PictureError: the folder cannot be read.
    """
    return list_folder(folder).pictures


def _find_in_folder(folder: Path, *, recursive: bool) -> list[Path]:
    listings = list(_list_tree(folder)) if recursive else [list_folder(folder)]
    pictures = [path for listing in listings for path in listing.pictures]
    skipped = count_kinds(path for listing in listings for path in listing.others)
    if not pictures:
        below = islice(_list_tree(folder), 1, _MAX_COUNTED_FOLDERS) if not recursive else ()
        count = sum(len(listing.pictures) for listing in below)
        hint = f"; {count:,} in sub-folders: add --recursive" if count else ""
        raise PictureError(f"{folder}: no pictures in this folder{skipped and f' ({skipped})'}{hint}")
    if skipped:
        _log.info(f"{folder}: skipped {skipped}")
    return pictures


def count_kinds(paths: Iterable[Path]) -> str:
    """Files by suffix: "3 files: 2 .txt, 1 .mov", or "" for no files.

    Suffixes of pictures whose format needs an optional package come with the command that installs it.
    """
    kinds = Counter(path.suffix.lower() for path in paths)
    if not kinds:
        return ""
    texts = []
    for suffix, count in kinds.most_common():
        command = decode.missing_extra(suffix)
        hint = f" ({command} to read them)" if command else ""
        texts.append(f"{count:,} {suffix or 'without suffix'}{hint}")
    total = kinds.total()
    return f"{total:,} file{'s' if total > 1 else ''}: {', '.join(texts)}"


def list_folder(folder: Path) -> Listing:
    """The visible content of a folder.

    Raises:
        PictureError: the folder cannot be read.
    """
    listing = Listing(folder, [], [], [])
    suffixes = decode.suffixes()
    with files.os_errors_as(PictureError, folder), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = folder / entry.name
            if entry.name[0] == ".":
                continue
            if _is_folder(entry):
                if not entry.is_symlink():
                    listing.folders.append(path)
            elif path.suffix.lower() in suffixes:
                listing.pictures.append(path)
            else:
                listing.others.append(path)
    return listing


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _list_tree(folder: Path) -> Iterator[Listing]:
    """A folder and all its sub-folders, except hidden and linked ones."""
    listing = list_folder(folder)
    yield listing
    stack = listing.folders[::-1]
    while stack:
        sub_folder = stack.pop()
        try:
            listing = list_folder(sub_folder)
        except PictureError:
            listing = Listing(sub_folder, [sub_folder], [], [])
        yield listing
        stack += listing.folders[::-1]


def _matches(pattern: str) -> Iterator[Path]:
    """The files and folders that match a pattern. ** stands for a folder and all its sub-folders."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from map(Path, glob.iglob(pattern))
        return
    # The ** of `glob` follows links in circles, and fails in deep folders.
    place = parts.index("**")
    rest = os.path.join(*parts[place + 1 :] or "*")
    for root in glob.iglob(os.path.join(*parts[:place])) if place else ["."]:
        for listing in _list_tree(Path(root)):
            for match in glob.iglob(rest, root_dir=listing.folder):
                yield listing.folder / match
