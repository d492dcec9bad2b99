"""Optuna's samplers and pruners by name."""

import math
import warnings

import numpy as np
import optuna
from optuna import pruners, samplers

from mnistctl.tuning.definition import Definition

# Their searches are sequences that a single seed defines; the others draw each trial by itself.
_ONE_SEED = ("qmc", "grid")
_STARTUP_TRIALS = 5  # that the pruner 'median' never ends
_WARMUP_EPOCHS = 2  # before the end of which it ends no trial


def build_sampler(definition: Definition, *, trial: int) -> samplers.BaseSampler:
    """The sampler for a trial.

    It depends on the study and the number of the trial alone, and not on what a process has drawn
    before. So a search by one process has the same trials, however often it was interrupted.

    Args:
        definition: of the study.
        trial: the number of the trial.
    """
    seed = definition.sampler_seed
    if definition.sampler not in _ONE_SEED:
        seed = int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])
    grid = {item.name: item.grid() for item in definition.dimensions} if is_grid(definition) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are marked as experimental
        match definition.sampler:
            case "gp":
                return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
            case "cmaes":
                return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
            case "qmc":
                return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
            case "random":
                return samplers.RandomSampler(seed=seed)
            case "grid":
                return samplers.GridSampler(grid, seed=seed)
            case _:
                return samplers.TPESampler(seed=seed)


def is_grid(definition: Definition) -> bool:
    """Whether each combination of values is tried once."""
    return definition.sampler == "grid"


def build_pruner(definition: Definition) -> pruners.BasePruner:
    """The pruner of a study. Trials report after each epoch, or after each of several seeds."""
    steps = definition.seeds if definition.seeds > 1 else math.ceil(definition.base.epochs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match definition.pruner:
            case "median":
                return pruners.MedianPruner(_STARTUP_TRIALS, _WARMUP_EPOCHS)
            case "hyperband":
                return pruners.HyperbandPruner(max_resource=max(steps, 1))
            case "wilcoxon":
                return pruners.WilcoxonPruner(p_threshold=0.1)
            case _:
                return pruners.NopPruner()
