"""What the scripts that build the bundled models have in common: where the weights come from."""

import argparse

import mnistctl
from mnistctl.api import models
from mnistctl.errors import UsageError
from mnistctl.models import checkpoint
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.settings import recipes

SEED = 0  # fixed beforehand


def parse_options(description: str | None) -> argparse.Namespace:
    """The options `run` and `keep_weights` of the command line."""
    parser = argparse.ArgumentParser(description=description)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--run", help="a finished run of the recipe with that seed")
    source.add_argument(
        "--keep-weights", action="store_true", help="take the bundled model's weights and calibration"
    )
    return parser.parse_args()


def train(recipe: str, run: str | None) -> Checkpoint:
    """The checkpoint of this run, or of a new one, of the recipe on MNIST.

    Raises:
        UsageError: the run has other settings.
    """
    settings = recipes.find_recipe(recipe).replace(seed=SEED, dataset="mnist").to_json()
    if run is None:
        run = mnistctl.train(recipe=recipe, seed=SEED, dataset="mnist", plots=False).run
    trained = checkpoint.load(models.find_model(run))
    config = trained.metadata.config
    if differences := [name for name, value in settings.items() if config.get(name) != value]:
        raise UsageError(f"{run}: not the recipe '{recipe}' with seed {SEED}: {differences[0]} differs")
    return trained
