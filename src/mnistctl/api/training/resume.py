"""Going on with a run that was cut short, and saving where it has come to."""

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.errors import ModelError, UsageError
from mnistctl.models import hashed_safetensors
from mnistctl.run import run_folder
from mnistctl.run.epoch import Epoch
from mnistctl.run.run_folder import Run
from mnistctl.settings import architectures
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import files, provenance, torchrun

if TYPE_CHECKING:
    import torch

    from mnistctl.nn.training_state import State

_log = logging.getLogger(__name__)

FORMAT_VERSION = 1
_MAY_CHANGE = ("epochs", "min_steps", "device")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Standing:
    """Which epochs were the best so far."""

    best: Epoch | None = None  # the saved model's
    gained: int = 0  # the last one that was better, not only as good

    def after(self, epoch: Epoch) -> "Standing":
        """When this epoch's model has been saved as the best."""
        accuracy = self.best.validation_accuracy or 0 if self.best else -1.0
        is_gain = (epoch.validation_accuracy or 0) > accuracy
        return Standing(epoch, epoch.epoch if is_gain else self.gained)


@dataclass(frozen=True)
class Saved:
    """What a run saved between two steps."""

    state: "State"
    standing: Standing
    config: dict[str, Any]
    data_sha256: str
    surroundings: dict[str, str]


def save(
    run: Run,
    state: "State",
    standing: Standing,
    *,
    config: TrainSettings,
    data_sha256: str,
    surroundings: dict[str, str],
) -> None:
    """Write where a run has come to, whole or not at all.

    Raises:
        WriteError: it cannot be written.
    """
    values = {
        "training_state": FORMAT_VERSION,
        "state": state.to_json(),
        "best": standing.best and standing.best.to_json(),
        "gained": standing.gained,
        "config": config.to_json(),
        "data_sha256": data_sha256,
        "surroundings": surroundings,
    }
    hashed_safetensors.save(run.state_path, state.tensors, values)


def load(run: Run) -> Saved | None:
    """Where a run had come to; None: it had not got as far as to save anything.

    Raises:
        ModelError: what it saved is damaged.
    """
    from mnistctl.nn.training_state import State

    if not run.state_path.exists():
        return None
    values, tensors, _ = hashed_safetensors.load(run.state_path)
    try:
        if values["training_state"] != FORMAT_VERSION:
            raise ModelError(f"{run.state_path}: of another version of mnistctl")
        best = values["best"] and Epoch(**values["best"])
        return Saved(
            State(tensors=tensors, **values["state"]),
            Standing(best, values["gained"]),
            values["config"],
            values["data_sha256"],
            values["surroundings"],
        )
    except (KeyError, TypeError) as error:
        raise ModelError(f"{run.state_path}: not where a training run had come to") from error


def surroundings(device: "torch.device") -> dict[str, str]:
    """What a run's weights depend on, bit by bit, besides its settings."""
    import torch

    return provenance.versions() | {
        "device": device.type,
        "number of threads": str(torch.get_num_threads()),
        "number of processes": str(torchrun.processes()),
    }


def standing_of(saved: Saved | None, config: TrainSettings) -> Standing:
    """Which epochs were the best of a run that goes on; to another length with new patience."""
    if saved is None:
        return Standing()
    if _length(saved.config) == _length(config.to_json()):
        return saved.standing
    return replace(saved.standing, gained=saved.state.epoch)


def _length(config: Mapping[str, Any]) -> tuple[Any, Any]:
    return config["epochs"], config["min_steps"]


def find(name: str | Path) -> Run:
    """The run that is to go on: its folder or its name.

    Raises:
        UsageError: there is none of that name.
    """
    for folder in (Path(name), run_folder.ROOT / name):
        run = Run(folder)
        if run.config_path.is_file():
            return run
    known = ", ".join(sorted(run.folder.name for run in run_folder.find_all()))
    raise UsageError(f"--resume {name}: no such run; known here: {known or 'none'}")


def config_of(run: Run, options: dict[str, Any]) -> tuple[TrainSettings, bool]:
    """The settings to go on with, and whether the run has come to its end by them already.

    They are the run's, with another length or device if that is asked for.

    Args:
        run: that is to go on.
        options: what was asked for; None: not given.

    Raises:
        UsageError: something else than the run began with.
        ModelError: its settings cannot be read.
    """
    try:
        begun = TrainSettings(**run.read_config())
    except TypeError as error:
        raise ModelError(f"{run.config_path}: not the settings of a run ({error})") from error
    asked = {name: value for name, value in options.items() if value is not None}
    if "dataset" in asked:
        asked["dataset"] = datasets.canonical(asked["dataset"])
    if "init" in asked:
        asked["init"] = str(models.find(asked["init"]))
    if "epochs" in asked:
        asked.setdefault("min_steps", 0)
    for name, value in asked.items():
        before = getattr(begun, name, begun.arch_args.get(name))
        same = list(value) == list(before or ()) if isinstance(value, list | tuple) else value == before
        if name not in _MAY_CHANGE and not same:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"--resume {run.folder}: begun with {option} {before}, not {value}")
    _check_source(begun, asked.get("arch"), run)
    chosen = begun.replace(**{name: asked[name] for name in _MAY_CHANGE if name in asked})
    is_same_length = _length(chosen.to_json()) == _length(begun.to_json())
    return chosen, run.result_path.is_file() and is_same_length


def _check_source(begun: TrainSettings, arch: str | None, run: Run) -> None:
    """Check a person's own class: a run folder alone runs no code, and it must be what it was."""
    source = architectures.custom_source(begun.arch)
    if source is None:
        return
    if arch is None:
        raise UsageError(
            f"--resume {run.folder}: its net is a class of somebody's own, and a run folder runs no "
            f"code by itself; if you trust it, add --arch {begun.arch}"
        )
    if not source[0].is_file() or files.sha256(source[0].read_bytes()) != begun.arch_sha256:
        raise UsageError(f"--resume {run.folder}: {source[0]} is not what the run was begun with")


def prepare(
    run: Run,
    saved: Saved | None,
    config: TrainSettings,
    train: datasets.Split,
    device: "torch.device",
) -> None:
    """Make a run's folder ready to go on, after checking that it goes on with what it began with.

    Raises:
        UsageError: its data have changed, or it has come further than is asked for, or a step has fewer
            images than there are processes.
        WriteError: it cannot be written.
    """
    from mnistctl.nn.trainer import plan_steps

    _, _, steps = plan_steps(config, len(train.images), processes=torchrun.processes())
    if saved is None:
        _log.info(f"{run.folder}: nothing was saved yet, so it begins again")
        run.cut_metrics(0)
        return
    if saved.data_sha256 != train.sha256:
        raise UsageError(
            f"--resume {run.folder}: the data of '{config.dataset}' have changed: SHA-256 "
            f"{train.sha256[:12]}…, begun with {saved.data_sha256[:12]}…"
        )
    state = saved.state
    if state.steps > steps:
        raise UsageError(
            f"--resume {run.folder}: has done {state.steps:,} steps; --epochs {config.epochs:g} are "
            f"{steps:,}"
        )
    now = surroundings(device)
    changed = [name for name, value in now.items() if saved.surroundings.get(name) != value]
    if changed:
        _log.warning(
            f"begun with another {', '.join(changed)}: the weights will not be the same bit for bit"
        )
    if _length(config.to_json()) != _length(saved.config):
        _log.info(f"{steps:,} steps in all now: the schedule is that of a run so long")
    _log.info(f"going on with {run.folder} after step {state.steps:,} of {steps:,}")
    # An epoch that was cut short comes again, whole; unless it is the last.
    run.cut_metrics(state.epoch if state.steps < steps else state.epoch + 1)
    files.remove(run.result_path)


class Saver:
    """Decides when to save between two steps, and does.

    Args:
        every: "200steps", "30s", "5m" or "1h"; None: each minute.
        write: writes a state.

    Raises:
        UsageError: `every` is none of these.
    """

    def __init__(self, every: str | None, write: Callable[["State"], None]) -> None:
        self._steps, self._seconds = interval(every)
        self._write = write
        self._done = 0
        self._last = time.monotonic()

    def step(self, state: Callable[[], "State"], *, at_once: bool = False) -> None:
        """A step is done."""
        self._done += 1
        if at_once:
            due = True
        elif self._steps:
            due = self._done % self._steps == 0
        else:
            due = time.monotonic() - self._last >= self._seconds
        if due:
            self.save(state)

    def save(self, state: Callable[[], "State"]) -> None:
        """Save now; what has diverged is not saved."""
        found = state()
        if found.is_finite():
            self._write(found)
        self._last = time.monotonic()


def interval(every: str | None) -> tuple[int, float]:
    """Steps between two saves, or 0 and the seconds between them.

    Raises:
        UsageError: not such a text.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,8})(steps?|[smh])", "1m" if every is None else every)
    if found is None:
        raise UsageError(f"--save-every {every}: expected steps or a time: 200steps, 30s, 5m, 1h")
    number, unit = int(found[1]), found[2]
    return (number, 0.0) if unit.startswith("step") else (0, number * _UNITS[unit])
