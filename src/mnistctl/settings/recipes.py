"""Recipes: named settings that are known to work. To add one, add a file to the folder `recipes`.

The recipe of an architecture has the architecture's name, or the architecture names it, so that
`--arch NAME` alone trains well.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnistctl.errors import UsageError, look_up
from mnistctl.settings import architectures
from mnistctl.settings.train_settings import TrainSettings

MINIMUM_STEPS = 400  # of a recipe without `min_steps`, so that small datasets train long enough

# For an architecture without a recipe: torchvision's and custom ones.
ANY_ARCHITECTURE: Mapping[str, Any] = {
    "optimizer": "adamw",
    "schedule": "one-cycle",
    "batch_size": 128,
    "epochs": 5,
}

# Changes to a recipe when a run starts from a trained model.
FINE_TUNING: Mapping[str, Any] = {"learning_rate": 2e-3, "min_steps": 200, "variants": 0}

# The same for a detector that learns from a user's pictures: five minutes on two cores.
NUMBERS_FINE_TUNING: Mapping[str, Any] = {
    "learning_rate": 1e-3,
    "epochs": 0.5,
    "min_steps": 400,
    "ema": 0.99,
}


@dataclass(frozen=True)
class Recipe:
    """A recipe as its file states it."""

    summary: str
    order: int  # position in lists
    system: str = ""  # the published system that it reproduces, as its authors describe it, if any
    published: str = ""  # the result that they reported
    deviation: str = ""  # where the settings differ from theirs or fill a gap, and why
    settings: Mapping[str, Any] = field(default_factory=dict)  # where they differ from the defaults


@functools.cache
def read_all() -> Mapping[str, Recipe]:
    """All recipes by name, in the order of lists."""
    import tomllib

    files = architectures.RECIPES.glob("*.toml")
    recipes = {file.stem: Recipe(**tomllib.loads(file.read_text(encoding="utf-8"))) for file in files}
    return dict(sorted(recipes.items(), key=lambda item: item[1].order))


def find_recipe(name: str) -> TrainSettings:
    """The settings of a recipe.

    Raises:
        UsageError: the recipe is unknown; the message names the nearest.
    """
    for arch in (name, f"{architectures.TORCHVISION}{name}"):
        if arch in architectures.sizes() and name not in read_all():
            raise UsageError(f"'{name}' is an architecture, not a recipe: use '--arch {arch}'")
    settings = look_up("recipe", name, read_all()).settings
    return TrainSettings().replace(**{"recipe": name, "min_steps": MINIMUM_STEPS, **settings})


def of_task(task: str) -> list[str]:
    """The names of the recipes whose nets are for this task."""
    return [name for name in read_all() if architectures.task_of(find_recipe(name).arch) == task]


def for_arch(arch: str) -> TrainSettings:
    """The settings for an architecture: those of its recipe, if it has one.

    Raises:
        UsageError: the architecture is unknown; the message names the nearest.
    """
    architectures.resolve(arch, {})
    net = architectures.ARCHITECTURES.get(arch)
    recipe = (net.recipe if net else "") or arch
    if recipe in read_all():
        return find_recipe(recipe)
    return TrainSettings().replace(arch=arch, min_steps=MINIMUM_STEPS, **ANY_ARCHITECTURE)


@functools.cache
def read_measured() -> list[dict[str, Any]]:
    """The rows that `scripts/measure_recipes.py` has written. Accuracies are in [0, 1]."""
    text = (Path(__file__).parent / "measured.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def measured_runs(name: str) -> list[dict[str, Any]]:
    """The measured runs of a recipe as it is now: a row per seed."""
    return [row for row in read_measured() if row.get("recipe") == name and is_current(row, name)]


def measured_ensembles(name: str) -> list[dict[str, Any]]:
    """The measured ensembles of runs of a recipe as it is now: a row per choice of seeds."""
    return [row for row in read_measured() if row.get("ensemble") == name and is_current(row, name)]


def is_current(row: Mapping[str, Any], name: str) -> bool:
    """Whether a row was measured with the settings that a recipe has now.

    A setting that is newer than the row had its default value then.
    """
    defaults = TrainSettings().to_json()
    config: dict[str, Any] = {**defaults, **row["config"]}
    return config == find_recipe(name).to_json()
