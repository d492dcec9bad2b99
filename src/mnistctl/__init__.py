"""mnistctl: from nothing to a handwritten-digit reader you can ship.

The verbs of the command line, as functions, with the same words. Importing this costs nothing;
what a verb needs is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnistctl.workflows import (
        archs,
        compare,
        data,
        doctor,
        download,
        ensemble,
        evaluate,
        export,
        info,
        label,
        list_datasets,
        open_reader,
        plot,
        predict,
        recipes,
        runs,
        show_readings,
        train,
        train_seeds,
    )

__version__ = "0.1.0"
__all__ = [
    "archs",
    "compare",
    "data",
    "doctor",
    "download",
    "ensemble",
    "evaluate",
    "export",
    "info",
    "label",
    "list_datasets",
    "open_reader",
    "plot",
    "predict",
    "recipes",
    "runs",
    "show_readings",
    "train",
    "train_seeds",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("mnistctl.workflows"), name)
    raise AttributeError(f"module 'mnistctl' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
