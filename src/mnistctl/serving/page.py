"""The drawing page of `export --format html` for a model that is served."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from mnistctl import web
from mnistctl.api import models
from mnistctl.api.predict import PicturePredictor
from mnistctl.errors import UsageError
from mnistctl.models import formats, html_model, html_page
from mnistctl.models.html_page import HtmlPage
from mnistctl.models.metadata import Metadata

if TYPE_CHECKING:
    import onnx

TYPE = "text/html"

_MAX_WEIGHTS = 4_000_000  # a page with more would take long to load
_ALL_CLASSES = 1000


def build(name: str, opened: PicturePredictor) -> bytes:
    """The page for a model. If it cannot run the model, it asks the server.

    Args:
        name: of the model, on the server.
        opened: the model.
    """
    metadata = _without_paths(opened.predictor.metadata)
    rows = html_page.describe(metadata)
    if metadata.parameters <= _MAX_WEIGHTS and (graph := _graph(opened)) is not None:
        try:
            return HtmlPage(graph, "float32").content(metadata, rows)
        except UsageError:
            pass  # the page lacks an operator
    model = {
        "metadata": metadata.to_json(),
        "server": f"predict?model={quote(name)}&top={_ALL_CLASSES}",
    }
    text = msgspec.json.encode(model).decode()
    return web.build_page(model=text, footer=html_page.footer(rows), asks_server=True).encode()


def _graph(opened: PicturePredictor) -> "onnx.ModelProto | None":
    """The model as an ONNX graph in float32 that takes uint8 images; None: it is not at hand."""
    import onnx  # 0.1 s

    export = opened.predictor.metadata.export
    kind = models.format_of(opened.path)
    if kind == formats.HTML:
        return onnx.load_from_string(html_model.to_onnx(html_model.read(opened.path), opened.path))
    if kind == formats.SAFETENSORS:
        from mnistctl.exports.graph import Source  # torch, which has opened the model too
        from mnistctl.nn.torch_predictor import TorchPredictor

        predictor = opened.predictor
        return Source(predictor).graph if isinstance(predictor, TorchPredictor) else None
    is_plain = export.get("format") in (formats.ONNX, "triton")
    is_uint8 = models.input_of(opened.predictor.metadata) == formats.UINT8
    return onnx.load(opened.path) if kind == formats.ONNX and is_plain and is_uint8 else None


def _without_paths(metadata: Metadata) -> Metadata:
    """Metadata that do not tell where files are on this machine."""
    dataset = metadata.dataset | {"name": Path(metadata.dataset["name"]).name}
    members = [_without_paths(Metadata.from_json(member)).to_json() for member in metadata.members]
    return replace(
        metadata,
        arch=Path(metadata.arch).name,
        dataset=dataset,
        members=members,
        config={},
        card="",
        export={},
    )
