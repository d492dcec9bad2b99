"""Resume an interrupted run: find it, check that it is the same training, and prepare its folder."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.api.training import run_settings, state_file
from mnistctl.api.training.run_settings import Start
from mnistctl.api.training.state_file import SavedState
from mnistctl.errors import UsageError, shorten
from mnistctl.run import run_folder
from mnistctl.run.run_folder import Run
from mnistctl.settings.architectures import Architecture
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import files, torchrun

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

_CHANGEABLE = ("epochs", "min_steps", "device")


@contextlib.contextmanager
def open_run(name: str | Path, options: dict[str, Any]) -> Iterator[Start]:
    """Lock the run of this name or folder, and read what it resumes from.

    Args:
        name: of the run, or its folder.
        options: settings that the user gave; None: not given.

    Raises:
        UsageError: the run is not found, another process is training it, or an option contradicts it.
        ModelError: its files cannot be read.
    """
    run = _find(name)
    with run.locked():
        original = run.read_settings()
        settings = _resolve_settings(run, original, options)
        lengths = [(of.epochs, of.min_steps) for of in (settings, original)]
        if run.result_path.is_file() and lengths[0] == lengths[1]:
            yield Start(settings, run=run, is_finished=True)
            return
        saved = state_file.load(run)
        initial_model = run_settings.reopen_initial_model(settings, is_resumed=saved is not None)
        yield Start(settings, initial_model, run=run, saved=saved)


def _find(name: str | Path) -> Run:
    run = run_folder.find(name)
    if run is not None:
        return run
    names = ", ".join(sorted(run.folder.name for run in run_folder.find_all()))
    raise UsageError(f"--resume {shorten(str(name))}: run not found; runs here: {names or 'none'}")


def _resolve_settings(run: Run, original: TrainSettings, options: dict[str, Any]) -> TrainSettings:
    """The run's settings, with the length and the device that the options ask for."""
    options = {name: value for name, value in options.items() if value is not None}
    if "dataset" in options:
        options["dataset"] = datasets.canonical_name(options["dataset"])
    if "init" in options:
        options["init"] = str(models.find_model(options["init"]))
    options |= options.pop("arch_args", {})
    if "epochs" in options:
        options.setdefault("min_steps", 0)
    for name, value in options.items():
        before = getattr(original, name, original.arch_args.get(name))
        same = list(value) == list(before or ()) if isinstance(value, list | tuple) else value == before
        if name not in _CHANGEABLE and not same:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"--resume {run.folder}: the run was started with {option} {before}, not {value}"
            )
    _check_custom_file(run, original, options.get("arch"))
    return original.replace(**{name: options[name] for name in _CHANGEABLE if name in options})


def _check_custom_file(run: Run, settings: TrainSettings, arch: str | None) -> None:
    """Check that the user names a custom architecture again, and that its file is unchanged."""
    architecture = Architecture.parse(settings.arch)
    if not architecture.is_custom:
        return
    if arch is None:
        raise UsageError(
            f"--resume {run.folder}: its architecture is custom, and mnistctl runs no code that only a "
            f"file names; if you trust it, add --arch {settings.arch}"
        )
    if architecture.sha256 != settings.arch_sha256:
        raise UsageError(
            f"--resume {run.folder}: {architecture.file} has changed since the run was started"
        )


def prepare(
    run: Run,
    saved: SavedState | None,
    settings: TrainSettings,
    train: datasets.Split,
    device: "torch.device",
) -> None:
    """Check that a run resumes with the data it was started with, and prepare its folder.

    Raises:
        UsageError: the data has changed, more steps are done than the settings ask for, or a batch has
            fewer images than there are processes.
        WriteError: the folder cannot be written.
    """
    from mnistctl.nn.trainer import plan_steps

    plan = plan_steps(settings, len(train.images), processes=torchrun.processes())
    if saved is None:
        _log.info(f"{run.folder}: no state was saved, so training starts again")
        run.truncate_metrics(0)
        return
    if saved.data_sha256 != train.all_sha256:
        raise UsageError(
            f"--resume {run.folder}: the data of '{settings.dataset}' has changed: SHA-256 "
            f"{train.all_sha256[:12]}…, expected {saved.data_sha256[:12]}…"
        )
    steps = saved.state.steps
    if steps > plan.steps:
        raise UsageError(
            f"--resume {run.folder}: {steps:,} steps are done already, but --epochs "
            f"{settings.epochs:g} is only {plan.steps:,}"
        )
    environment = state_file.environment(device)
    changes = [name for name, value in environment.items() if saved.environment.get(name) != value]
    if changes:
        _log.warning(
            f"{run.folder} was started with another {', '.join(changes)}: the weights will not be the "
            "same bit for bit"
        )
    if saved.total_steps != plan.steps:
        _log.info(f"the learning-rate schedule is now that of a run of {plan.steps:,} steps")
    _log.info(f"resuming {run.folder} after step {steps:,} of {plan.steps:,}")
    # An epoch that was interrupted is not kept: it will be completed and measured again.
    run.truncate_metrics(steps // plan.steps_per_epoch)
    files.remove(run.result_path)
