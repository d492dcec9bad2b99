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
└── InterruptedRunError    130  Ctrl-C (143: SIGTERM); the training state is saved
```

A message is one line: what is wrong and where, what was expected, and how to fix it.
"""

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


def unknown_name(kind: str, name: str, names: Iterable[str]) -> UsageError:
    """The error for a name that is not in `names`; it suggests the most similar one."""
    names = list(names)
    matches = get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean '{matches[0]}'?" if matches else f"available: {', '.join(names)}"
    return UsageError(f"unknown {kind} '{name}'; {hint}")


def look_up(kind: str, name: str, registry: Mapping[str, T]) -> T:
    """The entry of a registry.

    Raises:
        UsageError: the name is unknown; the message suggests the most similar one.
    """
    if name not in registry:
        raise unknown_name(kind, name, registry)
    return registry[name]
