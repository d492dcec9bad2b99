"""The parity check, and the ONNX files it is about."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mnistctl import datasets, exports
from mnistctl.api import models
from mnistctl.errors import CheckFailedError
from mnistctl.exports import parity
from mnistctl.models import checkpoint
from mnistctl.models.metadata import KEY
from mnistctl.models.onnx_predictor import OnnxPredictor
from mnistctl.models.predictor import Outputs
from mnistctl.nn import classifier, nets
from mnistctl.nn.torch_predictor import TorchPredictor
from mnistctl.settings import architectures
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.types import Images


@pytest.fixture(scope="module")
def split() -> datasets.Split:
    return datasets.load("digits", "test")


@pytest.mark.parametrize("temperature", [1.0, 1.7])
@pytest.mark.parametrize("arch", architectures.of_task(architectures.DIGIT))
def test_every_architecture_gives_the_same_outputs_in_onnx(
    arch: str, temperature: float, split: datasets.Split, checkpoint_path: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    settings = TrainSettings(arch=arch)
    metadata = dataclasses.replace(checkpoint.load(checkpoint_path).metadata, temperature=temperature)
    net = nets.build(arch, arch_args=dict(settings.arch_args), classes=10)
    reference = TorchPredictor(
        classifier.Classifier(net, temperature=temperature), metadata, device=torch.device("cpu")
    )
    export = exports.build("onnx", exports.Source(reference))
    export.save(tmp_path / "model.onnx", metadata)

    result = parity.compare(reference, OnnxPredictor(tmp_path / "model.onnx"), split)

    assert result.holds
    assert result.argmax_agreement == 1
    assert result.images == 297


def test_the_onnx_file_is_self_contained_and_old_runtimes_can_read_it(onnx_path: Path) -> None:
    model = onnx.load(onnx_path, load_external_data=False)

    assert model.ir_version == 8
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 18)]
    assert not any(item.data_location for item in model.graph.initializer)
    assert [item.name for item in model.graph.input] == ["images"]
    assert [item.name for item in model.graph.output] == ["logits", "probabilities", "familiarity"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    entry = json.loads({item.key: item.value for item in model.metadata_props}[KEY])
    assert entry["export"].items() >= {"format": "onnx", "opset": 18, "ir_version": 8}.items()


class Offset:
    """A predictor that adds an offset to one value of an output."""

    def __init__(
        self, predictor: OnnxPredictor, offset: float, rows: int, output: str = "logits"
    ) -> None:
        self.metadata, self.threads = predictor.metadata, predictor.threads
        self._predictor, self._offset, self._rows = predictor, offset, rows
        self._output = output

    def __call__(self, images: Images) -> Outputs:
        outputs = self._predictor(images)
        values = getattr(outputs, self._output).copy()
        values[: self._rows].flat[0] += self._offset
        return outputs._replace(**{self._output: values})


@pytest.mark.parametrize("output", Outputs._fields)
@pytest.mark.parametrize("offset", [0.5, 100.0, float("nan"), float("inf")])
def test_a_different_output_fails_the_parity_check(
    offset: float, output: str, split: datasets.Split, checkpoint_path: Path, onnx_path: Path
) -> None:
    reference = models.open_predictor(checkpoint_path)
    exported = Offset(OnnxPredictor(onnx_path), offset, rows=1, output=output)

    result = parity.compare(reference, exported, split)

    assert not result.holds
    with pytest.raises(CheckFailedError, match=r"out\.onnx: not written: on 297 images"):
        result.require("out.onnx")


def test_a_difference_within_float32_rounding_passes_the_parity_check(
    split: datasets.Split, checkpoint_path: Path, onnx_path: Path
) -> None:
    reference = models.open_predictor(checkpoint_path)

    result = parity.compare(reference, Offset(OnnxPredictor(onnx_path), 5e-5, rows=9), split)

    assert result.holds
    assert 4e-5 < result.max_logit_difference < 6e-5


@pytest.mark.parametrize("batch", [1, 2, 7, 256])
def test_the_batch_size_does_not_change_the_outputs(
    batch: int, split: datasets.Split, onnx_path: Path
) -> None:
    predictor = OnnxPredictor(onnx_path)
    whole = predictor(split.images[:256])

    part = predictor(split.images[:batch])

    np.testing.assert_allclose(part.logits, whole.logits[:batch], atol=1e-4)
