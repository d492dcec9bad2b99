"""The operators that an ONNX file may use are those of the exports, and no others."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistctl.exports import PageSource, Source, build
from mnistctl.exports.onnx import OnnxFile
from mnistctl.models import onnx_safety
from mnistctl.models.metadata import Metadata
from mnistctl.nn import calibration, nets
from mnistctl.nn.classifier import Classifier, Ensemble, familiarity_head
from mnistctl.nn.detector import PageDetector
from mnistctl.nn.torch_page_predictor import TorchPagePredictor
from mnistctl.nn.torch_predictor import TorchPredictor
from mnistctl.settings import architectures
from tests.nn.test_torchvision_nets import FAMILIES

METADATA = Metadata(
    arch="cnn",
    arch_args={},
    parameters=1,
    dataset={"name": "digits", "sha256": ""},
    class_names=list("0123456789"),
    config={},
    metrics={},
    versions={},
    created="",
)


class Assortment(nn.Module):
    """Layers and functions that custom architectures use, beyond those of the other architectures."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.Sequential(
            nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)
        )
        self.activations = nn.Sequential(
            *(nn.LeakyReLU(), nn.ELU(), nn.PReLU(), nn.SELU(), nn.CELU(), nn.Softplus(), nn.GELU()),
            *(nn.SiLU(), nn.Mish(), nn.Softsign(), nn.Hardtanh(), nn.Tanhshrink(), nn.Softshrink()),
        )
        self.first = nn.Conv2d(1, 4, 3)
        self.attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.head = nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        maps = F.max_pool2d(self.activations(self.norms(self.first(images))), 4)
        maps = maps.abs().sqrt() + maps.exp().log1p() - maps.sign() * maps.floor() ** 2
        maps = torch.maximum(maps, maps.sin()) + torch.minimum(maps, maps.cos().reciprocal())
        maps = torch.where((maps > 0) & (maps <= 5), maps, -maps)
        tokens = self.attention(maps.flatten(2).transpose(1, 2))
        tokens = tokens - tokens.amax(1, keepdim=True) + tokens.amin(1, keepdim=True)
        logits: Tensor = self.head(F.normalize(tokens, dim=2).sum(1) + tokens.std(1))
        return logits


def classifier(net: nn.Module) -> Classifier:
    """A classifier as `calibrate` builds it, with random weights."""
    module = Classifier(net.eval(), familiarity_layers=calibration._familiarity_layers(net))
    with torch.no_grad():
        _, features = module.features(torch.zeros(2, 1, 28, 28))
    module.familiarity = familiarity_head(features.shape[1])
    return module.eval()


def operators_of(
    module: Classifier | Ensemble, *, format_name: str = "onnx", opset: int = 18
) -> set[str]:
    """The operators of an export, after its check."""
    images = np.random.default_rng(0).integers(0, 255, (8, 28, 28), dtype=np.uint8)
    predictor = TorchPredictor(module, METADATA, device=torch.device("cpu"))
    export = build(format_name, Source(predictor, opset, training_images=lambda: images))
    assert isinstance(export, OnnxFile)
    onnx_safety.check(export._model.SerializeToString(), name=Path("export"))
    return {node.op_type for node in export._model.graph.node}


def nets_without_torchvision() -> Iterator[nn.Module]:
    for name in architectures.of_task(architectures.DIGIT):
        yield nets.build(name, arch_args=architectures.resolve(name, {}), classes=10)
    yield Assortment()


def test_exports_pass_the_check() -> None:
    members = [classifier(net) for net in nets_without_torchvision()]

    for format_name in ("onnx", "onnx-fp16", "onnx-int8"):
        assert operators_of(Ensemble(members[:-1]), format_name=format_name) <= onnx_safety.OPERATORS
    assert operators_of(members[-1]) <= onnx_safety.OPERATORS


@pytest.mark.slow
def test_every_allowed_operator_is_one_of_an_export() -> None:
    used: set[str] = set()
    for net in nets_without_torchvision():
        used |= operators_of(classifier(net))
    for name in FAMILIES:
        arch = f"torchvision:{name}"
        used |= operators_of(classifier(nets.build(arch, arch_args={}, classes=10)))
    used |= operators_of(
        classifier(nets.build("cnn", arch_args=architectures.resolve("cnn", {}), classes=10)),
        format_name="onnx-int8",
    )
    used |= operators_of(
        classifier(nets.build("torchvision:vit_b_32", arch_args={}, classes=10)), opset=20
    )
    ensemble = Ensemble([classifier(net) for net in nets_without_torchvision()][:2])
    used |= operators_of(ensemble)
    detector = PageDetector(nets.build("detector", arch_args={"widths": (8, 8, 8, 8)}, classes=10))
    source = PageSource(TorchPagePredictor(detector, METADATA, device=torch.device("cpu")))
    used |= {node.op_type for node in source.graph.graph.node}

    assert used == onnx_safety.OPERATORS
