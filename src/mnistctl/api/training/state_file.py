"""The saved state of a run, `last.safetensors`: all that is needed to resume it bit for bit."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from mnistctl.errors import ModelError
from mnistctl.models import hashed_safetensors
from mnistctl.run.epoch import Epoch
from mnistctl.run.run_folder import Run
from mnistctl.system import provenance, records, torchrun

if TYPE_CHECKING:
    import torch

    from mnistctl.nn.training_state import TrainingState

FORMAT_VERSION = 3
_THREADS = "number of threads"  # a key of `SavedState.environment`


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch so far, and when the validation accuracy last rose."""

    epoch: Epoch | None = None  # the epoch of the saved model
    last_gain: int = 0  # the number of the last epoch that was better, not only as good

    def update(self, epoch: Epoch) -> "BestEpoch":
        """With a new best epoch, as good as the old one or better."""
        accuracy = (self.epoch.validation_accuracy or 0) if self.epoch else -1.0
        is_gain = (epoch.validation_accuracy or 0) > accuracy
        return BestEpoch(epoch, epoch.epoch if is_gain else self.last_gain)


@dataclass(frozen=True)
class SavedState:
    """The content of a state file."""

    state: "TrainingState"
    best: BestEpoch
    total_steps: int  # that the learning-rate schedule was made for
    data_sha256: str
    environment: dict[str, str]


@dataclass(frozen=True)
class _Content:
    """The metadata of a state file."""

    training_state: int  # the version of the format
    steps: Annotated[int, Meta(ge=0)]
    train_seconds: Annotated[float, Meta(ge=0, le=1e10)]
    total_steps: Annotated[int, Meta(ge=1)]
    best_epoch: dict[str, Any] | None
    last_gain: Annotated[int, Meta(ge=0)]
    data_sha256: str
    environment: dict[str, str]


def environment(device: "torch.device") -> dict[str, str]:
    """Everything other than the settings that affects the weights bit for bit."""
    import torch

    return provenance.versions() | {
        "device": device.type,
        _THREADS: str(torch.get_num_threads()),
        "number of processes": str(torchrun.processes()),
    }


def threads(saved: SavedState) -> int | None:
    """The number of CPU threads that the run was trained with; None: not known."""
    count = saved.environment.get(_THREADS, "")
    return int(count) if re.fullmatch("[1-9][0-9]{0,4}", count) else None


def save(run: Run, saved: SavedState) -> None:
    """Write a run's state file, whole or not at all.

    Raises:
        WriteError: the file cannot be written.
    """
    content = _Content(
        training_state=FORMAT_VERSION,
        steps=saved.state.steps,
        train_seconds=saved.state.train_seconds,
        total_steps=saved.total_steps,
        best_epoch=None if saved.best.epoch is None else saved.best.epoch.to_json(),
        last_gain=saved.best.last_gain,
        data_sha256=saved.data_sha256,
        environment=saved.environment,
    )
    hashed_safetensors.save(run.state_path, saved.state.tensors, vars(content))


def load(run: Run) -> SavedState | None:
    """Read and verify a run's state file; None: the run has not saved any.

    Raises:
        ModelError: the file is damaged, or of another version.
    """
    from mnistctl.nn.training_state import TrainingState

    path = run.state_path
    if not path.exists():
        return None
    values, tensors, _ = hashed_safetensors.load(path)
    version = values.get("training_state")
    if version is None:
        raise ModelError(f"{path}: not a training state")
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path}: training state version {version}, expected {FORMAT_VERSION}: the run cannot be "
            f"resumed; start it again with: mnistctl train --config {run.config_path}"
        )
    try:
        content = records.build(_Content, values)
        best = None if content.best_epoch is None else records.build(Epoch, content.best_epoch)
    except ValueError as error:
        raise ModelError(f"{path}: not a training state ({error})") from error
    return SavedState(
        TrainingState(content.steps, content.train_seconds, tensors),
        BestEpoch(best, content.last_gain),
        total_steps=content.total_steps,
        data_sha256=content.data_sha256,
        environment=content.environment,
    )
