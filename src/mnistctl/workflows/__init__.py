"""The verbs: one function each, the same for the command line and for Python; frozen results."""

from mnistctl.workflows.describing import info
from mnistctl.workflows.downloading import download
from mnistctl.workflows.evaluating import evaluate
from mnistctl.workflows.exporting import export
from mnistctl.workflows.predicting import predict
from mnistctl.workflows.surveying import data, list_datasets
from mnistctl.workflows.training import train

__all__ = ["data", "download", "evaluate", "export", "info", "list_datasets", "predict", "train"]
