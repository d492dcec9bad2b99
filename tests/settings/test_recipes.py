"""Recipes: their files, and the rows that were measured with them."""

from statistics import fmean
from typing import Any

import pytest

from mnistctl.errors import UsageError
from mnistctl.settings import architectures, recipes
from mnistctl.settings.recipes import Recipe

# The mean test accuracy on MNIST that each published system reached.
TEST_ACCURACY = {
    "mlp-128-64": 0.975,
    "mlp-128": 0.9783,
    "cnn-dropout": 0.992,
    "pytorch-example": 0.99,
    "cnn": 0.994,
    "fast": 0.99,
}


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_every_architecture_has_a_recipe(name: str) -> None:
    recipe = recipes.for_arch(name)

    assert recipe.arch == name
    assert recipe.recipe is not None


def test_an_unknown_architecture_is_rejected_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown architecture 'cnm'; did you mean 'cnn'"):
        recipes.for_arch("cnm")


def test_an_unknown_recipe_is_rejected_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="unknown recipe 'fastt'; did you mean 'fast'"):
        recipes.find_recipe("fastt")


def test_recipes_are_listed_in_their_order_with_the_default_first() -> None:
    orders = [recipe.order for recipe in recipes.read_all().values()]

    assert orders == sorted(set(orders))
    assert next(iter(recipes.read_all())) == "cnn"


@pytest.mark.parametrize("name", recipes.of_task(architectures.DIGIT))
def test_every_recipe_was_measured_as_it_is_and_is_as_good_as_published(name: str) -> None:
    rows = recipes.measured_runs(name)

    assert len({row["seed"] for row in rows}) >= 2
    assert fmean(row["test_accuracy"] for row in rows) >= TEST_ACCURACY.get(name, 0)
    if name == "mlp-sgd":
        assert fmean(row["train_accuracy"] for row in rows) >= 0.98
        assert fmean(row["validation_accuracy"] for row in rows) >= 0.97


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"noise": 0.0}, True),
        ({"noise": 0.1}, False),  # the row does not know this setting
        ({"epochs": 3}, False),
    ],
)
def test_a_row_is_current_if_all_settings_of_the_recipe_are_as_measured(
    changes: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipes.find_recipe("mlp").to_json()
    del config["noise"]
    original = recipes.read_all()["mlp"]
    changed = Recipe(original.summary, original.order, settings={**original.settings, **changes})
    monkeypatch.setattr(recipes, "read_all", lambda: {"mlp": changed})

    assert recipes.is_current({"config": config}, "mlp") is expected


def test_a_row_with_a_setting_that_no_longer_exists_is_not_current() -> None:
    config = recipes.find_recipe("mlp").to_json() | {"cutout": 0.5}

    assert not recipes.is_current({"config": config}, "mlp")
