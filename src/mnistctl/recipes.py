"""RECIPES: settings that are known to work, by name.

An architecture's own recipe has the architecture's name, so `--arch NAME` alone is a good run.
"""

from mnistctl.config import TrainConfig
from mnistctl.errors import look_up

RECIPES: dict[str, TrainConfig] = {
    "cnn": TrainConfig(arch="cnn", epochs=4, min_steps=400, rotate=12, scale=0.12, shear=0.15, shift=2),
    "mlp": TrainConfig(arch="mlp", epochs=10, min_steps=400, learning_rate=3e-3),
}


# What changes when a run starts from a model that has learned already.
FINE_TUNING: dict[str, float] = {"learning_rate": 2e-3, "min_steps": 200}


def find(name: str) -> TrainConfig:
    """The recipe of this name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    return look_up("architecture", name, RECIPES)
