"""`ensemble`: several models in one file."""

import json
from pathlib import Path

import numpy as np
import pytest

from mnistctl import datasets
from mnistctl.api import models
from tests.helpers import Cli

TRAIN = ("train", "--dataset", "digits", "--device", "cpu", "--no-plots", "-q", "--arch", "linear")
QUICK = (*TRAIN, "--epochs", "1")


@pytest.fixture
def two_runs(cli: Cli) -> None:
    for name, seed in (("a", "0"), ("b", "1")):
        assert cli(*QUICK, "--seed", seed, "--name", name).code == 0


@pytest.mark.usefixtures("two_runs")
def test_other_commands_accept_an_ensemble(cli: Cli, picture: Path) -> None:
    combined = cli("ensemble", "a", "b", "-o", "both.safetensors", "--json")
    assert combined.code == 0, combined.err
    exported = cli("export", "both.safetensors", "--json")
    predicted = [
        cli("predict", picture, "--model", f"both.{kind}", "--json") for kind in ("safetensors", "onnx")
    ]
    info = cli("info", "both.onnx", "--json")
    evaluated = cli("eval", "both.safetensors", "--split", "validation", "--json")

    assert {answer.code for answer in (exported, *predicted, info, evaluated)} == {0}
    first, second = (json.loads(answer.out)[0]["probability"] for answer in predicted)
    assert first == pytest.approx(second, abs=1e-5)
    assert [member["arch"] for member in json.loads(info.out)["members"]] == ["linear", "linear"]
    result = json.loads(combined.out)
    assert result["validation_accuracy"] == json.loads(evaluated.out)["accuracy"]
    assert result["parameters"] == sum(
        models.describe(Path("runs") / name / "model.safetensors")[1].parameters for name in "ab"
    )
    assert 0 < result["threshold"] < 1


@pytest.mark.usefixtures("two_runs")
def test_the_probabilities_of_an_ensemble_are_the_mean_of_its_members(cli: Cli) -> None:
    cli("ensemble", "a", "b")
    images = datasets.load("digits", "test").images[:20]

    mean, *members = (
        models.open_predictor(path)(images).probabilities
        for path in (
            Path("ensemble.safetensors"),
            *(Path("runs") / name / "model.safetensors" for name in "ab"),
        )
    )

    np.testing.assert_allclose(mean, (members[0] + members[1]) / 2, atol=1e-6)  # float32 rounding


@pytest.mark.usefixtures("two_runs")
def test_an_ensemble_can_contain_an_ensemble(cli: Cli) -> None:
    cli("ensemble", "a", "b", "-o", "both.safetensors")

    answer = cli("ensemble", "both.safetensors", "a", "-o", "three.safetensors")

    assert answer.code == 0, answer.err
    assert cli("eval", "three.safetensors").code == 0


CUSTOM_NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Flatten(), nn.Linear(784, classes))
"""


@pytest.mark.usefixtures("two_runs")
def test_a_member_with_a_custom_architecture_needs_arch(cli: Cli) -> None:
    Path("net.py").write_text(CUSTOM_NET)
    train = [word if word != "linear" else "net.py:Net" for word in QUICK]
    assert cli(*train, "--name", "c").code == 0

    without = cli("ensemble", "a", "c")
    with_arch = cli("ensemble", "a", "c", "--arch", "net.py:Net")

    assert (without.code, with_arch.code) == (4, 0), with_arch.err
    assert "add --arch" in without.err
    assert cli("eval", "ensemble.safetensors").code == 4
    assert cli("eval", "ensemble.safetensors", "--arch", "net.py:Net").code == 0


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a",), "name two models or more"),
        (("a", "a"), "a model is named twice"),
        (("a", "runs/a"), "a model is named twice"),
        (("a", "split"), "cannot be combined with"),
        (("a", "held-out"), "its validation_size is 200, not None"),
        (("a", "runs/b/model.onnx"), "already exported"),
        (("a", "b", "-o", "there"), "there exists"),
    ],
)
def test_ensemble_rejects_models_that_do_not_belong_together(
    cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
    cli(*QUICK, "--split-seed", "5", "--name", "split")
    cli(*QUICK, "--validation-size", "200", "--name", "held-out")
    cli("export", "b", "-q")
    Path("there").touch()

    answer = cli("ensemble", *arguments)

    assert answer.code == 2
    assert message in answer.err
    assert not Path("ensemble.safetensors").exists()


@pytest.mark.usefixtures("two_runs")
def test_train_rejects_an_ensemble_as_initial_model(cli: Cli) -> None:
    cli("ensemble", "a", "b")

    answer = cli(*QUICK, "--init", "ensemble.safetensors")

    assert answer.code == 2
    assert "an ensemble" in answer.err
