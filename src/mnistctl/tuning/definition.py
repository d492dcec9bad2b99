"""The definition of a study: what all processes that work on it must agree on."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, get_args

import mnistctl
from mnistctl.errors import DataError, UsageError
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import records
from mnistctl.tuning import search_space
from mnistctl.tuning.search_space import Dimension
from mnistctl.types import Result

Sampler = Literal["tpe", "gp", "cmaes", "qmc", "random", "grid"]
Pruner = Literal["median", "hyperband", "wilcoxon", "none"]
Objective = Literal["accuracy", "loss", "parameters", "multiply_adds", "train_seconds"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
PRUNERS: tuple[str, ...] = get_args(Pruner)
OBJECTIVES: tuple[str, ...] = get_args(Objective)
MAXIMIZED = ("accuracy",)  # the other objectives are minimised
MEASURED_PER_EPOCH = ("accuracy", "loss")


@dataclass(frozen=True)
class Definition(Result):
    """What a study searches, and how. It never changes once the study exists."""

    version: str  # of mnistctl
    settings: dict[str, Any]  # of all trials, where they are not searched
    data_sha256: str
    space: dict[str, str]  # as in --search
    objectives: list[str]  # the first one decides which trial is the best
    sampler: str
    pruner: str
    seeds: int  # runs per trial
    sampler_seed: int

    @classmethod
    def from_json(cls, values: Any, *, study: str) -> Self:
        """A definition that a study has stored.

        Raises:
            UsageError: it is from another version of mnistctl.
            DataError: it is damaged.
        """
        version = values.get("version") if isinstance(values, dict) else None
        if version not in (None, mnistctl.__version__):
            raise UsageError(
                f"study '{study}' was started with mnistctl {version}; this is {mnistctl.__version__}: "
                "its trials could not be compared; install that version or start another study"
            )
        try:
            definition = records.build(cls, values)
            definition.dimensions  # noqa: B018 - checks them
        except (ValueError, TypeError, UsageError) as error:
            raise DataError(f"study '{study}': not a study of mnistctl ({error})") from error
        return definition

    @cached_property
    def base(self) -> TrainSettings:
        """The settings of all trials."""
        return records.build(TrainSettings, self.settings)

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The search space."""
        return search_space.resolve(self.space, self.base)

    @property
    def objective(self) -> str:
        """The objective that decides which trial is the best."""
        return self.objectives[0]

    @property
    def directions(self) -> list[Literal["minimize", "maximize"]]:
        """The directions of the objectives, as Optuna names them."""
        return ["maximize" if name in MAXIMIZED else "minimize" for name in self.objectives]

    @property
    def grid_size(self) -> int:
        """The number of trials of the sampler 'grid'."""
        return math.prod(len(dimension.grid()) for dimension in self.dimensions)

    def check_same(self, other: "Definition", *, study: str) -> None:
        """Check that a command describes the study that exists.

        Raises:
            UsageError: it describes another one; the message names the first difference.
        """
        if self.settings["dataset"] == other.settings["dataset"] and (
            self.data_sha256 != other.data_sha256
        ):
            raise UsageError(
                f"study '{study}': the data of '{self.settings['dataset']}' is not the same here: "
                f"SHA-256 {other.data_sha256[:12]}…, expected {self.data_sha256[:12]}…"
            )
        before, after = self.to_json(), other.to_json()
        nested = [(before, after), *((before[key], after[key]) for key in ("settings", "space"))]
        for old, new in reversed(nested):
            for name in {**old, **new}:
                if old.get(name) != new.get(name):
                    raise UsageError(
                        f"study '{study}' exists and is another one: {name} is {old.get(name)}, not "
                        f"{new.get(name)}; choose another name, or continue it with --resume {study}"
                    )
