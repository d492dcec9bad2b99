"""The verbs: one function each, the same for the command line and for Python; frozen results.

A verb's module is imported when the verb is first used: nobody waits for another's.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnistctl.workflows.benchmarking import benchmark as benchmark
    from mnistctl.workflows.comparing import compare as compare
    from mnistctl.workflows.describing import info as info
    from mnistctl.workflows.diagnosing import doctor as doctor
    from mnistctl.workflows.downloading import download as download
    from mnistctl.workflows.evaluating import evaluate as evaluate
    from mnistctl.workflows.exporting import export as export
    from mnistctl.workflows.joining import ensemble as ensemble
    from mnistctl.workflows.labelling import label as label
    from mnistctl.workflows.listing import archs as archs
    from mnistctl.workflows.listing import recipes as recipes
    from mnistctl.workflows.listing import runs as runs
    from mnistctl.workflows.plotting import plot as plot
    from mnistctl.workflows.predicting import open_reader as open_reader
    from mnistctl.workflows.predicting import predict as predict
    from mnistctl.workflows.repeating import train_seeds as train_seeds
    from mnistctl.workflows.showing_readings import show_readings as show_readings
    from mnistctl.workflows.surveying import data as data
    from mnistctl.workflows.surveying import list_datasets as list_datasets
    from mnistctl.workflows.training import train as train

_MODULES = {
    "archs": "listing",
    "benchmark": "benchmarking",
    "compare": "comparing",
    "data": "surveying",
    "doctor": "diagnosing",
    "download": "downloading",
    "ensemble": "joining",
    "evaluate": "evaluating",
    "export": "exporting",
    "info": "describing",
    "label": "labelling",
    "list_datasets": "surveying",
    "open_reader": "predicting",
    "plot": "plotting",
    "predict": "predicting",
    "recipes": "listing",
    "runs": "listing",
    "show_readings": "showing_readings",
    "train": "training",
    "train_seeds": "repeating",
}
__all__ = [
    "archs",
    "benchmark",
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
assert set(__all__) == set(_MODULES)  # noqa: S101 - written out for type checkers


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"mnistctl.workflows.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'mnistctl.workflows' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
