"""Torchvision's nets: one of each family can be trained, evaluated and exported."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import mnistctl
from mnistctl import datasets
from mnistctl.settings import architectures

# The smallest net of each family.
FAMILIES = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s"),
    *("googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small"),
    *("regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnext50_32x4d", "wide_resnet50_2"),
    *("shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_32"),
)


@pytest.fixture
def tiny_digits() -> str:
    """A folder of IDX files with a few of the bundled digits."""
    folder = Path("tiny")
    folder.mkdir()
    for part, name, images in (("train", "train", 40), ("test", "t10k", 10)):
        split = datasets.load("digits", part)
        for kind, values in (("images-idx3", split.images), ("labels-idx1", split.labels)):
            data = values[:images].astype(np.uint8)
            sizes = np.array(data.shape, dtype=">u4").tobytes()
            content = bytes([0, 0, 8, data.ndim]) + sizes + data.tobytes()
            (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_net_of_each_torchvision_family_is_trained_and_exported(name: str, tiny_digits: str) -> None:
    run = mnistctl.train(
        f"torchvision:{name}", dataset=tiny_digits, device="cpu", epochs=1, batch_size=8, plots=False
    )
    report = mnistctl.evaluate(run.run, plots=False)
    (exported,) = mnistctl.export(run.run)

    assert report.images == 10
    assert exported.parity["holds"] is True


def test_every_torchvision_family_is_tested() -> None:
    def family(name: str) -> str:
        return name.rstrip("0123456789").split("_")[0].rstrip("0123456789")

    names = [
        name.removeprefix("torchvision:")
        for name in architectures.sizes()
        if architectures.Architecture.parse(name).is_torchvision
    ]
    assert {family(name) for name in FAMILIES} == {family(name) for name in names}
