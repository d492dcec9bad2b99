from statistics import fmean
from typing import Any

import pytest

from mnistctl.errors import UsageError
from mnistctl.settings import architectures, recipes
from mnistctl.settings.train_settings import TrainSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", -1),
        ("epochs", 1e308),
        ("epochs", float("nan")),
        ("epochs", float("inf")),
        ("min_steps", -1),
        ("batch_size", 0),
        ("batch_size", 65_537),
        ("learning_rate", 0),
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("weight_decay", -1),
        ("label_smoothing", 1),
        ("rotate", -1),
        ("scale", 3),
        ("shear", -0.1),
        ("shift", 29),
        ("seed", -1),
        ("split_seed", 2**63),
        ("validation_size", -1),
    ],
)
def test_a_value_out_of_range_is_rejected_by_its_option(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}.*expected a value"):
        TrainSettings(**{name: value})


def test_an_unknown_argument_of_a_net_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"takes no argument 'depth'; known: .*hidden"):
        TrainSettings(arch="mlp", arch_args={"depth": 3})


def test_a_config_says_every_argument_of_its_net() -> None:
    config = TrainSettings(arch="mlp", arch_args={"hidden": [32]})

    assert config.to_json()["arch_args"] == {"hidden": [32], "dropout": 0.0, "batch_norm": False}


def test_a_change_to_none_changes_nothing() -> None:
    config = TrainSettings(epochs=7)

    assert config.replace(epochs=None, seed=3) == TrainSettings(epochs=7, seed=3)


def test_another_net_brings_its_own_arguments() -> None:
    config = TrainSettings(arch="cnn", arch_args={"hidden": [8]}).replace(arch="mlp")

    assert dict(config.arch_args) == dict(architectures.ARCHITECTURES["mlp"].arguments)


def test_a_config_survives_json() -> None:
    config = recipes.find_recipe("cnn")

    assert TrainSettings(**config.to_json()) == config


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_every_architecture_has_a_recipe_of_its_name(name: str) -> None:
    assert recipes.find_recipe(name).arch == name


def test_an_unknown_architecture_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown architecture 'cnm'; did you mean 'cnn'"):
        recipes.for_arch("cnm")


# What each published system reached or more, on MNIST's test set, mean of the seeds measured.
TEST_ACCURACY = {
    "mlp-128-64": 0.975,
    "mlp-128": 0.9783,
    "cnn-dropout": 0.992,
    "pytorch-example": 0.99,
    "cnn": 0.994,
    "fast": 0.99,
}


@pytest.mark.parametrize("name", recipes.read_all())
def test_every_recipe_as_it_stands_was_measured_and_is_as_good_as_published(name: str) -> None:
    rows = recipes.measured_runs(name)

    assert len({row["seed"] for row in rows}) >= 2
    assert fmean(row["test_accuracy"] for row in rows) >= TEST_ACCURACY.get(name, 0)
    if name == "mlp-sgd":
        assert fmean(row["train_accuracy"] for row in rows) >= 0.98
        assert fmean(row["validation_accuracy"] for row in rows) >= 0.97
