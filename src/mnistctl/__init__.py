"""mnistctl: from nothing to a handwritten-digit reader you can ship.

The commands of the command line, as functions of the same names. Importing this package costs
nothing: a function's module is imported when the function is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnistctl.api.annotate import annotate as annotate
    from mnistctl.api.benchmark import benchmark as benchmark
    from mnistctl.api.compare import compare as compare
    from mnistctl.api.data import data as data
    from mnistctl.api.data import list_datasets as list_datasets
    from mnistctl.api.doctor import doctor as doctor
    from mnistctl.api.download import download as download
    from mnistctl.api.ensemble import ensemble as ensemble
    from mnistctl.api.evaluate import evaluate as evaluate
    from mnistctl.api.export import export as export
    from mnistctl.api.info import info as info
    from mnistctl.api.label import label as label
    from mnistctl.api.listings import archs as archs
    from mnistctl.api.listings import recipes as recipes
    from mnistctl.api.listings import runs as runs
    from mnistctl.api.plot import plot as plot
    from mnistctl.api.predict import open_model as open_model
    from mnistctl.api.predict import predict as predict
    from mnistctl.api.train import train as train
    from mnistctl.api.train_seeds import train_seeds as train_seeds

__version__ = "0.1.0"

# Function -> its module. The imports above say the same to type checkers; a test compares the two.
_MODULES = {
    "archs": "api.listings",
    "benchmark": "api.benchmark",
    "compare": "api.compare",
    "data": "api.data",
    "doctor": "api.doctor",
    "download": "api.download",
    "ensemble": "api.ensemble",
    "evaluate": "api.evaluate",
    "export": "api.export",
    "info": "api.info",
    "label": "api.label",
    "list_datasets": "api.data",
    "open_model": "api.predict",
    "plot": "api.plot",
    "predict": "api.predict",
    "recipes": "api.listings",
    "runs": "api.listings",
    "annotate": "api.annotate",
    "train": "api.train",
    "train_seeds": "api.train_seeds",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"mnistctl.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'mnistctl' has no attribute '{name}'")
