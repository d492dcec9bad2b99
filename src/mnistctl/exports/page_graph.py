"""A trained detector of digits as an ONNX graph: preprocessing, net and decoding in one."""

import re
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

import onnx
import torch
from torch.export import Dim

from mnistctl.exports.graph import trace
from mnistctl.models import formats
from mnistctl.models.onnx_page_predictor import INPUT_NAME
from mnistctl.models.predictor import PageOutputs
from mnistctl.nn.torch_page_predictor import TorchPagePredictor

_MULTIPLE = 16  # height and width of a page are multiples of it
_SIZES = ("rows", "columns")  # names in the graph of height and width / 16
_EXAMPLE = (2, 64, 192)  # pages, height and width; exporters treat a batch of one as a constant


@dataclass(frozen=True)
class PageSource:
    """A model for numbers to export, and the options of the export."""

    predictor: TorchPagePredictor  # on the CPU
    opset: int = formats.OPSET  # one of `formats.IR_VERSIONS`
    input_kind: str = formats.UINT8  # no other

    @cached_property
    def graph(self) -> onnx.ModelProto:
        """The model as an ONNX graph in float32."""
        rows, columns = map(Dim, _SIZES)
        free_sizes = {0: Dim("batch"), 1: _MULTIPLE * rows, 2: _MULTIPLE * columns}
        graph = trace(
            self.predictor.detector,
            torch.zeros(_EXAMPLE, dtype=torch.uint8),
            input_name=INPUT_NAME,
            output_names=PageOutputs._fields,
            free_sizes=free_sizes,
            opset=self.opset,
            metadata=self.predictor.metadata,
            input_text=formats.PAGES,
        )
        return _with_named_sizes(graph)


def _with_named_sizes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph; the exporter's names of the sizes, such as s18, are those of the input."""
    scores = model.graph.output[0].type.tensor_type.shape.dim
    names = {
        size.dim_param.rpartition("*")[2]: name for size, name in zip(scores[2:], _SIZES, strict=True)
    }
    for value in (*model.graph.value_info, *model.graph.output):
        for size in filter(attrgetter("dim_param"), value.type.tensor_type.shape.dim):
            size.dim_param = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), size.dim_param)
    return model
