"""Safety checks of ONNX files from other people, made before a runtime opens the file."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistctl.errors import ModelError, one_line
from mnistctl.system import files

if TYPE_CHECKING:
    import onnx

MAX_BYTES = (1 << 31) - 1  # the limit of a protobuf message
MAX_ELEMENTS = 1 << 26  # of a tensor that is computed for one image
_DOMAINS = ("", "ai.onnx")  # of ONNX's standard operators
_UNBOUNDED_OPERATORS = ("Loop", "Scan")


def read(path: Path) -> bytes:
    """Read a file.

    Raises:
        ModelError: the file cannot be read, or is larger than `MAX_BYTES`.
    """
    with files.os_errors_as(ModelError, path):
        size = path.stat().st_size
    if size > MAX_BYTES:
        raise ModelError(f"{path}: {size:,} bytes; at most {MAX_BYTES:,} are opened")
    return files.read_bytes(path, ModelError)


def check(content: bytes, *, name: Path) -> str:
    """Check that a file is a complete, valid and bounded graph of standard operators.

    Args:
        content: of the file.
        name: the file's name in error messages.

    Returns:
        The SHA-256 of its graph.

    Raises:
        ModelError: the file is damaged or not valid ONNX, refers to other files, uses operators that
            are not standard or may never end, or declares a tensor over `MAX_ELEMENTS` elements.
    """
    import onnx  # 0.1 s
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ModelError(f"{name}: damaged or truncated: not a complete ONNX file") from error
    reason = next(_find_forbidden(model), None)
    if reason is None:
        try:
            onnx.checker.check_model(model)
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
            raise ModelError(f"{name}: not valid ONNX ({one_line(error)})") from error
        reason = next(_find_oversized(inferred.graph), None)
    if reason is not None:
        raise ModelError(f"{name}: {reason}; mnistctl does not run it")
    return graph_sha256(model)


def graph_sha256(model: "onnx.ModelProto") -> str:
    """SHA-256 of the graph and its weights, without the metadata."""
    return files.sha256(model.graph.SerializeToString(deterministic=True))


def _find_forbidden(model: "onnx.ModelProto") -> Iterator[str]:
    """The parts of a model that are not allowed."""
    if model.functions or model.training_info:
        yield "defines functions or training steps"
    for opset in model.opset_import:
        if opset.domain not in _DOMAINS:
            yield f"uses operators of '{opset.domain}', which are not standard ONNX"
    for node in _all_nodes(model.graph):
        if node.domain not in _DOMAINS:
            yield f"uses '{node.op_type}' of '{node.domain}', which is not standard ONNX"
        if node.op_type in _UNBOUNDED_OPERATORS:
            yield f"uses '{node.op_type}', which may never end"
    for tensor in _all_tensors(model.graph):
        if tensor.data_location or tensor.external_data:
            yield f"the data of '{tensor.name}' are in another file"


def _find_oversized(graph: "onnx.GraphProto") -> Iterator[str]:
    """The values whose declared or inferred shape is too large.

    Shapes that depend on the input's content are known only at run time and are not checked.
    """
    for value in (*graph.input, *graph.output, *graph.value_info):
        shape = [dimension.dim_value or 1 for dimension in value.type.tensor_type.shape.dim]
        if prod(shape) > MAX_ELEMENTS or min(shape, default=1) < 0:
            yield f"'{value.name}' has shape {shape}; at most {MAX_ELEMENTS:,} elements are allowed"


def _all_nodes(graph: "onnx.GraphProto") -> Iterator["onnx.NodeProto"]:
    """The nodes of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _all_nodes(subgraph)


def _all_tensors(graph: "onnx.GraphProto") -> Iterator[Any]:
    """The tensors with data in a graph and in the graphs inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _all_tensors(subgraph)
