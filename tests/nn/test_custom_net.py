"""Custom architectures, from training to export."""

import json
from pathlib import Path

import pytest

from tests.helpers import Cli

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes, hidden=(8,)):
        super().__init__()
        self.register_buffer("factor", torch.tensor(0.5), persistent=False)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, hidden[0]), nn.ReLU())
        self.head = nn.Linear(hidden[0], classes)

    def forward(self, images):
        return self.head(self.body(images * self.factor))


class Ten(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(784, 10)

    def forward(self, images):
        return self.head(images.flatten(1))


class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, images):
        return self.conv(images)


class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = undefined_name


class NotANet:
    pass


class ReturnsTuple(Ten):
    def forward(self, images):
        logits = super().forward(images)
        return (logits, logits) if self.training else logits


class Frozen(Ten):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)


class FixedBatch(Ten):
    def forward(self, images):
        return self.head(images.reshape(2, 784))


class Half(Ten):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(1, dtype=torch.bfloat16))


class Masked(Ten):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.full((3,), float("-inf")))


class Exits(Ten):
    def __init__(self):
        raise SystemExit(3)
"""
TRAIN = ("train", "--dataset", "digits", "--device", "cpu", "--epochs", "1", "--no-plots")


@pytest.fixture(autouse=True)
def net() -> Path:
    path = Path("net.py")
    path.write_text(NET)
    return path


@pytest.mark.slow
def test_a_custom_net_can_be_trained_evaluated_exported_and_compared(cli: Cli) -> None:
    options = ("--arch", "net.py:Net", "--hidden", "12", "--epochs", "5")  # better than chance
    trained = cli(*TRAIN, *options, "--name", "custom")
    retrained = cli("train", "--config", "runs/custom/config.json", "--name", "again", "--no-plots")
    report = cli("eval", "custom", "--arch", "net.py:Net", "--json", "-q")
    exported = cli("export", "custom", "--arch", "net.py:Net", "--json", "-q")
    onnx_report = cli("eval", "runs/custom/model.onnx", "--json")

    assert trained.code == 0, trained.err
    assert retrained.code == 0, retrained.err
    assert "mnistctl eval runs/custom --arch net.py:Net" in trained.out.replace("\\", "/")
    config = json.loads(Path("runs/custom/config.json").read_text())
    assert config["arch_args"] == {"hidden": [12]}
    assert len(config["arch_sha256"]) == 64
    assert json.loads(exported.out)[0]["parity"]["holds"] is True
    assert json.loads(onnx_report.out)["accuracy"] == json.loads(report.out)["accuracy"]
    cli(*TRAIN, "--arch", "net.py:Ten", "--name", "ten", "-q")
    cli(*TRAIN, "--arch", "linear", "--name", "linear", "-q")
    classes = ("--arch", "net.py:Net", "--arch", "net.py:Ten")
    for command in ("compare", "plot"):
        assert cli(command, "custom", "ten", "linear", *classes).code == 0


def test_a_custom_class_needs_no_argument_for_the_number_of_classes(cli: Cli) -> None:
    assert cli(*TRAIN, "--arch", "net.py:Ten", "-q").code == 0
    assert Path("runs/digits-Ten-1").is_dir()


@pytest.mark.parametrize("command", ["eval", "predict x.png --model", "export", "train --init"])
def test_opening_a_model_does_not_run_the_code_that_it_names(cli: Cli, command: str, net: Path) -> None:
    cli(*TRAIN, "--arch", "net.py:Net", "--name", "custom", "-q")
    net.write_text("raise SystemExit('ran')")

    answer = cli(*command.split(), "custom")

    assert answer.code == 4
    assert "if you trust it, add --arch net.py:Net" in answer.err


def test_eval_warns_if_the_custom_class_has_changed(cli: Cli, net: Path) -> None:
    cli(*TRAIN, "--arch", "net.py:Net", "--name", "custom", "-q")
    net.write_text(NET + "\n# changed\n")

    answer = cli("eval", "custom", "--arch", "net.py:Net", "--no-plots", "-q", "--json")

    assert answer.code == 0
    assert answer.err.startswith("mnistctl: warning: net.py:Net has changed since")


def test_info_describes_a_model_without_its_custom_class(cli: Cli, net: Path) -> None:
    cli(*TRAIN, "--arch", "net.py:Net", "--name", "custom", "-q")
    net.unlink()

    assert json.loads(cli("info", "custom", "--json").out)["arch"] == "net.py:Net"


def test_eval_rejects_a_class_that_is_not_the_models(cli: Cli) -> None:
    cli(*TRAIN, "--arch", "net.py:Net", "--name", "custom", "-q")

    answer = cli("eval", "custom", "--arch", "net.py:Ten")

    assert answer.code == 2
    assert "is 'net.py:Net'" in answer.err


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (
            "net.py:Square",
            "for images (2, 1, 28, 28) it returns (2, 1, 28, 28), expected logits (2, 10)",
        ),
        ("net.py:Broken", "line 38: NameError: name 'undefined_name' is not defined"),
        (
            "net.py:NotANet",
            "unknown nn.Module in net.py 'NotANet'; available: Net, Ten, Square, Broken",
        ),
        ("net.py:ReturnsTuple", "TypeError: returns tuple, expected a tensor of logits"),
        ("net.py:Frozen", "TypeError: has no trainable weights"),
        ("net.py:FixedBatch", "RuntimeError: shape '[2, 784]' is invalid"),
        ("net.py:Half", "scale has a type that cannot be saved"),
        ("net.py:Masked", "mask has values that are not finite"),
        ("net.py:Exits", "SystemExit: 3"),
        ("net.py:Nett", "unknown nn.Module in net.py 'Nett'"),
        ("gone.py:Net", "--arch gone.py:Net: gone.py not found"),
        ("bad.py:Net", "line 1: SyntaxError"),
        ("raises.py:Net", "line 2: ValueError: no"),
    ],
)
def test_train_rejects_an_unusable_custom_class_in_one_line(cli: Cli, arch: str, message: str) -> None:
    Path("bad.py").write_text("class :")
    Path("raises.py").write_text("\nraise ValueError('no')")

    answer = cli(*TRAIN, "--arch", arch)

    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1
    assert message in answer.err
    assert not Path("runs").exists()


def test_a_custom_file_may_print_and_import_its_neighbours(cli: Cli, net: Path) -> None:
    Path("blocks.py").write_text("WIDTH = 784")
    net.write_text("from blocks import WIDTH\nprint('hello', WIDTH)\n" + NET)

    answer = cli(*TRAIN, "--arch", "net.py:Ten", "--json")

    assert json.loads(answer.out)["arch"] == "net.py:Ten"
    assert "hello 784" in answer.err


def test_compare_accepts_two_custom_classes_of_the_same_name(cli: Cli) -> None:
    for folder, size in (("x", 10), ("y", 12)):
        Path(folder).mkdir()
        Path(folder, "net.py").write_text(NET.replace("hidden=(8,)", f"hidden=({size},)"))
        cli(*TRAIN, "--arch", f"{folder}/net.py:Net", "--name", folder, "-q")
    classes = ("--arch", "x/net.py:Net", "--arch", "y/net.py:Net")

    answer = cli("compare", "x", "y", *classes)

    assert answer.code == 0, answer.err
    assert "changed" not in answer.err


def test_train_warns_once_if_the_class_of_reused_settings_has_changed(cli: Cli, net: Path) -> None:
    cli(*TRAIN, "--arch", "net.py:Net", "--name", "custom", "-q")
    net.write_text(NET + "\n# changed\n")

    retrained = cli("train", "--config", "runs/custom/config.json", "--no-plots", "-q")
    tuned = cli("train", "--init", "custom", "--arch", "net.py:Net", "--dataset", "digits", "-q")

    assert retrained.err.count("has changed since") == 1
    assert tuned.err.count("has changed since") == 1


def test_train_rejects_an_argument_that_the_custom_class_does_not_take(cli: Cli) -> None:
    answer = cli(*TRAIN, "--arch", "net.py:Ten", "--dropout", "0.5")

    assert answer.code == 2
    assert "unexpected keyword argument 'dropout'" in answer.err


def test_a_custom_net_can_be_fine_tuned_to_other_classes(cli: Cli) -> None:
    from PIL import Image

    for number in range(40):
        path = Path(f"mine/{'ab'[number % 2]}/{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        digit = Image.new("L", (28, 28), 255)
        digit.paste(0, (5 + number % 7, 4, 12 + number % 5, 20 + number % 3))
        digit.save(path)
    cli(*TRAIN, "--arch", "net.py:Net", "--name", "custom", "-q")

    answer = cli(
        "train", "--init", "custom", "--arch", "net.py:Net", "--dataset", "mine", "-q", "--json"
    )

    assert answer.code == 0, answer.err
    info = json.loads(cli("info", json.loads(answer.out)["run"], "--json").out)
    assert info["class_names"] == ["a", "b"]
