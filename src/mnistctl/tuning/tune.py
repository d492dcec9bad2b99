"""The `tune` command: search for good settings, and confirm the best ones on other images."""

import dataclasses
import logging
import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mnistctl
from mnistctl.api.training import run_settings, session
from mnistctl.errors import (
    DataError,
    InterruptedRunError,
    MissingExtraError,
    MnistctlError,
    UsageError,
    look_up,
)
from mnistctl.run import run_folder
from mnistctl.settings.architectures import Architecture
from mnistctl.system import files, processes, signals, torchrun

try:
    from mnistctl.tuning import plots as study_plots
    from mnistctl.tuning import result as results
    from mnistctl.tuning import samplers, search_space, workers
    from mnistctl.tuning.definition import OBJECTIVES, PRUNERS, SAMPLERS, Definition
    from mnistctl.tuning.result import TuneResult
    from mnistctl.tuning.study import Goal, Study, folder_of
    from mnistctl.tuning.worker import Task
except ImportError as error:
    raise MissingExtraError(
        "the search is not installed; get it with: pip install 'mnistctl[tune]'"
    ) from error

_log = logging.getLogger(__name__)

TRIALS = 20  # of a search without a number of trials and a time
_KEEP = ("best", "all")
_LIMITS = {"trials": 100_000, "workers": 64, "seeds": 100, "confirm": 100}
_MAX_MINUTES = 60 * 24 * 365
_MAX_DEFAULT_WORKERS = 8
_POLL_SECONDS = 0.5

OnChange = Callable[[TuneResult], None]


def tune(
    arch: str | None = None,
    *,
    study: str | None = None,
    resume: str | None = None,
    search: Sequence[str] | Mapping[str, Any] = (),
    trials: int | None = None,
    minutes: float | None = None,
    workers: int | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    objective: str | Sequence[str] | None = None,
    seeds: int | None = None,
    confirm: int | None = None,
    keep: str | None = None,
    storage: str | None = None,
    recipe: str | None = None,
    config: Path | str | None = None,
    dataset: str | None = None,
    init: str | Path | None = None,
    plots: bool = True,
    data_dir: Path | None = None,
    on_change: OnChange | None = None,
    **settings: Any,
) -> TuneResult:
    """Search for good settings, and confirm the best ones with other seeds on another split.

    Trials are judged by validation images. The confirmation runs hold out other images for
    validation. Only they are evaluated on the test set, after the search.

    Each trial is a run in `runs/STUDY/`. All processes that use the same study and storage work on it
    together. A killed process loses at most a minute: its trial is resumed from its saved state.

    Args:
        arch: see `train`.
        study: the name of a new study, or of one that exists and is the same; None: the first free one.
        resume: the name of a study to continue. Then only `trials`, `minutes`, `workers`, `confirm`,
            `keep`, `storage`, `plots`, `data_dir` and a custom `arch` can be given.
        search: the search space: texts such as "learning_rate=1e-4..1e-1:log" and "hidden=64,128-64",
            or a dictionary of ranges as texts and choices as lists. Empty: the table [search] of
            `config`, or the default space of the architecture.
        trials: the number of trials of the whole study; None: 20, or no limit with `minutes`.
        minutes: how long this call searches. Running trials are interrupted then.
        workers: processes on this machine; None: one per core on the CPU, at most 8; one on a GPU.
        sampler: tpe, gp, cmaes, qmc, random or grid; None: tpe.
        pruner: median, hyperband, wilcoxon or none; None: median, or wilcoxon with several seeds.
        objective: accuracy, loss, parameters, multiply_adds or train_seconds, or several of them; None:
            accuracy. The first one decides which trial is the best.
        seeds: the runs of a trial; its metrics are their means. None: 1.
        confirm: the number of confirmation runs; None: 3.
        keep: whose weights are kept: "best" or "all"; None: best.
        storage: postgresql://…, a database that several machines can reach; None: a journal file in the
            study's folder.
        recipe: see `train`.
        config: see `train`; TOML may have a table [search].
        dataset: see `train`.
        init: see `train`.
        plots: whether to draw plots into the study's folder.
        data_dir: the data folder; None: the default.
        on_change: called about twice a second with the state of the study.
        settings: see `train`; they hold for all trials.

    Raises:
        UsageError: a value is wrong, the study is not found, or it is another one.
        DataError: the dataset or the storage is damaged or unavailable.
        MissingExtraError: Optuna is not installed.
        InterruptedRunError: Ctrl-C, SIGTERM or SIGHUP; the study can be resumed.
        WriteError: a file cannot be written, for example on a full disk; the study can be resumed.
    """
    if torchrun.processes() > 1:
        raise UsageError("tune cannot run below torchrun; start it on each machine instead")
    _check_numbers(trials=trials, workers=workers, seeds=seeds, confirm=confirm, minutes=minutes)
    if keep is not None:
        look_up("value of --keep", keep, dict.fromkeys(_KEEP))
    described = {
        "search": search or None,
        "sampler": sampler,
        "pruner": pruner,
        "objective": objective,
        "seeds": seeds,
        "recipe": recipe,
        "config": config,
        "dataset": dataset,
        "init": init,
        **settings,
    }
    given = {name: value for name, value in described.items() if value is not None}
    definition = None
    if resume is None:
        definition = define(arch, given, data_dir=data_dir)
        study = _new_name(study, definition, storage)
    elif study is not None or given:
        name = next(iter(given), "name")
        raise UsageError(f"--resume {resume}: a study keeps its {name.replace('_', '-')}")
    with Study.open(resume or str(study), storage, definition=definition) as opened:
        _check_custom(opened, arch)
        opened.set_goal(choose_goal(opened, trials, minutes, confirm, keep))
        try:
            _run(
                opened,
                Task(opened.name, storage, None if data_dir is None else str(data_dir), is_search=True),
                count=workers or _default_workers(opened.definition),
                minutes=minutes,
                on_change=on_change or (lambda state: None),
            )
        except MnistctlError as error:
            advice = f"; resume with: {_resume_command(opened.name, storage)}"
            if isinstance(error, UsageError | DataError) or "resume with" in str(error):
                advice = ""
            raise _with_text(error, f"{error}{advice}") from error
        return finish(opened, plots=plots)


def read_study(study: str, *, storage: str | None = None) -> TuneResult:
    """The state of a study: its trials, the best of them, and the confirmation.

    Args:
        study: its name.
        storage: postgresql://…, the database that it is stored in; None: its folder.

    Raises:
        UsageError: the study is not found.
        DataError: the storage is damaged or unavailable.
    """
    with Study.open(study, storage) as opened:
        return results.read(opened, with_claims=True)


def define(arch: str | None, given: Mapping[str, Any], *, data_dir: Path | None) -> Definition:
    """The definition of a study that a call describes. Loads the data, to know its hash."""
    own = ("search", "sampler", "pruner", "objective", "seeds", "config")
    config = given.get("config")
    options = {"arch": arch, **{name: value for name, value in given.items() if name not in own}}
    start = run_settings.resolve(config, options, without=("search",))
    search = given.get("search") or (search_space.read(Path(config)) if config else ())
    seeds = given.get("seeds", 1)
    objectives = _objectives(given.get("objective", "accuracy"))
    sampler, pruner = given.get("sampler", "tpe"), given.get("pruner")
    if pruner is None:
        pruner = "none" if len(objectives) > 1 else "median" if seeds == 1 else "wilcoxon"
    look_up("sampler", sampler, dict.fromkeys(SAMPLERS))
    look_up("pruner", pruner, dict.fromkeys(PRUNERS))
    if len(objectives) > 1 and pruner != "none":
        raise UsageError(f"--pruner {pruner}: trials with several objectives cannot be pruned")
    if pruner == "wilcoxon" and seeds == 1:
        raise UsageError("--pruner wilcoxon compares seed by seed; use --seeds 2 or more")
    space = search_space.resolve(search, start.settings)
    from mnistctl.nn import devices  # imports torch, 1.2 s

    devices.resolve(start.settings.device)
    settings, train, validation = session.load_data(start, data_dir)
    if not len(validation.images):
        raise UsageError("--validation-size 0: a search needs validation images")
    definition = Definition(
        version=mnistctl.__version__,
        settings=settings.to_json(),
        data_sha256=train.all_sha256,
        space={dimension.name: dimension.to_json() for dimension in space},
        objectives=objectives,
        sampler=sampler,
        pruner=pruner,
        seeds=seeds,
        sampler_seed=settings.seed,
    )
    if samplers.is_grid(definition):
        definition.grid_size  # noqa: B018 - checks that there is a grid
    return definition


def _objectives(text: str | Sequence[str]) -> list[str]:
    names = text.split(",") if isinstance(text, str) else list(text)
    for name in names:
        look_up("objective", name.strip().replace("-", "_"), dict.fromkeys(OBJECTIVES))
    names = [name.strip().replace("-", "_") for name in names]
    if len(set(names)) < len(names):
        raise UsageError(f"--objective {','.join(names)}: an objective is named twice")
    return names


def _new_name(study: str | None, definition: Definition, storage: str | None) -> str:
    """The name of a study that may exist; a free one if the user has named none."""
    base = definition.base
    if study is None:
        if storage is not None:
            raise UsageError("--storage: name the study, as in: mnistctl tune STUDY --storage …")
        return run_folder.create_numbered(base.dataset, f"{base.recipe or base.arch}-study").name
    run_folder.check_name(study, "study")
    if run_folder.Run(folder_of(study)).config_path.is_file():
        raise UsageError(f"'{study}' is a run; choose another name for the study")
    files.make_folder(folder_of(study))
    return study


def _check_numbers(**values: float | None) -> None:
    for name, value in values.items():
        if value is None:
            continue
        if name == "minutes":
            if not 0 < value <= _MAX_MINUTES:
                raise UsageError(
                    f"--minutes {value:g}: expected a number above 0, at most {_MAX_MINUTES:,}"
                )
        elif not (0 if name == "confirm" else 1) <= value <= _LIMITS[name]:
            lowest = 0 if name == "confirm" else 1
            raise UsageError(f"--{name} {value}: expected from {lowest} to {_LIMITS[name]:,}")


def _check_custom(study: Study, arch: str | None) -> None:
    """Check that the user has named a custom architecture, whose file is executed."""
    stored = study.definition.base.arch
    if arch is not None and arch != stored:
        raise UsageError(f"study '{study.name}': its architecture is {stored}, not {arch}")
    if arch is None and Architecture.parse(stored).is_custom:
        raise UsageError(
            f"study '{study.name}': its architecture is custom, and mnistctl runs no code that only a "
            f"study names; if you trust it, add --arch {stored}"
        )


def choose_goal(
    study: Study, trials: int | None, minutes: float | None, confirm: int | None, keep: str | None
) -> Goal:
    """When the study is finished: what the user says now, or else what was said before."""
    if study.has_goal:
        before = study.goal
        trials = trials or before.trials
        confirm = before.confirm if confirm is None else confirm
        keep = keep or before.keep
    elif trials is None and minutes is None:
        trials = TRIALS
    if samplers.is_grid(study.definition):
        trials = min(trials or math.inf, study.definition.grid_size)  # type: ignore[assignment]
    return Goal(trials, 3 if confirm is None else confirm, keep or "best")


def _default_workers(definition: Definition) -> int:
    from mnistctl.nn import devices

    if devices.resolve(definition.base.device).type != "cpu":
        return 1
    return min(processes.usable_cores(), _MAX_DEFAULT_WORKERS)


def _run(study: Study, task: Task, *, count: int, minutes: float | None, on_change: OnChange) -> None:
    """Search until the study is finished or the time is over, then confirm the best settings."""
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes
    with signals.deferred() as interrupt:
        state = _work(study, task, count, interrupt, on_change, end)
        if not state.is_finished:
            _log.info(f"the time is over after {len(state.trials)} trials")
            task = dataclasses.replace(task, is_search=False)
            _work(study, task, min(count, max(study.goal.confirm, 1)), interrupt, on_change)


def _work(
    study: Study,
    task: Task,
    count: int,
    interrupt: signals.Interrupt,
    on_change: OnChange,
    end: float = math.inf,
) -> TuneResult:
    """Let processes work until their task is done or the time is over."""
    before = 0
    state = results.read(study)
    if state.is_finished:
        return state
    with workers.start(task, count) as group:
        while True:
            on_change(state)
            if state.is_finished or (not task.is_search and state.is_confirmed):
                return state
            if interrupt.signal is not None:
                raise InterruptedRunError(
                    f"interrupted; {sum(map(results.is_done, state.trials))} trials are finished",
                    exit_code=interrupt.exit_code,
                )
            if time.monotonic() >= end:
                return state
            progress = sum(trial.epochs for trial in state.trials) + len(state.confirmations)
            if progress != before:
                group.note_progress()
                before = progress
            group.check()
            study.claims.check()
            time.sleep(_POLL_SECONDS)
            state = results.read(study)


def finish(study: Study, *, plots: bool) -> TuneResult:
    """Write the best settings, draw the plots, and read the result."""
    state = results.read(study, with_claims=True)
    if state.best is None:
        errors = [trial.error for trial in state.trials if trial.error]
        raise MnistctlError(
            f"study '{study.name}': no trial is complete"
            + (f"; the last one: {errors[-1]}" if errors else "")
        )
    config = results.write_config(study, state)
    drawn = study_plots.draw(study, state) if plots else []
    return dataclasses.replace(
        state, config=None if config is None else str(config), plots=[str(path) for path in drawn]
    )


def _resume_command(study: str, storage: str | None) -> str:
    """The command that resumes a study. A database's address may hold a password, and is left out."""
    return f"mnistctl tune --resume {shlex.quote(study)}" + (" --storage URL" if storage else "")


def _with_text(error: MnistctlError, text: str) -> MnistctlError:
    """An error of the same kind with another text."""
    if isinstance(error, InterruptedRunError):
        return InterruptedRunError(text, exit_code=error.exit_code)
    changed = type(error)(text)
    changed.exit_code = error.exit_code
    return changed
