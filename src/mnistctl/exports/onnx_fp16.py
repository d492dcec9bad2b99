"""The format `onnx-fp16`: an ONNX file whose nets compute in float16."""

import copy

from torch import Tensor, nn

from mnistctl.exports.graph import Source, to_onnx
from mnistctl.exports.onnx import OnnxFile
from mnistctl.nn.classifier import Classifier


class _Half(nn.Module):
    """A module that computes in float16; its input and its output are float32."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.half()

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = self.module(values.half())
        return result.float()


def build(source: Source) -> OnnxFile:
    """Build the export. Softmax and sigmoid stay in float32."""
    classifier = copy.deepcopy(source.predictor.classifier)
    for module in list(classifier.modules()):
        if isinstance(module, Classifier):
            module.net = _Half(module.net)
            module.familiarity = None if module.familiarity is None else _Half(module.familiarity)
    return OnnxFile(to_onnx(source, classifier))
