"""Everything the library raises for something a user can mend, and the exit code each one means.

```
MnistctlError                1  failed: a full disk, a run that diverged
├── WriteError               1  a file could not be written; what stood there before still does
├── DivergedError            1  the loss is not finite any more; the last good model is saved
├── LostProcessError         1  of several that train together, another one has ended
├── UsageError               2  an unknown name, a bad value, no such device, something exists
├── DataError                3  data missing, corrupt or unreachable
│   └── DownloadError        3  no mirror could be reached, or none had the right bytes
├── ModelError               4  no model found, or a model file unreadable or incompatible
├── MissingExtraError        5  an optional part is not installed
├── PictureError             6  a picture that cannot be read
│   └── BlankPictureError    6  a picture with nothing on it, where that will not do
├── CheckFailedError         6  a check did not hold: parity, --min-accuracy
└── InterruptedRunError    130  Ctrl-C (143: SIGTERM); what was trained is saved
```

A message is one line: what, where, what was found, what was expected, what to do.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class MnistctlError(Exception):
    """Base of every error a user can mend."""

    exit_code = 1


class WriteError(MnistctlError):
    """A file could not be written; what stood under its name before still stands."""


class DivergedError(MnistctlError):
    """Training has left the finite numbers; the last good model is saved."""


class LostProcessError(MnistctlError):
    """Of several processes that train together another one has ended."""


class UsageError(MnistctlError):
    """An unknown name, a value out of range, no such device, or an output that exists."""

    exit_code = 2


class DataError(MnistctlError):
    """Data missing, corrupt or unreachable."""

    exit_code = 3


class DownloadError(DataError):
    """No mirror could be reached, or none had the right bytes."""


class ModelError(MnistctlError):
    """No model found, or a model file that is unreadable, incompatible or hostile."""

    exit_code = 4


class MissingExtraError(MnistctlError):
    """An optional part is not installed."""

    exit_code = 5


class PictureError(MnistctlError):
    """A picture that cannot be read."""

    exit_code = 6


class BlankPictureError(PictureError):
    """A picture with nothing on it."""


class CheckFailedError(MnistctlError):
    """A check that was asked for did not hold."""

    exit_code = 6


class InterruptedRunError(MnistctlError):
    """A run stopped by a signal, with what it had learned saved."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in a registry, with the nearest one that is."""
    known = list(known)
    close = get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
    return UsageError(f"unknown {kind} '{name}'; {hint}")


def look_up(kind: str, name: str, registry: Mapping[str, T]) -> T:
    """What a registry has under a name.

    Raises:
        UsageError: nothing; the message names the nearest.
    """
    if name not in registry:
        raise unknown_name(kind, name, registry)
    return registry[name]
