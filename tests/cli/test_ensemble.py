"""Several models in one."""

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
def two(cli: Cli) -> None:
    for name, seed in (("a", "0"), ("b", "1")):
        assert cli(*QUICK, "--seed", seed, "--name", name).code == 0


@pytest.mark.usefixtures("two")
def test_an_ensemble_is_taken_like_any_other_model(cli: Cli, picture: Path) -> None:
    joined = cli("ensemble", "a", "b", "-o", "both.safetensors", "--json")
    assert joined.code == 0, joined.err
    exported = cli("export", "both.safetensors", "--json")
    read = [
        cli("predict", picture, "--model", f"both.{kind}", "--json") for kind in ("safetensors", "onnx")
    ]
    about = cli("info", "both.onnx", "--json")
    measured = cli("eval", "both.safetensors", "--split", "validation", "--json")

    assert {answer.code for answer in (exported, *read, about, measured)} == {0}
    first, second = (json.loads(answer.out)[0]["probability"] for answer in read)
    assert first == pytest.approx(second, abs=1e-5)
    assert [member["arch"] for member in json.loads(about.out)["members"]] == ["linear", "linear"]
    found = json.loads(joined.out)
    assert found["validation_accuracy"] == json.loads(measured.out)["accuracy"]
    assert found["parameters"] == sum(
        models.describe(Path("runs") / name / "model.safetensors")[1].parameters for name in "ab"
    )
    assert 0 < found["threshold"] < 1


@pytest.mark.usefixtures("two")
def test_its_probabilities_are_the_mean_of_its_members(cli: Cli) -> None:
    cli("ensemble", "a", "b")
    images = datasets.load("digits", "test").images[:20]

    mean, *members = (
        models.open_predictor(path)(images).probabilities
        for path in (
            Path("ensemble.safetensors"),
            *(Path("runs") / name / "model.safetensors" for name in "ab"),
        )
    )

    np.testing.assert_allclose(mean, (members[0] + members[1]) / 2, atol=1e-6)  # rounding


@pytest.mark.usefixtures("two")
def test_an_ensemble_may_have_an_ensemble_in_it(cli: Cli) -> None:
    cli("ensemble", "a", "b", "-o", "both.safetensors")

    answer = cli("ensemble", "both.safetensors", "a", "-o", "three.safetensors")

    assert answer.code == 0, answer.err
    assert cli("eval", "three.safetensors").code == 0


OWN = """
from torch import nn

class Own(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Flatten(), nn.Linear(784, classes))
"""


@pytest.mark.usefixtures("two")
def test_a_member_of_ones_own_class_is_named_again(cli: Cli) -> None:
    Path("own.py").write_text(OWN)
    train = [word if word != "linear" else "own.py:Own" for word in QUICK]
    assert cli(*train, "--name", "c").code == 0

    silent = cli("ensemble", "a", "c")
    named = cli("ensemble", "a", "c", "--arch", "own.py:Own")

    assert (silent.code, named.code) == (4, 0), named.err
    assert "add --arch" in silent.err
    assert cli("eval", "ensemble.safetensors").code == 4
    assert cli("eval", "ensemble.safetensors", "--arch", "own.py:Own").code == 0


@pytest.mark.usefixtures("two")
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
def test_what_does_not_belong_together_is_rejected(
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


@pytest.mark.usefixtures("two")
def test_nothing_starts_from_an_ensemble(cli: Cli) -> None:
    cli("ensemble", "a", "b")

    answer = cli(*QUICK, "--init", "ensemble.safetensors")

    assert answer.code == 2
    assert "an ensemble" in answer.err
