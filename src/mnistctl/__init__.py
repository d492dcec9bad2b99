"""mnistctl: from nothing to a handwritten-digit reader you can ship.

The verbs of the command line, as functions, with the same words. Importing this costs nothing;
what a verb needs is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

from mnistctl.workflows import __all__ as __all__

if TYPE_CHECKING:
    from mnistctl.workflows import *  # noqa: F403 - exactly those of __all__

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    from mnistctl import workflows

    if name in __all__:
        return getattr(workflows, name)
    raise AttributeError(f"module 'mnistctl' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
