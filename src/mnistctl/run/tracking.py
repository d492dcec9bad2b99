"""Trackers write settings, metrics, plots and the model of a run for other tools."""

import contextlib
import importlib.util
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnistctl.errors import (
    InterruptedRunError,
    MissingExtraError,
    ModelError,
    UsageError,
    one_line,
    unknown_name,
)
from mnistctl.run.epoch import Epoch
from mnistctl.run.run_folder import Run
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import files

_log = logging.getLogger(__name__)

_PROJECT = "mnistctl"  # of MLflow and W&B, unless their own variables name another
_PLOT_SUFFIX = ".png"  # of the plots that TensorBoard and W&B can show


class Tracker:
    """Writes nothing; a subclass writes what its tool shows."""

    def epoch(self, epoch: Epoch) -> None:
        """Write the metrics of an epoch."""

    def finish(self, model: Path, plots: Sequence[Path]) -> None:
        """Write the model and the plots of a finished run."""

    def close(self, *, finished: bool) -> None:
        """Write what is left. `finished`: the run has not failed and was not interrupted."""


class _TensorBoard(Tracker):
    """Writes to the folder `tensorboard` in the run folder."""

    def __init__(self, run: Run, settings: TrainSettings) -> None:
        from torch.utils.tensorboard import SummaryWriter  # 1 s
        from torch.utils.tensorboard.summary import hparams

        self._writer = SummaryWriter(str(run.folder / "tensorboard"))
        self._writer.add_text("config", f"```\n{json.dumps(settings.to_json(), indent=2)}\n```")
        # `SummaryWriter.add_hparams` would write them to a folder of their own.
        for summary in hparams(_parameters(settings), {"accuracy/validation": 0, "loss/validation": 0}):
            self._writer._get_file_writer().add_summary(summary)

    def epoch(self, epoch: Epoch) -> None:
        for name, value in _metrics(epoch).items():
            self._writer.add_scalar(name, value, epoch.epoch)
        self._writer.flush()

    def finish(self, model: Path, plots: Sequence[Path]) -> None:
        import numpy as np
        from PIL import Image

        for path in plots:
            if path.suffix == _PLOT_SUFFIX:
                with Image.open(path) as plot:
                    pixels = np.asarray(plot.convert("RGB"))
                self._writer.add_image(f"plots/{path.stem}", pixels, dataformats="HWC")

    def close(self, *, finished: bool) -> None:
        self._writer.close()


class _MLflow(Tracker):
    """Writes to MLFLOW_TRACKING_URI, else to the default of MLflow: mlflow.db and mlruns."""

    def __init__(self, run: Run, settings: TrainSettings) -> None:
        # By default MLflow waits for a server that is gone for many minutes, at every epoch.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")  # seconds
        import mlflow  # 1 s
        from mlflow.entities import Param

        for name in ("mlflow", "alembic"):  # they log every step of creating a database
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = mlflow.MlflowClient()
        stored = _read_id(run, "mlflow")
        if stored is not None and self._resume(stored):
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._id = self._client.create_run(experiment_id, run_name=run.folder.name).info.run_id
        parameters = [Param(key, str(value)) for key, value in _parameters(settings).items()]
        self._client.log_batch(self._id, params=parameters)
        _write_id(run, "mlflow", self._id)

    def _resume(self, run_id: str) -> bool:
        """Continue the MLflow run of this ID, unless the store does not have it."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException:
            return False
        self._id = run_id
        return True

    def epoch(self, epoch: Epoch) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, epoch.epoch) for name, value in _metrics(epoch).items()]
        self._client.log_batch(self._id, metrics=metrics)

    def finish(self, model: Path, plots: Sequence[Path]) -> None:
        self._client.log_artifact(self._id, str(model), "model")
        for path in plots:
            self._client.log_artifact(self._id, str(path), "plots")

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


class _WandB(Tracker):
    """Writes to W&B, or with WANDB_MODE=offline to the folder `wandb` in the run folder."""

    def __init__(self, run: Run, settings: TrainSettings) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb  # 1 s

        self._wandb = wandb
        is_online = wandb.setup().settings.mode == "online"
        if is_online and not wandb.login(prompt=False, verify=False):  # it would ask on the terminal
            raise UsageError("not logged in; run 'wandb login', or set WANDB_MODE=offline")
        run_id = _read_id(run, "wandb") or uuid.uuid4().hex[:8]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=run.folder.name,
            id=run_id,
            resume="allow",  # online only; an offline run of the same ID is merged by `wandb sync`
            dir=str(run.folder),
            config=_parameters(settings),
            settings=wandb.Settings(
                console="off",
                silent=True,
                save_code=False,
                init_timeout=30,  # seconds, as is the next
                finish_timeout=60,
                finish_timeout_raises=True,
            ),
        )
        _write_id(run, "wandb", run_id)
        # A resumed run may write an epoch again, and W&B's own steps only ever grow.
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")
        if self._run.offline:
            _log.info(
                f"W&B is offline; upload the run later with: wandb sync {Path(self._run.dir).parent}"
            )
        else:
            _log.info(f"tracked at {self._run.url}")

    def epoch(self, epoch: Epoch) -> None:
        self._run.log({**_metrics(epoch), "epoch": epoch.epoch})

    def finish(self, model: Path, plots: Sequence[Path]) -> None:
        images = [path for path in plots if path.suffix == _PLOT_SUFFIX]
        if images:
            self._run.log({f"plots/{path.stem}": self._wandb.Image(str(path)) for path in images})
        artifact = self._wandb.Artifact(f"{self._run.name}-model", type="model")
        artifact.add_file(str(model))
        self._run.log_artifact(artifact)

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


@dataclass(frozen=True)
class _Tool:
    extra: str  # of mnistctl, which installs the package
    open: Callable[[Run, TrainSettings], Tracker]


TRACKERS = {  # name, which is also that of the package -> tool
    "tensorboard": _Tool("track", _TensorBoard),
    "mlflow": _Tool("mlflow", _MLflow),
    "wandb": _Tool("wandb", _WandB),
}


class _Trackers(Tracker):
    """Passes everything on to several trackers. One that fails is left out from then on."""

    def __init__(self) -> None:
        self._open: dict[str, Tracker] = {}

    def add(self, name: str, run: Run, settings: TrainSettings) -> None:
        """Open a tracker.

        Raises:
            UsageError: its tool reports an error.
        """
        try:
            self._open[name] = TRACKERS[name].open(run, settings)
        except InterruptedRunError:
            raise
        except Exception as error:  # each tool raises errors of its own
            raise UsageError(f"--track {name}: cannot be started ({one_line(error)})") from error

    def epoch(self, epoch: Epoch) -> None:
        self._call(lambda tracker: tracker.epoch(epoch))

    def finish(self, model: Path, plots: Sequence[Path]) -> None:
        self._call(lambda tracker: tracker.finish(model, plots))

    def close(self, *, finished: bool) -> None:
        self._call(lambda tracker: tracker.close(finished=finished))

    def _call(self, action: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            try:
                action(tracker)
            except InterruptedRunError:
                raise
            except Exception as error:
                del self._open[name]
                _log.warning(
                    f"--track {name} failed ({one_line(error)}); training continues without it"
                )


def check(track: str | None) -> None:
    """Check that trackers exist and are installed.

    Args:
        track: their names, separated by commas; None: no tracker.

    Raises:
        UsageError: a tracker is unknown.
        MissingExtraError: it is not installed.
    """
    for name in _names(track):
        if name not in TRACKERS:
            raise unknown_name("tracker", name, TRACKERS)
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(
                f"--track {name}: not installed; install it with: "
                f"pip install 'mnistctl[{TRACKERS[name].extra}]'"
            )


@contextlib.contextmanager
def open_tracker(track: str | None, run: Run, settings: TrainSettings) -> Iterator[Tracker]:
    """The trackers of these names; see `check`.

    Raises:
        UsageError: a tracker cannot be started.
    """
    trackers = _Trackers()
    finished = False
    try:
        for name in _names(track):
            trackers.add(name, run, settings)
        yield trackers
        finished = True
    finally:
        trackers.close(finished=finished)


def _names(track: str | None) -> list[str]:
    return [] if track is None else list(dict.fromkeys(track.split(",")))


def _metrics(epoch: Epoch) -> dict[str, float]:
    values = {
        "loss/train": epoch.train_loss,
        "loss/validation": epoch.validation_loss,
        "accuracy/train": epoch.train_accuracy,
        "accuracy/validation": epoch.validation_accuracy,
        "learning_rate": epoch.learning_rate,
    }
    return {name: value for name, value in values.items() if value is not None}


def _parameters(settings: TrainSettings) -> dict[str, float | str]:
    """The settings as numbers and texts; arguments of the net are called `arch_args.NAME`."""
    values = settings.to_json()
    values |= {f"arch_args.{name}": value for name, value in values.pop("arch_args").items()}
    return {
        name: value if isinstance(value, float | int | str) else json.dumps(value)
        for name, value in values.items()
    }


def _id_path(run: Run, name: str) -> Path:
    return run.folder / f"{name}-id.txt"


def _read_id(run: Run, name: str) -> str | None:
    """The ID of the tracker's run that this run has written to, if any."""
    with contextlib.suppress(ModelError):
        return files.read_text(_id_path(run, name), ModelError).strip() or None
    return None


def _write_id(run: Run, name: str, run_id: str) -> None:
    files.write_bytes(_id_path(run, name), f"{run_id}\n".encode())
