"""Export formats, one module per row of `formats.FORMATS`, and the parity check."""

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from mnistctl.datasets import Split
from mnistctl.exports import page_parity, parity
from mnistctl.exports.graph import Source as Source
from mnistctl.exports.page_graph import PageSource as PageSource
from mnistctl.exports.page_parity import PageParity
from mnistctl.exports.parity import Parity
from mnistctl.models.formats import Format
from mnistctl.models.metadata import Metadata
from mnistctl.types import Floats, Images


class ExportPredictor(Protocol):
    """An exported model, run by its runtime: a `Predictor` or a `PagePredictor`."""

    @property
    def metadata(self) -> Metadata:
        """The model's metadata."""
        ...

    @property
    def threads(self) -> int:
        """Number of CPU threads that the runtime uses."""
        ...

    @property
    def graph_sha256(self) -> str | None:
        """SHA-256 of the operations and the weights, without the metadata."""
        ...

    def __call__(self, images: Images, /) -> tuple[Floats, ...]:
        """The outputs for images or pages."""
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


def build(format_name: str, source: Source | PageSource) -> Export:
    """Convert a model to a format of `formats.FORMATS`; a model for numbers to `onnx` only.

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


def compare(
    source: Source | PageSource, exported: Any, split: Split, *, kind: Format
) -> Parity | PageParity:
    """Compare an opened export with its source, on the images of a split or on pages of them."""
    if isinstance(source, PageSource):
        return page_parity.compare(source.predictor, exported, split)
    return parity.compare(source.predictor, exported, split, kind=kind)
