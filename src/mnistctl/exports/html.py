"""The format `html`: a page that reads drawings and pictures in a browser, without a server.

The page is checked by V8, which runs the page's own script.
"""

import base64
import html
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx

from mnistctl import web
from mnistctl.errors import MissingExtraError, UsageError
from mnistctl.evaluation.metrics import wilson_interval
from mnistctl.exports.graph import Source
from mnistctl.models import formats, html_model, onnx_safety
from mnistctl.models.html_model import Graph, HtmlModel, Node, StoredTensor
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import Outputs
from mnistctl.types import IMAGE_SIZE, Floats, Images

try:
    from py_mini_racer import MiniRacer
except ImportError as error:
    raise MissingExtraError(
        "V8, which checks the page, is not installed; get it with: pip install 'mnistctl[html]'"
    ) from error

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
    """A page; see `exports.Export`."""

    def __init__(self, graph: onnx.ModelProto, precision: str) -> None:
        self._graph, self._weights = _store(graph, precision)
        self._precision = precision

    @property
    def details(self) -> dict[str, Any]:
        """See `exports.Export`."""
        return {"opset": self._graph.opset, "precision": self._precision}

    def save(self, path: Path, metadata: Metadata) -> None:
        """See `exports.Export`."""
        weights = base64.b64encode(self._weights).decode()
        model = HtmlModel(metadata.to_json(), self._graph, weights)
        text = msgspec.json.encode(model).decode()
        path.write_bytes(web.build_page(model=text, footer=_footer(metadata)).encode())

    def open(self, path: Path) -> "V8Predictor":
        """See `exports.Export`."""
        return V8Predictor(path)


def build(source: Source) -> HtmlPage:
    """Build the export.

    Raises:
        UsageError: the page cannot run an operator of the net.
    """
    for node in source.graph.graph.node:
        _check_node(node)
    return HtmlPage(source.graph, source.precision or formats.INT8)


def _check_node(node: onnx.NodeProto) -> None:
    """Check that the page can run a node."""
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


def _store(model: onnx.ModelProto, precision: str) -> tuple[Graph, bytes]:
    """A graph for the browser, and the bytes of its weights."""
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


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The numbers and lists of numbers among a node's attributes; texts have their default value."""
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


def _footer(metadata: Metadata) -> str:
    """What the page says about its model and its check, as HTML."""
    rows = {
        "Net": f"{metadata.arch}, {metadata.parameters:,} weights",
        "Trained": f"on {metadata.dataset['name']}, {metadata.created[:10]}, with mnistctl "
        f"{metadata.versions.get('mnistctl', '')}",
    }
    if check := metadata.export.get("parity"):
        images, accuracy = check["images"], check["exported_accuracy"]
        low, high = (100 * side for side in wilson_interval(round(accuracy * images), images))
        rows |= {
            "Accuracy": f"{100 * accuracy:.2f}% on {images:,} {check['split']} images of "
            f"{check['dataset']} (95% interval {low:.2f} to {high:.2f}%); "
            f"in PyTorch {100 * check['reference_accuracy']:.2f}%",
            "Differences": f"from PyTorch: {check['disagreements']:,} answers, "
            f"{check['rejections_changed']:,} rejections; weights in {metadata.export['precision']}; "
            f"images of drawings by at most {check['preparation_difference']:.2g} of 255 grey levels",
            "Signature": metadata.export["graph_sha256"][:16],
        }
    items = (f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in rows.items())
    return f"<dl>{''.join(items)}</dl>"


class V8Predictor:
    """A page whose script V8 runs as a browser would.

    Args:
        path: of the page.

    Raises:
        ModelError: the page is damaged.
    """

    threads = 1  # JavaScript has no more

    def __init__(self, path: Path) -> None:
        model = html_model.read(path)
        checked = onnx_safety.check(html_model.to_onnx(model, path), name=path)
        self.graph_sha256 = checked.graph_sha256
        self.metadata = Metadata.of_export(json.dumps(model.metadata), self.graph_sha256, name=path)
        self._engine = MiniRacer()
        self._engine.eval(web.script_of(path.read_text("utf-8")))
        self._engine.eval(web.module("check"))
        text = json.dumps(msgspec.json.encode(model).decode())
        self._engine.eval(f"const checked = openModel({text}); undefined")

    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        encoded = base64.b64encode(np.ascontiguousarray(images).tobytes()).decode()
        rows = self._run(f"runImages(checked, {json.dumps(encoded)})")
        return Outputs(
            *(np.array([row[name] for row in rows], dtype=np.float32) for name in Outputs._fields)
        )

    def prepare(self, drawing: Images) -> Images:
        """The image, uint8 (28, 28), of a grey picture, uint8 (H, W), as the page prepares it."""
        encoded = base64.b64encode(drawing.tobytes()).decode()
        pixels = self._run(f"prepareGrey({json.dumps(encoded)}, {drawing.shape[1]})")
        return np.array(pixels, dtype=np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE)

    def _run(self, expression: str) -> Any:
        return json.loads(str(self._engine.eval(f"JSON.stringify({expression})")))
