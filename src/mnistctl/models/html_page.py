"""The HTML page of a model: an ONNX graph and its weights become JSON that the page's script runs."""

import base64
import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mnistctl import web
from mnistctl.errors import UsageError
from mnistctl.models import formats
from mnistctl.models.html_model import Graph, HtmlModel, Node, StoredTensor
from mnistctl.models.metadata import Metadata
from mnistctl.types import Floats

if TYPE_CHECKING:
    import onnx

# The operators of the page, and the only values that their attributes may have. Others are free.
OPERATORS = frozenset(
    """
    Add AveragePool BatchNormalization Cast Concat Conv Div Exp Gemm LogSoftmax MaxPool ReduceLogSumExp
    ReduceMax ReduceMean Relu Reshape Sigmoid Softmax Squeeze Sub Tanh Transpose Unsqueeze
    """.split()  # noqa: SIM905
)
_FIXED: dict[str, Any] = {
    "alpha": 1.0,
    "auto_pad": b"NOTSET",
    "beta": 1.0,
    "group": 1,
    "keepdims": 0,
    "training_mode": 0,
    "transA": 0,
}
_FIXED_BY_OPERATOR: dict[str, dict[str, Any]] = {
    "AveragePool": {"dilations": [1, 1], "ceil_mode": 0, "count_include_pad": 1},
    "MaxPool": {"dilations": [1, 1], "pads": [0, 0, 0, 0]},
    "Softmax": {"axis": 1},
    "LogSoftmax": {"axis": 1},
}
_MIN_REDUCED = 64  # weights: smaller tensors stay in float32
_ALIGNMENT = 4  # bytes
_MAX_STEP = 127  # of a weight in int8


class HtmlPage:
    """A page with a model.

    Args:
        graph: of a model that takes uint8 images.
        precision: of the weights: int8, float16 or float32.

    Raises:
        UsageError: the page cannot run an operator of the net.
    """

    def __init__(self, graph: "onnx.ModelProto", precision: str) -> None:
        for node in graph.graph.node:
            _check_node(node)
        self.opset, self.precision = graph.opset_import[0].version, precision
        self._graph, self._weights = _store(graph, precision)

    def content(self, metadata: Metadata, rows: Mapping[str, str]) -> bytes:
        """The page as one file.

        Args:
            metadata: of the model.
            rows: what the page says about the model: headings and texts.
        """
        weights = base64.b64encode(self._weights).decode()
        model = HtmlModel(metadata.to_json(), self._graph, weights)
        text = msgspec.json.encode(model).decode()
        return web.build_page(model=text, footer=footer(rows)).encode()


def footer(rows: Mapping[str, str]) -> str:
    """Headings and texts as HTML."""
    items = (f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in rows.items())
    return f"<dl>{''.join(items)}</dl>"


def describe(metadata: Metadata) -> dict[str, str]:
    """What a page says about its net: headings and texts."""
    return {
        "Net": f"{metadata.arch}, {metadata.parameters:,} weights",
        "Trained": f"on {metadata.dataset['name']}, {metadata.created[:10]}, with mnistctl "
        f"{metadata.versions.get('mnistctl', '')}",
    }


def _check_node(node: "onnx.NodeProto") -> None:
    """Check that the page can run a node."""
    import onnx  # 0.1 s

    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    fixed = _FIXED | _FIXED_BY_OPERATOR.get(node.op_type, {})
    problem = f"operator '{node.op_type}'"
    changed = [name for name in attributes if name in fixed and attributes[name] != fixed[name]]
    if changed:
        problem += f" with {changed[0]} = {attributes[changed[0]]}"
    # Concat joins features, or the members of an ensemble: what comes before the axis has size 1.
    if node.op_type == "Concat" and attributes["axis"] not in (0, 1):
        changed, problem = ["axis"], f"{problem} with axis = {attributes['axis']}"
    if changed or node.op_type not in OPERATORS:
        others = ", ".join(name for name in formats.FORMATS if name != formats.HTML)
        raise UsageError(
            f"--format html: the page cannot run the {problem} of this net; other formats: {others}"
        )


def _store(model: "onnx.ModelProto", precision: str) -> tuple[Graph, bytes]:
    """A graph for the browser, and the bytes of its weights."""
    import onnx

    graph = model.graph
    tensors: dict[str, StoredTensor] = {}
    integers: dict[str, list[int]] = {}
    weights = bytearray()
    for constant in graph.initializer:
        array = onnx.numpy_helper.to_array(constant)
        if array.dtype == np.int64:
            integers[constant.name] = array.ravel().tolist()
            continue
        kind = precision if array.ndim > 1 and array.size >= _MIN_REDUCED else "float32"
        stored = StoredTensor(list(array.shape), kind, offset=len(weights))  # type: ignore[arg-type]
        if kind == formats.INT8:
            steps, scales = _quantize(array)
            stored.scales = len(weights)
            weights += scales.astype("<f4").tobytes()
            stored.offset = len(weights)
            weights += steps.tobytes()
        else:
            weights += array.astype(np.dtype(kind).newbyteorder("<")).tobytes()
        weights += bytes(-len(weights) % _ALIGNMENT)
        tensors[constant.name] = stored
    nodes = [
        Node(node.op_type, list(node.input), list(node.output), _attributes(node))
        for node in graph.node
    ]
    opset = model.opset_import[0].version
    stored_graph = Graph(opset, model.ir_version, graph.input[0].name, nodes, tensors, integers)
    return stored_graph, bytes(weights)


def _attributes(node: "onnx.NodeProto") -> dict[str, Any]:
    """The numbers and lists of numbers among a node's attributes; texts have their default value."""
    import onnx

    values = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    return {
        name: value if isinstance(value, int | float) else list(value)
        for name, value in values.items()
        if not isinstance(value, bytes)
    }


def _quantize(weights: Floats) -> tuple["np.ndarray[Any, np.dtype[np.int8]]", Floats]:
    """Weights as int8 and, for each output, which is the first axis, the size of a step."""
    rows = weights.reshape(len(weights), -1)
    scales = np.abs(rows).max(axis=1) / np.float32(_MAX_STEP)
    steps = np.rint(rows / np.where(scales > 0, scales, 1)[:, None])
    return steps.astype(np.int8), scales.astype(np.float32)
