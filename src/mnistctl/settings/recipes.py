"""RECIPES: settings that are known to work, by name. Adding one is adding an entry.

An architecture's own recipe has the architecture's name, so `--arch NAME` alone is a good run.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mnistctl.errors import look_up
from mnistctl.settings import architectures
from mnistctl.settings.train_settings import TrainSettings


@dataclass(frozen=True)
class Recipe:
    """Settings, as they differ from those of `TrainSettings`, and what they stand for."""

    summary: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    published: str = ""  # what the authors of the system it stands for reported, if it stands for one


_AFFINE = {"rotate": 12, "scale": 0.12, "shear": 0.15, "shift": 2}
_FLOAT32 = {"precision": "float32"}  # as published; and nets as small as these gain nothing by bf16
# Pixels shrink to 4×4 places of many channels without padding: an image's border holds no ink.
_ACCURATE = {
    "batch_norm": True,
    "kernels": [5, 3, 3, 3, 3],
    "pools": [2, 1, 1, 1, 1],
    "hidden": [],
    "shift": 2.5,
    "thickness": 0.6,
    "noise": 0.12,
    "batch_size": 192,
    "learning_rate": 4e-3,
    "weight_decay": 0.1,
    "ema": 0.998,
}
_ONE_CYCLE = {"optimizer": "adamw", "schedule": "one-cycle", "beta2": 0.99, "label_smoothing": 0.1}

RECIPES: dict[str, Recipe] = {
    "cnn": Recipe(
        "the default: a small CNN, augmented, in half a minute on two cores",
        _ONE_CYCLE | _AFFINE | {"arch": "cnn", "learning_rate": 1e-2, "batch_size": 256, "epochs": 4},
    ),
    "fast": Recipe(
        "99% in about a second on two cores: a narrow CNN and 133 steps",
        _ONE_CYCLE
        | {"arch": "cnn", "widths": [32, 64], "kernels": [5, 3], "strides": [2, 1], "pools": [2, 1]}
        | {
            "batch_norm": True,
            "hidden": [128],
            "learning_rate": 0.03,
            "warmup": 0.1,
            "momentum": 0.7,
            "beta2": 0.9,
        }
        | {"batch_size": 256, "epochs": 0.62, "min_steps": 133},
    ),
    "best": Recipe(
        "as accurate as one net of this size gets, in minutes on two cores",
        _ONE_CYCLE
        | _AFFINE
        | {"arch": "cnn", "widths": [64, 128, 128, 192, 208], **_ACCURATE, "epochs": 17},
    ),
    "small": Recipe(
        "that of the bundled model: best, with under a third of the parameters and multiply-adds",
        _ONE_CYCLE
        | _AFFINE
        | {"arch": "cnn", "widths": [32, 64, 64, 96, 128], **_ACCURATE, "epochs": 40},
    ),
    "mlp": Recipe(
        "an MLP as well as it goes without augmentation",
        _ONE_CYCLE | _FLOAT32 | {"arch": "mlp", "learning_rate": 3e-3, "batch_size": 256, "epochs": 10},
    ),
    "linear": Recipe(
        "logistic regression: what a net without hidden layers can do",
        _FLOAT32 | {"arch": "linear", "schedule": "cosine", "batch_size": 256, "epochs": 10},
    ),
    "lenet5": Recipe(
        "LeNet-5 with today's optimizer",
        _FLOAT32
        | {"arch": "lenet5", "optimizer": "adamw", "schedule": "one-cycle", "learning_rate": 5e-3}
        | {"batch_size": 256, "epochs": 10},
        published="99.05% test (LeCun et al. 1998, without distortions)",
    ),
    "mlp-128-64": Recipe(
        "a beginner's MLP, 784-128-64-10 with ReLU, 5 epochs",
        _FLOAT32
        | {"arch": "mlp", "hidden": [128, 64], "epochs": 5}
        | {"schedule": "one-cycle", "learning_rate": 3e-3},
        published="the loss falls steadily over 5 epochs",
    ),
    "mlp-128": Recipe(
        "a beginner's MLP, 784-128-10 with ReLU, Adam, 10 epochs",
        _FLOAT32
        | {"arch": "mlp", "hidden": [128], "epochs": 10}
        | {"schedule": "one-cycle", "learning_rate": 3e-3},
        published="97.83% test, about 100% train",
    ),
    "mlp-sgd": Recipe(
        "a beginner's MLP with two hidden layers, SGD at 0.01",
        _FLOAT32
        | {"arch": "mlp", "hidden": [128, 64], "epochs": 30}
        | {"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.0},
        published="about 98% train, about 97% validation",
    ),
    "cnn-dropout": Recipe(
        "a beginner's CNN: two convolutions, max pooling, dropout, Adam, batch 96, 10 epochs",
        _FLOAT32
        | {"arch": "cnn", "widths": [32, 64], "kernels": [5], "conv_dropout": 0.25}
        | {"hidden": [128], "dropout": 0.5, "batch_size": 96, "epochs": 10}
        | {"schedule": "one-cycle", "learning_rate": 2e-3},
        published="“high accuracy”",
    ),
    "pytorch-example": Recipe(
        "the PyTorch tutorial that everybody copies: Adadelta, step decay, batch 64, 14 epochs",
        _FLOAT32
        | {"arch": "cnn", "widths": [32, 64], "kernels": [3], "pools": [1, 2], "conv_dropout": 0.25}
        | {"hidden": [128], "dropout": 0.5, "batch_size": 64, "epochs": 14}
        | {"optimizer": "adadelta", "learning_rate": 1.0, "schedule": "step", "gamma": 0.7},
        published="99.0 to 99.2% test",
    ),
}

FEWEST_STEPS = 400  # of a recipe that says nothing else, so that a small dataset trains long enough

# For a net that has no recipe of its own: torchvision's, or a person's own class.
ANY_NET: Mapping[str, Any] = {
    "optimizer": "adamw",
    "schedule": "one-cycle",
    "batch_size": 128,
    "epochs": 5,
}

# What changes when a run starts from a model that has learned already.
FINE_TUNING: Mapping[str, Any] = {"learning_rate": 2e-3, "min_steps": 200}


@functools.cache
def read_measured() -> list[dict[str, Any]]:
    """Every row that `scripts/measure_recipes.py` has written, also of settings that are no more."""
    text = (Path(__file__).parent / "measured.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def measured_runs(name: str) -> list[dict[str, Any]]:
    """What a recipe as it stands has been measured to do: a row for each seed.

    The rows are those of `scripts/measure_recipes.py`. Accuracies are in [0, 1].
    """
    return [row for row in read_measured() if row.get("recipe") == name and is_current(row, name)]


def measured_ensembles(name: str) -> list[dict[str, Any]]:
    """The same of ensembles of its runs: a row for each choice of seeds."""
    return [row for row in read_measured() if row.get("ensemble") == name and is_current(row, name)]


def is_current(row: Mapping[str, Any], name: str) -> bool:
    """Whether a row was measured with the settings that a recipe has now."""
    config = find_recipe(name).to_json()
    return all(config.get(key) == value for key, value in row["config"].items())


def find_recipe(name: str) -> TrainSettings:
    """The settings of this recipe.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    settings = look_up("recipe", name, RECIPES).settings
    return TrainSettings().replace(**{"recipe": name, "min_steps": FEWEST_STEPS, **settings})


def for_arch(arch: str) -> TrainSettings:
    """The settings an architecture goes by when nothing else is said.

    Raises:
        UsageError: there is no such architecture; the message names the nearest.
    """
    architectures.resolve(arch, {})
    if arch in RECIPES:
        return find_recipe(arch)
    return TrainSettings().replace(arch=arch, min_steps=FEWEST_STEPS, **ANY_NET)
