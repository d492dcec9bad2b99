"""The model inside an HTML page: JSON for the browser, which is read back as ONNX. No script is run."""

import base64
import json
import re
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from mnistctl.errors import ModelError, one_line
from mnistctl.models import formats, onnx_safety
from mnistctl.models.metadata import KEY
from mnistctl.models.onnx_predictor import INPUT_NAME
from mnistctl.models.predictor import Outputs
from mnistctl.types import IMAGE_SIZE, Floats

if TYPE_CHECKING:
    import onnx

MARK = b"<!-- A reader made by mnistctl."  # near the beginning of the page
_BLOCK = re.compile(rb'<script type="application/json" id="model">(.*?)</script>', re.DOTALL)
_MAX_INTEGERS = 1 << 20  # of all shapes and axes together


class Node(msgspec.Struct):
    """A node of the graph, as in ONNX."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, int | float | list[int]]  # by name


class StoredTensor(msgspec.Struct, omit_defaults=True):
    """Where a tensor is among the weights. The bytes are little-endian."""

    shape: list[int]
    type: Literal["float32", "float16", "int8"]
    offset: int  # of its first byte
    scales: int | None = None  # int8: offset of a float32 per output; weight = byte × scale


class Graph(msgspec.Struct):
    """The graph of a model that takes uint8 images."""

    opset: int
    ir_version: int
    input: str
    nodes: list[Node]
    tensors: dict[str, StoredTensor]
    integers: dict[str, list[int]]  # constants that are shapes and axes


class HtmlModel(msgspec.Struct):
    """Everything about a model that its page holds."""

    metadata: dict[str, Any]
    graph: Graph
    weights: str  # Base64


def is_page(header: bytes) -> bool:
    """Whether a file that starts like this is a page of mnistctl."""
    return MARK in header


def read(path: Path) -> HtmlModel:
    """The model of a page.

    Raises:
        ModelError: the file cannot be read, or its model is damaged.
    """
    content = onnx_safety.read(path)
    block = _BLOCK.search(content)
    if block is None or not content.rstrip().endswith(b"</html>"):
        raise ModelError(f"{path}: a page of mnistctl that is damaged or truncated")
    try:
        return msgspec.json.decode(block[1], type=HtmlModel)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def to_onnx(model: HtmlModel, path: Path) -> bytes:
    """The model of a page as the content of an ONNX file, with its metadata.

    Args:
        model: of the page.
        path: of the page, for error messages.

    Raises:
        ModelError: the model is damaged.
    """
    try:
        return _to_onnx(model).SerializeToString()
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> ModelError:
    return ModelError(f"{path}: its model is damaged ({one_line(error)})")


def _to_onnx(model: HtmlModel) -> "onnx.ModelProto":
    import onnx  # 0.1 s

    stored = model.graph
    weights = base64.b64decode(model.weights, validate=True)
    if sum(map(len, stored.integers.values())) > _MAX_INTEGERS:
        raise ValueError("too many integers")
    # Tensors that share bytes would let a small page take a lot of memory.
    if sum(_size(item) for item in stored.tensors.values()) > len(weights):
        raise ValueError("tensors overlap, or are larger than the weights")
    classes = len(model.metadata["class_names"]) if "class_names" in model.metadata else 0
    tensor, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    shapes: tuple[list[str | int | None], ...] = (["batch", classes], ["batch", classes], ["batch"])
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node(node.op, node.inputs, node.outputs, **dict[str, Any](node.attributes))
            for node in stored.nodes
        ],
        "main_graph",
        [tensor(INPUT_NAME, types.UINT8, ["batch", IMAGE_SIZE, IMAGE_SIZE])],
        [tensor(name, types.FLOAT, shape) for name, shape in zip(Outputs._fields, shapes, strict=True)],
        [
            onnx.numpy_helper.from_array(_unpack(item, weights), name)
            for name, item in stored.tensors.items()
        ]
        + [
            onnx.numpy_helper.from_array(np.array(values, dtype=np.int64), name)
            for name, values in stored.integers.items()
        ],
    )
    result = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", stored.opset)], ir_version=stored.ir_version
    )
    onnx.helper.set_model_props(result, {KEY: json.dumps(model.metadata)})
    return result


def _size(stored: StoredTensor) -> int:
    """The bytes of a tensor.

    Raises:
        ValueError: its shape has a negative side.
    """
    if min(stored.shape, default=1) < 0:
        raise ValueError("a tensor with a negative side")
    return prod(stored.shape) * np.dtype(stored.type).itemsize


def _unpack(stored: StoredTensor, weights: bytes) -> Floats:
    """The weights of a tensor in float32."""
    count = prod(stored.shape)
    if stored.offset < 0:
        raise ValueError("a negative offset")
    kind = np.dtype(stored.type).newbyteorder("<")
    values = np.frombuffer(weights, kind, count, stored.offset).reshape(stored.shape)
    floats: Floats = values.astype(np.float32)
    if stored.type == formats.INT8:
        if stored.scales is None or stored.scales < 0 or not stored.shape:
            raise ValueError("a tensor without its scales")
        scales = np.frombuffer(weights, "<f4", stored.shape[0], stored.scales)
        floats *= scales.reshape(-1, *[1] * (len(stored.shape) - 1))
    return floats
