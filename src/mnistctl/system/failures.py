"""What errors of the operating system and of libraries mean for the user."""

import errno
import re

from mnistctl.errors import MnistctlError, UsageError, one_line, shorten

_NO_MEMORY = re.compile(
    r"can('|no)t allocate memory|out of memory|bad.alloc|start new thread",
    re.IGNORECASE,
)
_NOT_A_NAME = (errno.ENAMETOOLONG, errno.ELOOP)


def explain(error: BaseException) -> MnistctlError | None:
    """The error to show for an exception that nothing has handled; None: a mistake in this program."""
    text = str(error)
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return MnistctlError("not enough memory; a smaller batch size, net or picture needs less")
    if isinstance(error, ImportError):
        return MnistctlError(f"a package cannot be loaded ({one_line(error)}); see 'mnistctl doctor'")
    if isinstance(error, RuntimeError) and text.startswith("Symlink loop"):  # of Path.resolve
        return UsageError(text)
    if not isinstance(error, OSError):
        return None
    name = shorten(str(error.filename)) if error.filename is not None else "cannot write the result"
    kind = UsageError if error.errno in _NOT_A_NAME else MnistctlError
    return kind(f"{name}: {error.strerror or one_line(error)}")
