import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.errors import CheckFailedError
from mnistctl.exports import onnx as onnx_export
from mnistctl.exports import parity
from mnistctl.models import checkpoint, formats
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
@pytest.mark.parametrize("arch", architectures.ARCHITECTURES)
def test_every_architecture_says_the_same_in_onnx(
    arch: str, temperature: float, split: datasets.Split, checkpoint_path: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = TrainSettings(arch=arch)
    metadata = dataclasses.replace(checkpoint.load(checkpoint_path).metadata, temperature=temperature)
    net = nets.build(arch, arch_args=dict(config.arch_args), classes=10)
    reference = TorchPredictor(
        classifier.Classifier(net, temperature=temperature), metadata, device=torch.device("cpu")
    )
    made = onnx_export.OnnxFile(
        onnx_export.build(reference, opset=formats.OPSET, input_kind=formats.UINT8)
    )
    made.save(tmp_path / "model.onnx", metadata)

    found = parity.compare(reference, made.open(tmp_path / "model.onnx"), split)

    assert found.holds
    assert found.argmax_agreement == 1
    assert found.images == 297


def test_the_file_is_as_old_runtimes_want_it_and_complete(onnx_path: Path) -> None:
    model = onnx.load(onnx_path, load_external_data=False)

    assert model.ir_version == 8
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 18)]
    assert not any(item.data_location for item in model.graph.initializer)
    assert [item.name for item in model.graph.input] == ["images"]
    assert [item.name for item in model.graph.output] == ["logits", "probabilities", "familiarity"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    entry = json.loads({item.key: item.value for item in model.metadata_props}[KEY])
    assert entry["export"].items() >= {"format": "onnx", "opset": 18, "ir_version": 8}.items()


class Spoiled:
    """A predictor of which one output is off."""

    def __init__(
        self, predictor: OnnxPredictor, offset: float, rows: int, output: str = "logits"
    ) -> None:
        self.metadata, self.threads = predictor.metadata, predictor.threads
        self._predictor, self._offset, self._rows = predictor, offset, rows
        self._output = output

    def __call__(self, images: Images) -> Outputs:
        outputs = self._predictor(images)
        spoiled = getattr(outputs, self._output).copy()
        spoiled[: self._rows].flat[0] += self._offset
        return outputs._replace(**{self._output: spoiled})


@pytest.mark.parametrize("output", Outputs._fields)
@pytest.mark.parametrize("offset", [0.5, 100.0, float("nan"), float("inf")])
def test_a_model_that_says_something_else_fails_the_check(
    offset: float, output: str, split: datasets.Split, checkpoint_path: Path, onnx_path: Path
) -> None:
    reference = models.open_predictor(checkpoint_path)
    spoiled = Spoiled(OnnxPredictor(onnx_path), offset, rows=1, output=output)

    found = parity.compare(reference, spoiled, split)

    assert not found.holds
    with pytest.raises(CheckFailedError, match=r"out\.onnx: not written: on 297 images"):
        found.require("out.onnx")


def test_a_difference_that_rounding_explains_is_counted_and_let_pass(
    split: datasets.Split, checkpoint_path: Path, onnx_path: Path
) -> None:
    reference = models.open_predictor(checkpoint_path)

    found = parity.compare(reference, Spoiled(OnnxPredictor(onnx_path), 5e-5, rows=9), split)

    assert found.holds
    assert 4e-5 < found.max_logit_difference < 6e-5


@pytest.mark.parametrize("batch", [1, 2, 7, 256])
def test_any_batch_size_gives_the_same_answers(
    batch: int, split: datasets.Split, onnx_path: Path
) -> None:
    predictor = OnnxPredictor(onnx_path)
    whole = predictor(split.images[:256])

    part = predictor(split.images[:batch])

    np.testing.assert_allclose(part.logits, whole.logits[:batch], atol=1e-4)
