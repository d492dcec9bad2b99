"""The verbs: one function each, the same for the command line and for Python; frozen results."""

from mnistctl.workflows.comparing import compare
from mnistctl.workflows.describing import info
from mnistctl.workflows.diagnosing import doctor
from mnistctl.workflows.downloading import download
from mnistctl.workflows.evaluating import evaluate
from mnistctl.workflows.exporting import export
from mnistctl.workflows.joining import ensemble
from mnistctl.workflows.labelling import label
from mnistctl.workflows.listing import archs, recipes, runs
from mnistctl.workflows.plotting import plot
from mnistctl.workflows.predicting import open_reader, predict
from mnistctl.workflows.repeating import train_seeds
from mnistctl.workflows.showing_readings import show_readings
from mnistctl.workflows.surveying import data, list_datasets
from mnistctl.workflows.training import train

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
