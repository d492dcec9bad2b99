"""Names, arguments and sizes of the architectures."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from mnistctl.errors import UsageError
from mnistctl.nn import nets
from mnistctl.settings import architectures
from mnistctl.settings.architectures import Architecture
from tests.helpers import load_script


def test_every_classification_net_of_torchvision_is_listed() -> None:
    from torchvision import models

    names = {f"torchvision:{name}" for name in models.list_models(module=models)}

    assert {name for name in architectures.sizes() if Architecture.parse(name).is_torchvision} == names
    assert set(architectures.sizes()) == names | set(architectures.ARCHITECTURES)


@pytest.mark.parametrize("name", architectures.sizes())
def test_every_net_gives_logits_and_has_its_listed_size(name: str) -> None:
    count = load_script("build_sizes").count

    net = nets.build_shapes(name, arch_args=architectures.resolve(name, {}), classes=10)
    if name in architectures.of_task(architectures.NUMBERS):
        side, *size = architectures.sizes()[name]
        assert [*count(net, side=side)] == size
        return
    logits = net.train()(torch.zeros(2, 1, 28, 28, device="meta"))

    assert logits.shape == (2, 10)
    assert (*count(net),) == architectures.sizes()[name][1:]
    assert nets.find_head(net, classes=10) is not None


@pytest.mark.parametrize(
    ("arch", "arguments", "message"),
    [
        ("mlp", {"hidden": [0]}, r"--hidden \[0\]: expected whole numbers from 1"),
        ("mlp", {"hidden": [10**9]}, "--hidden .*: expected whole numbers from 1"),
        ("mlp", {"hidden": 5}, "--hidden 5: expected whole numbers"),
        ("mlp", {"hidden": [True]}, "--hidden .*: expected whole numbers"),
        ("mlp", {"dropout": 1}, "--dropout 1: expected a number of at least 0 and below 1"),
        ("mlp", {"dropout": "much"}, "--dropout much: expected a number of at least 0"),
        ("mlp", {"batch_norm": 1}, "--batch-norm 1: expected true or false"),
        ("cnn", {"widths": []}, r"--widths \[\]: expected one or more whole numbers"),
        ("cnn", {"widths": [3, 4, 5]}, "--kernels has 2 values, --widths 3"),
        ("cnn", {"strides": [2, 2, 2]}, "--strides has 3 values, --widths 2"),
        ("cnn", {"kernels": [29]}, "its 2 convolutions leave nothing of 28×28 pixels"),
        ("cnn", {"widths": [8] * 5, "kernels": [5]}, "its 5 convolutions leave nothing"),
        ("cnn", {"kernels": [4, 3], "same_padding": True}, "--same-padding requires odd --kernels"),
        ("linear", {"hidden": [3]}, "takes no argument 'hidden'; available: none"),
        ("torchvision:resnet18", {"hidden": [3]}, "takes no argument 'hidden'; available: none"),
        ("torchvision:resnet", {}, "unknown architecture 'torchvision:resnet'; did you mean"),
        ("nothing", {}, "unknown architecture 'nothing'; see 'mnistctl archs'"),
    ],
)
def test_impossible_architectures_and_arguments_are_rejected(
    arch: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        architectures.resolve(arch, arguments)


@pytest.mark.parametrize(
    ("arguments", "side"),
    [
        ({}, 5),
        ({"pools": [1, 2], "kernels": [3]}, 12),
        ({"strides": [2, 1], "pools": [1]}, 10),
        ({"same_padding": True, "kernels": [5, 3], "pools": [2]}, 7),
        ({"widths": [8] * 6, "kernels": [3], "pools": [1], "same_padding": True}, 28),
    ],
)
def test_side_after_convolutions_is_the_size_of_the_last_feature_map(
    arguments: dict[str, Any], side: int
) -> None:
    values = architectures.resolve("cnn", arguments)

    net = nets.build("cnn", arch_args=values, classes=10)

    assert architectures.side_after_convolutions(values) == side
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_lenet5_has_61706_parameters() -> None:
    assert architectures.sizes()["lenet5"].parameters == 61_706


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("net.py:Net", (Path("net.py"), "Net", True, False)),
        ("a/b.py:C", (Path("a/b.py"), "C", True, False)),
        ("torchvision:resnet18", (None, None, False, True)),
        ("cnn", (None, None, False, False)),
        ("net.py", (None, None, False, False)),
    ],
)
def test_a_custom_architecture_is_named_by_file_and_class(name: str, expected: tuple[Any, ...]) -> None:
    architecture = Architecture.parse(name)

    assert architecture.name == name
    assert expected == (
        architecture.file,
        architecture.class_name,
        architecture.is_custom,
        architecture.is_torchvision,
    )


def test_a_custom_architecture_has_the_hash_of_its_file() -> None:
    Path("net.py").write_bytes(b"abc")

    assert Architecture.parse("net.py:Net").sha256 == hashlib.sha256(b"abc").hexdigest()
    assert Architecture.parse("gone.py:Net").sha256 is None
    assert Architecture.parse("cnn").sha256 is None
