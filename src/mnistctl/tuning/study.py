"""A study: its definition, its trials, and which process works on which of them."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from mnistctl.errors import UsageError
from mnistctl.run import run_folder
from mnistctl.run.run_folder import ROOT, Run
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import files
from mnistctl.tuning import samplers, search_space, storage
from mnistctl.tuning.claims import Claims
from mnistctl.tuning.definition import MAXIMIZED, Definition

optuna.logging.set_verbosity(optuna.logging.ERROR)

_DEFINITION, _GOAL = "mnistctl", "mnistctl goal"  # attributes of the study
_MIN_IMPORTANCE_TRIALS = 4
METRICS = "metrics"  # an attribute of a trial, once it is finished


@dataclass(frozen=True)
class Goal:
    """When a study is finished, and what is kept; each command may change it."""

    trials: int | None  # of the search; None: no limit but the time
    confirm: int  # runs of the best settings on another split
    keep: str  # whose weights are kept: "best" or "all"


class Study:
    """A study in its storage, as one process sees it.

    Args:
        name: of the study, and of its folder in `runs`.
        claims: of this process.
        inner: Optuna's study.
        definition: of the study.
    """

    def __init__(self, name: str, claims: Claims, inner: optuna.Study, definition: Definition) -> None:
        self.name, self.claims, self.definition = name, claims, definition
        self.folder = folder_of(name)
        self._inner = inner
        self._inner.pruner = samplers.build_pruner(definition)
        self._distributions = {
            dimension.name: dimension.distribution() for dimension in definition.dimensions
        }

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, name: str, url: str | None, *, definition: Definition | None = None
    ) -> Iterator[Self]:
        """Open a study, or create it.

        Args:
            name: of the study.
            url: of the database; None: the journal in the study's folder.
            definition: of a new study, or the same as that of the existing one; None: it must exist.

        Raises:
            UsageError: the study does not exist, or its definition or version is another one.
            DataError: the storage cannot be read.
            WriteError: the folder cannot be written.
        """
        storage.check_url(url)
        run_folder.check_name(name, "study")
        folder = folder_of(name)
        if definition is None and url is None and not (folder / storage.JOURNAL).is_file():
            raise UsageError(
                f"study '{name}' not found in {ROOT}/; if it is in a database, add --storage"
            )
        with (
            contextlib.closing(storage.open_claims(url, folder, name)) as claims,
            storage.open_storage(url, folder, claims) as store,
        ):
            with claims.exclusive():
                inner = _load(store, name, definition)
                stored = Definition.from_json(inner.user_attrs.get(_DEFINITION), study=name)
                if definition is not None:
                    stored.check_same(definition, study=name)
            yield cls(name, claims, inner, stored)

    @property
    def goal(self) -> Goal:
        """When the study is finished."""
        return Goal(**self._inner.user_attrs[_GOAL])

    def set_goal(self, goal: Goal) -> None:
        """Change when the study is finished."""
        if self._inner.user_attrs.get(_GOAL) != vars(goal):
            self._inner.set_user_attr(_GOAL, vars(goal))

    @property
    def has_goal(self) -> bool:
        """Whether the study has been started."""
        return _GOAL in self._inner.user_attrs

    def trials(self) -> list[FrozenTrial]:
        """The trials that have been started, in the order of their numbers."""
        trials = self._inner.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state != TrialState.WAITING]

    def claim_trial(self) -> Trial | None:
        """Claim a trial to run: one that was interrupted, or else a new one.

        Returns:
            The trial, whose values are chosen; None: there is none to run now.
        """
        with self.claims.exclusive():
            trials = self.trials()
            for frozen in trials:
                if frozen.state == TrialState.RUNNING and self._claim(frozen):
                    return self._choose_values(
                        Trial(self._with_sampler(frozen.number), frozen._trial_id)
                    )
            goal = self.goal
            if goal.trials is not None and len(trials) >= goal.trials:
                return None
            everything = self._inner.get_trials(deepcopy=False)
            waiting = [item.number for item in everything if item.state == TrialState.WAITING]
            trial = self._with_sampler(min(waiting, default=len(everything))).ask()
            self.claims.claim(_name_of(trial.number))
            return self._choose_values(trial)

    def is_searched(self) -> bool:
        """Whether all trials are finished, and there are as many as asked for."""
        trials = self.trials()
        goal = self.goal.trials
        is_complete = goal is not None and len(trials) >= goal
        return is_complete and all(trial.state.is_finished() for trial in trials)

    def is_claimed(self, trial: FrozenTrial) -> bool:
        """Whether some process works on a trial."""
        with self.claims.exclusive():
            if not self.claims.claim(_name_of(trial.number)):
                return True
            self.claims.release(_name_of(trial.number))
            return False

    def settings_of(self, values: Mapping[str, Any]) -> TrainSettings:
        """The settings of a trial, with the first of its seeds.

        Args:
            values: of the searched settings, as Optuna names them.

        Raises:
            UsageError: the values are not possible together.
        """
        return search_space.apply(self.definition.base, self.values_of(values))

    def values_of(self, labels: Mapping[str, Any]) -> dict[str, Any]:
        """The searched settings of a trial, from the values as Optuna names them."""
        return {
            dimension.name: dimension.value(labels[dimension.name])
            for dimension in self.definition.dimensions
            if dimension.name in labels
        }

    def runs_of(self, trial: int) -> list[Run]:
        """The runs of a trial, one per seed."""
        if self.definition.seeds == 1:
            return [Run(self.folder / f"trial-{trial}")]
        return [
            Run(self.folder / f"trial-{trial}-seed-{number}") for number in range(self.definition.seeds)
        ]

    def report(self, trial: Trial, values: Mapping[int, float]) -> bool:
        """Report values of a running trial that were not reported before; whether to prune it now.

        Args:
            trial: the trial.
            values: step -> value of the first objective, in the order of the steps.
        """
        if len(self.definition.objectives) > 1:  # Optuna has no reports for several
            return False
        reported = self._frozen(trial).intermediate_values
        for step, value in values.items():
            if step not in reported:
                trial.report(value, step)
                if trial.should_prune():
                    return True
        return trial.should_prune()

    def finish(
        self,
        trial: Trial,
        state: TrialState,
        metrics: Mapping[str, Any],
        values: Sequence[float] | None = None,
    ) -> None:
        """Finish a trial, and delete the weights of trials that are not the best.

        Args:
            trial: to finish.
            state: COMPLETE, PRUNED or FAIL.
            metrics: plain values to store with the trial.
            values: of the objectives, if it is complete.
        """
        trial.set_user_attr(METRICS, dict(metrics))
        with self.claims.exclusive():
            self._with_sampler(trial.number)
            # The sampler 'grid' ends the loop of `Study.optimize`, which there is none here.
            is_grid = samplers.is_grid(self.definition)
            with contextlib.suppress(*((RuntimeError,) if is_grid else ())):
                self._inner.tell(trial, values, state)
            if self.goal.keep == "best":
                self._delete_weights()
        self.release(trial)

    def release(self, trial: Trial) -> None:
        """Give back the claim on a trial."""
        self.claims.release(_name_of(trial.number))

    def best(self) -> FrozenTrial | None:
        """The best complete trial: by the first objective, then by the loss; None: there is none."""
        return min(self._complete(), key=self._rank, default=None)

    def front(self) -> list[FrozenTrial]:
        """The complete trials that no other trial surpasses in all objectives, the best one first."""
        if len(self.definition.objectives) == 1:
            return [best] if (best := self.best()) is not None else []
        return sorted(self._inner.best_trials, key=self._rank)

    def importances(self) -> dict[str, float]:
        """Setting -> its importance for being in the best quarter, by PED-ANOVA; they add up to 1.

        Empty if there are too few different trials.
        """
        if len({trial.values[0] for trial in self._complete()}) < _MIN_IMPORTANCE_TRIALS:
            return {}
        sign = -1 if self.definition.objective in MAXIMIZED else 1  # PED-ANOVA minimises
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.importance.get_param_importances(
                self._inner,
                evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25),
                target=lambda trial: sign * trial.values[0],
            )

    def confirmation(self, trial: int, number: int) -> dict[str, Any] | None:
        """The stored metrics of a confirmation run; None: it is not finished."""
        metrics: dict[str, Any] | None = self._inner.user_attrs.get(_confirmation_name(trial, number))
        return metrics

    def is_confirmed(self, trial: int) -> bool:
        """Whether all confirmation runs of a trial are finished."""
        return all(self.confirmation(trial, number) for number in range(self.goal.confirm))

    def claim_confirmation(self, trial: int) -> int | None:
        """Claim a confirmation run of a trial that is not finished; None: there is none to run now."""
        for number in range(self.goal.confirm):
            name = _confirmation_name(trial, number)
            if self.confirmation(trial, number) is None and self.claims.claim(name):
                if self.confirmation(trial, number) is None:
                    return number
                self.claims.release(name)
        return None

    def finish_confirmation(self, trial: int, number: int, metrics: Mapping[str, Any]) -> None:
        """Store the metrics of a confirmation run."""
        self._inner.set_user_attr(_confirmation_name(trial, number), dict(metrics))
        self.claims.release(_confirmation_name(trial, number))

    def confirmation_run(self, trial: int, number: int) -> Run:
        """A confirmation run."""
        return Run(self.folder / _confirmation_name(trial, number))

    def _complete(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]

    def _rank(self, trial: FrozenTrial) -> tuple[float, float, int]:
        sign = -1 if self.definition.objective in MAXIMIZED else 1
        return sign * trial.values[0], trial.user_attrs[METRICS]["validation_loss"], trial.number

    def _claim(self, frozen: FrozenTrial) -> bool:
        """Claim a trial that is running, unless another process works on it or has just finished it."""
        if not self.claims.claim(_name_of(frozen.number)):
            return False
        now = self._inner.get_trials(deepcopy=False)[frozen.number]
        if now.state == TrialState.RUNNING:
            return True
        self.claims.release(_name_of(frozen.number))
        return False

    def _with_sampler(self, trial: int) -> optuna.Study:
        self._inner.sampler = samplers.build_sampler(self.definition, trial=trial)
        return self._inner

    def _choose_values(self, trial: Trial) -> Trial:
        """Choose the values that a trial lacks. A process may have been killed while it chose them."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, distribution in self._distributions.items():
                trial._suggest(name, distribution)  # as `Study.ask` does
        return trial

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return self._inner.get_trials(deepcopy=False)[trial.number]

    def _delete_weights(self) -> None:
        """Delete the weights of all finished trials except the best ones."""
        kept = {trial.number for trial in self.front()}
        for trial in self.trials():
            if trial.state.is_finished() and trial.number not in kept:
                for run in self.runs_of(trial.number):
                    files.remove(run.model_path)
                    files.remove(run.state_path)


def folder_of(name: str) -> Path:
    """The folder of a study."""
    return ROOT / name


def _name_of(trial: int) -> str:
    return f"trial-{trial}"


def _confirmation_name(trial: int, number: int) -> str:
    return f"trial-{trial}-confirm-{number}"


def _load(store: Any, name: str, definition: Definition | None) -> optuna.Study:
    """Optuna's study; a new one gets its definition, and the recipe's values as its first trial."""
    names = {frozen.study_name for frozen in store.get_all_studies()}
    if definition is None and name not in names:
        raise UsageError(
            f"study '{name}' not found in this storage; studies: {', '.join(names) or 'none'}"
        )
    if definition is None:
        return optuna.load_study(study_name=name, storage=store)
    inner = optuna.create_study(
        study_name=name, storage=store, directions=definition.directions, load_if_exists=True
    )
    if _DEFINITION not in inner.user_attrs:  # new, or its process was killed here
        if any(trial.state != TrialState.WAITING for trial in inner.get_trials(deepcopy=False)):
            raise UsageError(f"study '{name}' exists in this storage, and is not one of mnistctl")
        if not inner.get_trials(deepcopy=False) and not samplers.is_grid(definition):
            values = search_space.values_in(definition.base, definition.dimensions)
            labels = {
                item.name: item.label(values[item.name])
                for item in definition.dimensions
                if item.name in values
            }
            inner.enqueue_trial(labels)
        inner.set_user_attr(_DEFINITION, definition.to_json())
    return inner
