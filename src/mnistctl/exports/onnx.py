"""A reader as one self-contained ONNX file."""

import dataclasses
import json
import warnings

import onnx
import torch

from mnistctl import interrupts
from mnistctl.architectures import IMAGE_SIZE
from mnistctl.errors import InterruptedRunError
from mnistctl.metadata import KEY
from mnistctl.nn.torch_predictor import TorchPredictor
from mnistctl.onnx_predictor import INPUT_NAME
from mnistctl.predictor import Outputs

OPSET = 18
IR_VERSION = 10  # of the file; newer ones are refused by runtimes that people still have


def build(predictor: TorchPredictor) -> bytes:
    """An ONNX file's bytes: preprocessing, net, temperature and metadata, with no data outside.

    Args:
        predictor: on the CPU.
    """
    # Two images, because a batch of one would be taken for a constant.
    example = torch.zeros(2, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    # Ctrl-C in the middle would come out of the exporter as a failure of its own.
    with interrupts.deferred() as interrupt, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        program = torch.onnx.export(
            predictor.reader,
            (example,),
            input_names=[INPUT_NAME],
            output_names=Outputs._fields,
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if interrupt.signal is not None:
        raise InterruptedRunError("interrupted", exit_code=interrupt.exit_code)
    assert program is not None  # noqa: S101 - what the exporter gives when no path is named
    model = program.model_proto
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.producer_name = "mnistctl"
    model.producer_version = predictor.metadata.versions["mnistctl"]
    model.doc_string = "images: uint8 (batch, 28, 28), 0 = paper, 255 = ink"
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter's notes on where in Python a node comes from
    metadata = dataclasses.replace(
        predictor.metadata,
        export={"format": "onnx", "opset": OPSET, "ir_version": model.ir_version},
    )
    onnx.helper.set_model_props(model, {KEY: json.dumps(metadata.to_json(), ensure_ascii=False)})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
