"""A trained model as an ONNX graph: preprocessing, net, temperature and familiarity in one."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from mnistctl.errors import InterruptedRunError
from mnistctl.models import formats
from mnistctl.models.metadata import Metadata
from mnistctl.models.onnx_predictor import INPUT_NAME
from mnistctl.models.predictor import Outputs
from mnistctl.nn.classifier import Classifier, Ensemble
from mnistctl.nn.torch_predictor import TorchPredictor
from mnistctl.system import signals
from mnistctl.types import IMAGE_SIZE, Images


@dataclass(frozen=True)
class Source:
    """A model to export, and the options of the export."""

    predictor: TorchPredictor  # on the CPU
    opset: int = formats.OPSET  # one of `formats.IR_VERSIONS`
    input_kind: str = formats.UINT8  # one of `formats.INPUTS`
    # Returns training images, uint8 (N, 28, 28), for formats that have to be calibrated.
    training_images: Callable[[], Images] | None = None
    precision: str | None = None  # of the weights, for formats with a choice; see `formats.Format`

    @cached_property
    def graph(self) -> onnx.ModelProto:
        """The model as an ONNX graph in float32; built once for all formats that need it."""
        return to_onnx(self, self.predictor.classifier)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Hide the warnings and the output of exporters; their errors are raised as usual."""
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


class Float32Input(nn.Module):
    """A classifier that takes pixels in [0, 1], float32 (N, 1, 28, 28), as many programs have them."""

    def __init__(self, classifier: Classifier | Ensemble) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classify images; see `classifier.ImageClassifier`."""
        return self.classifier.from_pixels(images)


def with_input(classifier: Classifier | Ensemble, input_kind: str) -> tuple[nn.Module, Tensor]:
    """A module that takes this kind of input, and an example of its input.

    The example has two images: exporters treat a batch of one as a constant.
    """
    if input_kind == formats.FLOAT32:
        return Float32Input(classifier).eval(), torch.zeros(2, 1, IMAGE_SIZE, IMAGE_SIZE)
    return classifier, torch.zeros(2, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)


def to_onnx(source: Source, classifier: Classifier | Ensemble) -> onnx.ModelProto:
    """Export a classifier as an ONNX model that contains all its data.

    Args:
        source: the options of the export, and the metadata.
        classifier: that of the source, or a copy in another precision.
    """
    module, example = with_input(classifier, source.input_kind)
    return trace(
        module,
        example,
        input_name=INPUT_NAME,
        output_names=Outputs._fields,
        free_sizes={0: torch.export.Dim("batch")},
        opset=source.opset,
        metadata=source.predictor.metadata,
        input_text=formats.INPUTS[source.input_kind],
    )


def trace(
    module: nn.Module,
    example: Tensor,
    *,
    input_name: str,
    output_names: Sequence[str],
    free_sizes: Mapping[int, Any],
    opset: int,
    metadata: Metadata,
    input_text: tuple[str, str],
) -> onnx.ModelProto:
    """Export a module with one input as an ONNX model that contains all its data.

    Args:
        module: in evaluation mode.
        example: of its input.
        input_name: of the graph.
        output_names: of the graph.
        free_sizes: axis of the input -> the `torch.export.Dim` of its size.
        opset: one of `formats.IR_VERSIONS`.
        metadata: of the model.
        input_text: the input's type and shape, and what its values mean.
    """
    # Otherwise Ctrl-C during the export would be reported as an error of the exporter.
    with signals.deferred() as interrupt, silenced():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[input_name],
            output_names=output_names,
            dynamic_shapes=(dict(free_sizes),),
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if interrupt.signal is not None:
        raise InterruptedRunError("interrupted", exit_code=interrupt.exit_code)
    assert program is not None  # noqa: S101 - the exporter returns a program when no path is given
    model = program.model_proto
    model.ir_version = formats.IR_VERSIONS[opset]
    model.producer_name = "mnistctl"
    model.producer_version = metadata.versions.get("mnistctl", "")
    model.doc_string = f"{input_name}: {', '.join(input_text)}"
    return cleaned(model)


def cleaned(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, checked, without unused constants and without traces of this machine.

    The exporter writes stack traces with local paths into the metadata of nodes.
    """
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    constants = [constant for constant in graph.initializer if constant.name in used]
    del graph.initializer[:], graph.value_info[:], graph.metadata_props[:]
    graph.initializer.extend(constants)
    for node in graph.node:
        del node.metadata_props[:]
    for constant in graph.initializer:
        constant.doc_string = ""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(inferred, full_check=True)
    return inferred
