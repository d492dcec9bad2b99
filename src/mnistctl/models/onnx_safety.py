"""Whether an ONNX file from elsewhere may be run: checked before any runtime sees it."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistctl.errors import ModelError
from mnistctl.system import files

if TYPE_CHECKING:
    import onnx

MAX_BYTES = (1 << 31) - 1  # what one file of this kind can have
MAX_ELEMENTS = 1 << 26  # of what is computed for one image
_DOMAINS = ("", "ai.onnx")
_UNBOUNDED = ("Loop", "Scan")  # may run for ever


def read(path: Path) -> bytes:
    """A file's content.

    Raises:
        ModelError: it cannot be read, or is absurdly large.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"{path}: {size:,} bytes; at most {MAX_BYTES:,} are opened")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error


def check(content: bytes, *, name: Path) -> str:
    """Insist on a whole graph of standard operations that brings all its data and stays small.

    Args:
        content: of the file.
        name: what to call it in an error.

    Returns:
        The SHA-256 of its graph.

    Raises:
        ModelError: it is damaged, refers to other files, or asks for what is not to be had.
    """
    import onnx  # 0.1 s
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ModelError(f"{name}: damaged or cut off: not a whole ONNX file") from error
    reason = next(_objections(model), None)
    if reason is None:
        try:
            onnx.checker.check_model(model)
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
            raise ModelError(
                f"{name}: not sound ONNX ({' '.join(str(error).split())[:200]})"
            ) from error
        reason = next(_absurd(inferred.graph), None)
    if reason is not None:
        raise ModelError(f"{name}: {reason}; mnistctl does not run it")
    return graph_sha256(model)


def graph_sha256(model: "onnx.ModelProto") -> str:
    """Of the graph with its weights, without the metadata."""
    return files.sha256(model.graph.SerializeToString(deterministic=True))


def _objections(model: "onnx.ModelProto") -> Iterator[str]:
    if model.functions or model.training_info:
        yield "has functions or training steps of its own"
    for opset in model.opset_import:
        if opset.domain not in _DOMAINS:
            yield f"uses operations of '{opset.domain}', which are not ONNX's own"
    for node in _nodes(model.graph):
        if node.domain not in _DOMAINS:
            yield f"uses '{node.op_type}' of '{node.domain}', which is not ONNX's own"
        if node.op_type in _UNBOUNDED:
            yield f"uses '{node.op_type}', which may never end"
    for tensor in _tensors(model.graph):
        if tensor.data_location or tensor.external_data:
            yield f"the data of '{tensor.name}' are in another file"


def _absurd(graph: "onnx.GraphProto") -> Iterator[str]:
    """What says that it will be; sizes that are only computed when it runs are not seen."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        dims = [size.dim_value or 1 for size in value.type.tensor_type.shape.dim]
        if prod(dims) > MAX_ELEMENTS or min(dims, default=1) < 0:
            yield f"'{value.name}' is absurdly large"


def _nodes(graph: "onnx.GraphProto") -> Iterator["onnx.NodeProto"]:
    """All of them, in graphs inside too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: "onnx.GraphProto") -> Iterator[Any]:
    """All that hold data, in graphs inside too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
