"""Export formats, one module per row of `formats.FORMATS`, and the parity check."""

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from mnistctl.exports.graph import Source as Source
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import Predictor


class ExportPredictor(Predictor, Protocol):
    """An exported model, run by its runtime."""

    @property
    def graph_sha256(self) -> str | None:
        """SHA-256 of the operations and the weights, without the metadata."""
        ...


class Export(Protocol):
    """A model in another format, ready to be saved."""

    @property
    def details(self) -> dict[str, Any]:
        """What the metadata records about the format, such as the opset."""
        ...

    def save(self, path: Path, metadata: Metadata) -> None:
        """Write the file or the folder."""
        ...

    def open(self, path: Path) -> ExportPredictor:
        """Open the saved file in the runtime it is for."""
        ...


def build(format_name: str, source: Source) -> Export:
    """Convert a model to a format of `formats.FORMATS`.

    Raises:
        MissingExtraError: a package that the format needs is not installed.
    """
    export: Export = load_module(format_name).build(source)
    return export


def load_module(format_name: str) -> Any:
    """Import the module of a format, and the packages that it needs.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    return import_module(f"mnistctl.exports.{format_name.replace('-', '_')}")
