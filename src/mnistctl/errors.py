"""Exceptions for problems that a user can fix, with their exit codes.

```
MnistctlError                1  any other failure
├── WriteError               1  a file cannot be written; an existing file is unchanged
├── DivergedError            1  the loss is no longer finite; the best model so far is saved
├── LostProcessError         1  another process of a distributed run has ended
├── UsageError               2  unknown name, value out of range, no such device, output exists
├── DataError                3  data is missing, corrupt or unreachable
│   └── DownloadError        3  no mirror could be reached, or none had the right file
├── ModelError               4  model not found, unreadable or incompatible
├── MissingExtraError        5  an optional package is not installed
├── PictureError             6  a picture cannot be read
│   └── BlankPictureError    6  a picture is blank
├── CheckFailedError         6  a check failed: export parity, --min-accuracy, doctor
└── InterruptedRunError    130  Ctrl-C (129: SIGHUP, 143: SIGTERM); the training state is saved
```

141: the program that reads the output has ended, as in `mnistctl predict photos/ | head`.

A message is one line: what is wrong and where, what was expected, and how to fix it.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class MnistctlError(Exception):
    """Base of every error that a user can fix."""

    exit_code = 1


class WriteError(MnistctlError):
    """A file cannot be written. An existing file of that name is unchanged."""


class DivergedError(MnistctlError):
    """The loss is no longer finite. The best model so far is saved, if there is one."""


class LostProcessError(MnistctlError):
    """Another process of a distributed run has ended."""


class UsageError(MnistctlError):
    """An unknown name, a value out of range, no such device, or an output that exists."""

    exit_code = 2


class DataError(MnistctlError):
    """Data is missing, corrupt or unreachable."""

    exit_code = 3


class DownloadError(DataError):
    """No mirror could be reached, or none had the right file."""


class ModelError(MnistctlError):
    """A model is not found, or its file is unreadable, incompatible or malicious."""

    exit_code = 4


class MissingExtraError(MnistctlError):
    """An optional package is not installed."""

    exit_code = 5


class PictureError(MnistctlError):
    """A picture cannot be read."""

    exit_code = 6


class BlankPictureError(PictureError):
    """A picture is blank."""


class CheckFailedError(MnistctlError):
    """A check failed."""

    exit_code = 6


class InterruptedRunError(MnistctlError):
    """A signal interrupted a run. Its training state is saved."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def one_line(error: BaseException) -> str:
    """The text of a foreign exception on one line, at most 200 characters; its type if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def printable(text: str) -> str:
    """Text with its control characters and lone surrogates, such as those of file names, as escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def shorten(text: str) -> str:
    """The first 100 characters of a text, for a message."""
    return text if len(text) <= 100 else f"{text[:100]}…"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that the user probably meant, if any.

    The end of a name (`resnet18` of `torchvision:resnet18`), its initials (`lr` of `learning_rate`) and
    its beginning (`batch` of `batch_size`) count as the name. Otherwise the most similar name counts.
    """
    text = name.lower().lstrip("-")
    candidates = {candidate.lstrip("-"): candidate for candidate in sorted(names, key=len)}
    for bare, candidate in candidates.items() if len(text) > 1 else ():
        initials = "".join(re.findall(r"\b[a-z]", bare.replace("_", "-")))
        if text == initials or bare.startswith(text) or bare.rpartition(":")[2].startswith(text):
            return candidate
    return next((candidates[bare] for bare in get_close_matches(text, candidates, n=1)), None)


def unknown_name(kind: str, name: str, names: Iterable[str], *, see: str = "") -> UsageError:
    """The error for a name that is not in `names`; it suggests the nearest one.

    Args:
        kind: what the name stands for.
        name: the unknown name.
        names: the known names.
        see: the command that lists them, if they are too many for a message.
    """
    names = list(names)
    match = nearest(name, names)
    hint = f"see '{see}'" if see else f"available: {', '.join(names)}"
    hint = hint if match is None else f"did you mean '{match}'?"
    return UsageError(f"unknown {kind} '{shorten(name)}'; {hint}")


def look_up(kind: str, name: str, registry: Mapping[str, T]) -> T:
    """The entry of a registry.

    Raises:
        UsageError: the name is unknown; the message suggests the most similar one.
    """
    if name not in registry:
        raise unknown_name(kind, name, registry)
    return registry[name]
