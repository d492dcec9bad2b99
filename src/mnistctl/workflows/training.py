"""`train`: from a recipe and what is given in its place to a run folder with a model."""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistctl import (
    architectures,
    checkpoint,
    datasets,
    files,
    interrupts,
    models,
    provenance,
    run_folder,
    tracking,
)
from mnistctl.config import TrainConfig
from mnistctl.errors import DivergedError, DownloadError, InterruptedRunError, UsageError
from mnistctl.metadata import Metadata
from mnistctl.run_folder import Epoch
from mnistctl.watcher import SILENT, Watcher
from mnistctl.workflows import choosing, plotting

if TYPE_CHECKING:
    import torch

OFFLINE_DATASET = "digits"


@dataclass(frozen=True)
class TrainResult:
    """What a training run came to. The figures are those of the saved model.

    Losses are cross-entropies in nats, accuracies in [0, 1]; validation figures are None without
    validation images.
    """

    run: str
    recipe: str | None
    arch: str
    dataset: str
    device: str
    precision: str
    seed: int
    epochs: int  # begun
    best_epoch: int
    parameters: int
    train_seconds: float
    total_seconds: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    pictures: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def train(
    arch: str | None = None,
    *,
    recipe: str | None = None,
    config: Path | str | None = None,
    dataset: str | None = None,
    init: str | Path | None = None,
    name: str | None = None,
    plots: bool = True,
    track: str | None = None,
    data_dir: Path | None = None,
    watcher: Watcher = SILENT,
    **settings: Any,
) -> TrainResult:
    """Train a net by a recipe, with what is given in its place.

    Args:
        arch: a name in `architectures.ARCHITECTURES`, `torchvision:NAME`, or `FILE.py:CLASS` for a
            class of your own, whose file is run; None: the recipe's, that of `init`, or cnn.
        recipe: a name in `recipe_table.RECIPES`; None: the architecture's own.
        config: a file of settings, TOML or the `config.json` of a run; what is given besides wins.
        dataset: a name in `datasets.catalog.DATASETS`, or a folder with one sub-folder of pictures a
            class; None: MNIST, or the embedded digits where it can neither be found nor downloaded.
        init: a model to start from: a checkpoint, a run folder or a run's name. Where its classes
            are not the dataset's, the layer that gives the logits starts afresh.
        name: of the run's folder in `runs`; None: one that is free.
        plots: whether to draw the run's pictures.
        track: "tensorboard" writes for TensorBoard besides, into the run's folder.
        data_dir: the data folder, if not the usual one.
        watcher: hears of progress.
        settings: any field of `config.TrainConfig` (`epochs`, `seed`, `optimizer`, `rotate`, …),
            and any argument of the net (`hidden`, `dropout`, …).

    Raises:
        UsageError: a value is wrong, the device is not there, or the run exists.
        DataError: the dataset is damaged, or was named and is not to be had.
        MissingExtraError: what `track` needs is not installed.
        DivergedError: the loss is not finite any more; the best model so far is saved.
        InterruptedRunError: Ctrl-C or SIGTERM; the best model so far is saved.
    """
    started = time.perf_counter()
    options = {"arch": arch, "recipe": recipe, "dataset": dataset, "init": init, **settings}
    chosen, opened, is_named = choosing.choose(config, options, watcher)
    if is_named:
        chosen = chosen.replace(dataset=datasets.canonical(chosen.dataset))
    if name is not None:
        run_folder.check_new(name)
    tracking.check(track)
    from mnistctl.nn.devices import (  # torch, 1.2 s: after everything that can be checked without
        precision,
        resolve,
    )

    place = resolve(chosen.device)
    chosen, train_split, validation_split = _training_data(chosen, is_named, data_dir, watcher)
    if chosen.patience and not len(validation_split.images):
        raise UsageError(f"--patience {chosen.patience}: there are no validation images to go by")
    with interrupts.deferred() as interrupt:
        net = _build_net(chosen, opened, train_split.class_names).to(place)
        run = run_folder.create(name=name, dataset=chosen.dataset, arch=chosen.arch)
        files.write_json(run.config_path, chosen.to_json())
        try:
            with tracking.open_tracker(track, run, chosen) as tracker:
                job = _Job(
                    run, chosen, train_split, validation_split, place, watcher, interrupt, tracker
                )
                last, best = _fit(net, job)
                validation_loss = best.validation_loss
                if interrupt.signal is None:
                    validation_loss = _complete(job, last).metrics["validation_loss"]
        except UsageError:  # found in the first step; the name is free again
            run.discard()
            raise
        if interrupt.signal is not None:
            raise InterruptedRunError(
                f"interrupted in epoch {last.epoch}; the best model so far (epoch {best.epoch}) is "
                f"safe in {run.model_path}",
                exit_code=interrupt.exit_code,
            )
        pictures: list[Path] = []
        if plots:
            own = chosen.arch if architectures.own_source(chosen.arch) else None
            predictor = models.open_predictor(run.model_path, arch=own)
            pictures = plotting.draw_run(run, predictor, validation_split, watcher)
    return TrainResult(
        run=str(run.folder),
        recipe=chosen.recipe,
        arch=chosen.arch,
        dataset=chosen.dataset,
        device=str(place),
        precision=precision(chosen.precision, place),
        seed=chosen.seed,
        epochs=last.epoch,
        best_epoch=best.epoch,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        train_seconds=last.train_seconds,
        total_seconds=time.perf_counter() - started,
        train_loss=best.train_loss,
        train_accuracy=best.train_accuracy,
        validation_loss=validation_loss,
        validation_accuracy=best.validation_accuracy,
        pictures=[str(picture) for picture in pictures],
    )


def _training_data(
    config: TrainConfig, is_named: bool, data_dir: Path | None, watcher: Watcher
) -> tuple[TrainConfig, datasets.Split, datasets.Split]:
    """The config with the dataset it came to, and that dataset's train and validation splits."""
    try:
        return config, *_load(config, data_dir, watcher)
    except DownloadError as error:
        if is_named:
            raise
        watcher.warn(
            f"no MNIST here and none to be had: training on the {OFFLINE_DATASET} inside mnistctl "
            f"instead, which are fewer and coarser ({error})"
        )
        config = config.replace(dataset=OFFLINE_DATASET)
        return config, *_load(config, data_dir, watcher)


def _load(
    config: TrainConfig, data_dir: Path | None, watcher: Watcher
) -> tuple[datasets.Split, datasets.Split]:
    return datasets.load_for_training(
        config.dataset,
        data_dir=data_dir,
        validation_size=config.validation_size,
        subset=config.subset,
        split_seed=config.split_seed,
        watcher=watcher,
    )


@dataclass(frozen=True)
class _Job:
    """A run on its way."""

    run: run_folder.Run
    config: TrainConfig
    train: datasets.Split
    validation: datasets.Split
    device: "torch.device"
    watcher: Watcher
    interrupt: interrupts.Interrupt
    tracker: tracking.Tracker


def _fit(net: "torch.nn.Module", job: _Job) -> tuple[Epoch, Epoch]:
    """Train and keep the best model: the last epoch, and the saved one."""
    from mnistctl.nn import readers, torch_predictor, trainer

    config, run = job.config, job.run
    about = Metadata(
        arch=config.arch,
        arch_args=dict(config.arch_args),
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        dataset={"name": job.train.dataset, "sha256": job.train.sha256},
        class_names=list(job.train.class_names),
        config=config.to_json(),
        metrics={},
        versions=provenance.versions(),
        created=provenance.now(),
        git_commit=provenance.git_commit(),
    )
    batch_size, _, steps = trainer.plan_steps(config, len(job.train.images))
    job.watcher.training(steps * batch_size)
    best: Epoch | None = None
    gained = 0  # the last epoch that was better, not only as good
    for epoch, measured in trainer.fit(
        net,
        config,
        job.train,
        job.validation,
        device=job.device,
        on_step=job.watcher.step,
        should_stop=lambda: job.interrupt.signal is not None,
    ):
        if not math.isfinite(epoch.train_loss + (epoch.validation_loss or 0)):
            kept = f"the best model so far is in {run.model_path}" if best else "nothing was saved"
            raise DivergedError(
                f"diverged in epoch {epoch.epoch}, by step {epoch.steps}, at a learning rate of "
                f"{epoch.learning_rate:.2g}: the loss is not finite; {kept}; try a lower "
                "--learning-rate"
            )
        run.append_metrics(epoch)
        job.tracker.epoch(epoch)
        if best is None or (epoch.validation_accuracy or 0) > (best.validation_accuracy or 0):
            gained = epoch.epoch
        is_best = epoch.is_better_than(best)
        if best is None or is_best:
            best = epoch
            metadata = dataclasses.replace(about, metrics=epoch.to_json(), created=provenance.now())
            reader = readers.Reader(measured)
            checkpoint.save(run.model_path, torch_predictor.state_of(reader), metadata)
        job.watcher.epoch(epoch, best=is_best)
        if config.patience and epoch.epoch - gained >= config.patience:
            job.watcher.note(f"no better epoch for {config.patience}: stopped early")
            break
    assert best is not None  # noqa: S101 - a run has at least one step, so at least one epoch
    return epoch, best


def _complete(job: _Job, last: Epoch) -> Metadata:
    """Give the saved model what it needs to be honest: its temperature, its `known`, its threshold."""
    from mnistctl.nn import calibration, torch_predictor

    path = job.run.model_path
    own = job.config.arch if architectures.own_source(job.config.arch) else None
    saved = torch_predictor.from_checkpoint(checkpoint.load(path), device=job.device, arch=own)
    job.watcher.note(f"calibrating on {len(job.validation.images):,} validation images")
    seen = last.steps * min(job.config.batch_size, len(job.train.images))
    reader, metadata = calibration.complete(
        saved.reader.get_submodule("net"), saved.metadata, job.train, job.validation, images_seen=seen
    )
    checkpoint.save(path, torch_predictor.state_of(reader), metadata)
    return metadata


def _build_net(
    config: TrainConfig, opened: checkpoint.Checkpoint | None, class_names: Sequence[str]
) -> "torch.nn.Module":
    """A net with fresh weights, or with those of the checkpoint to start from."""
    import torch

    from mnistctl.nn import nets, torch_predictor

    with torch.random.fork_rng([]):
        torch.manual_seed(config.seed)
        net = nets.build(config.arch, arch_args=dict(config.arch_args), classes=len(class_names))
    if opened is not None:
        torch_predictor.start_from(net, opened, class_names, arch=config.arch)
    return net
