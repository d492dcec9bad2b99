"""A reader as one self-contained ONNX graph, and as a file."""

import contextlib
import copy
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from mnistctl.errors import InterruptedRunError
from mnistctl.models import formats
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.onnx_predictor import INPUT_NAME, OnnxPredictor
from mnistctl.models.predictor import Outputs
from mnistctl.nn.classifier import Classifier, Ensemble
from mnistctl.nn.torch_predictor import TorchPredictor
from mnistctl.system import signals
from mnistctl.types import IMAGE_SIZE


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Without what exporters say of themselves: what goes wrong is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class OfPixels(nn.Module):
    """A reader of pixels in [0, 1], float32 (N, 1, 28, 28), as most programs have them."""

    def __init__(self, reader: Classifier | Ensemble) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read; see `readers.ImageClassifier`."""
        return self.reader.of_pixels(images)


class _Half(nn.Module):
    """A module that computes in float16; what goes in and comes out is float32."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.half()

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = self.module(values.half())
        return result.float()


def in_half(reader: Classifier | Ensemble) -> Classifier | Ensemble:
    """A copy whose nets compute in float16; softmax and sigmoid stay float32."""
    halved = copy.deepcopy(reader)
    for module in list(halved.modules()):
        if isinstance(module, Classifier):
            module.net = _Half(module.net)
            module.familiarity = None if module.familiarity is None else _Half(module.familiarity)
    return halved


def example(input_kind: str) -> Tensor:
    """Two images, because a batch of one would be taken for a constant."""
    if input_kind == formats.FLOAT32:
        return torch.zeros(2, 1, IMAGE_SIZE, IMAGE_SIZE)
    return torch.zeros(2, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)


def build(
    predictor: TorchPredictor, *, opset: int, input_kind: str, half: bool = False
) -> onnx.ModelProto:
    """The graph of all of a reader: preprocessing, net and temperature, with no data outside.

    Args:
        predictor: on the CPU.
        opset: one of `formats.IR_VERSIONS`.
        input_kind: one of `formats.INPUTS`.
        half: whether the nets compute in float16.
    """
    reader = in_half(predictor.reader) if half else predictor.reader
    module = OfPixels(reader).eval() if input_kind == formats.FLOAT32 else reader
    # Ctrl-C in the middle would come out of the exporter as a failure of its own.
    with signals.deferred() as interrupt, silenced():
        program = torch.onnx.export(
            module,
            (example(input_kind),),
            input_names=[INPUT_NAME],
            output_names=Outputs._fields,
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if interrupt.signal is not None:
        raise InterruptedRunError("interrupted", exit_code=interrupt.exit_code)
    assert program is not None  # noqa: S101 - what the exporter gives when no path is named
    model = program.model_proto
    model.ir_version = formats.IR_VERSIONS[opset]
    model.producer_name = "mnistctl"
    model.producer_version = predictor.metadata.versions["mnistctl"]
    model.doc_string = f"{INPUT_NAME}: {', '.join(formats.INPUTS[input_kind])}"
    return tidy(model)


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph for people to look at: named by what it does, with every shape, nothing unused."""
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    constants = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:], graph.value_info[:], graph.metadata_props[:]
    graph.initializer.extend(constants)
    graph.name = "reader"
    kept = {item.name for item in (*graph.input, *graph.output)}
    weights = {item.name for item in constants if "." in item.name}  # as PyTorch calls them
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for node in graph.node:
        del node.metadata_props[:]
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
        node.name = f"{node.op_type}_{counts[node.op_type]}"
        formal = onnx.defs.get_schema(node.op_type, model.opset_import[0].version, node.domain).inputs
        for place, name in enumerate(node.input):
            if name and name not in kept | weights:
                last = len(formal) - 1  # of some operations as often as there are inputs
                role = formal[min(place, last)].name + (f"_{place - last + 1}" if place > last else "")
                names.setdefault(name, f"{node.name}.{role}")
        for place, name in enumerate(node.output):
            if name and name not in kept:
                names[name] = node.name.lower() + (f"_{place + 1}" if place else "")
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for item in graph.initializer:
        item.name = names.get(item.name, item.name)
        item.doc_string = ""
    tidied = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(tidied, full_check=True)
    return tidied


class OnnxFile:
    """A graph that can be saved with what is known about it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model

    @property
    def details(self) -> dict[str, int]:
        """What the file's metadata says of its kind."""
        return {"opset": self.model.opset_import[0].version, "ir_version": self.model.ir_version}

    def save(self, path: Path, metadata: Metadata) -> None:
        """Write the file."""
        path.write_bytes(self.to_bytes(metadata))

    def to_bytes(self, metadata: Metadata) -> bytes:
        """The file's content."""
        onnx.helper.set_model_props(self.model, {KEY: json.dumps(metadata.to_json())})
        return bytes(self.model.SerializeToString())

    def open(self, path: Path) -> OnnxPredictor:
        """The file that was saved, as whoever gets it opens it."""
        return OnnxPredictor(path)
