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
    recipes,
    runs,
)
from mnistctl.config import TrainConfig
from mnistctl.errors import DivergedError, DownloadError, InterruptedRunError, ModelError, UsageError
from mnistctl.metadata import Metadata
from mnistctl.runs import Epoch
from mnistctl.watcher import SILENT, Watcher

if TYPE_CHECKING:
    import torch

DEFAULT_DATASET, OFFLINE_DATASET = "mnist", "digits"


@dataclass(frozen=True)
class TrainResult:
    """What a training run came to. The figures are those of the saved model.

    Losses are cross-entropies in nats, accuracies in [0, 1]; validation figures are None without
    validation images.
    """

    run: str
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

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def train(
    arch: str | None = None,
    *,
    dataset: str | None = None,
    init: str | Path | None = None,
    device: str | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    validation_size: int | None = None,
    name: str | None = None,
    data_dir: Path | None = None,
    watcher: Watcher = SILENT,
) -> TrainResult:
    """Train a net by its architecture's own recipe, with what is given in its place.

    Args:
        arch: a name in `architectures.ARCHITECTURES`; None: that of `init`, else cnn.
        dataset: a name in `datasets.catalog.DATASETS`, or a folder with one sub-folder of pictures a
            class; None: MNIST, or the embedded digits where it can neither be found nor downloaded.
        init: a model to start from: a checkpoint, a run folder or a run's name. Where its classes
            are not the dataset's, the layer that gives the logits starts afresh.
        device: auto, cpu, cuda, cuda:N or mps.
        epochs: passes over the training images; a fraction is fine.
        batch_size: images a step.
        learning_rate: the peak of the schedule.
        seed: of weights, order and dropout.
        validation_size: images held out of train.
        name: of the run's folder in `runs`; None: one that is free.
        data_dir: the data folder, if not the usual one.
        watcher: hears of progress.

    Raises:
        UsageError: a value is wrong, the device is not there, or the run exists.
        DataError: the dataset is damaged, or was named and is not to be had.
        DivergedError: the loss is not finite any more; the best model so far is saved.
        InterruptedRunError: Ctrl-C or SIGTERM; the best model so far is saved.
    """
    started = time.perf_counter()
    opened = _open_init(init, arch, watcher)
    config = recipes.find("cnn" if arch is None else arch)
    if opened is not None:
        config = recipes.find(opened.metadata.arch).replace(
            arch_args=opened.metadata.arch_args,
            init=str(opened.path),
            init_sha256=opened.sha256,
            **recipes.FINE_TUNING,
        )
    # The length of a run that was asked for is the length it gets: no floor in steps then.
    config = config.replace(
        device=device,
        epochs=epochs,
        min_steps=None if epochs is None else 0,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        validation_size=validation_size,
    )
    if dataset is not None:
        dataset = datasets.canonical(dataset)
    if name is not None:
        runs.check_new(name)
    from mnistctl.nn.devices import (  # torch, 1.2 s: after everything that can be checked without
        precision_of,
        resolve,
    )

    place = resolve(config.device)
    config, train_split, validation_split = _training_data(config, dataset, data_dir, watcher)
    with interrupts.deferred() as interrupt:
        net = _build_net(config, opened, train_split.class_names).to(place)
        run = runs.create(name=name, dataset=config.dataset, arch=config.arch)
        files.write_json(run.config_path, config.to_json())
        last, best = _fit(net, run, config, train_split, validation_split, place, watcher, interrupt)
    if interrupt.signal is not None:
        raise InterruptedRunError(
            f"interrupted in epoch {last.epoch}; the best model so far (epoch {best.epoch}) is "
            f"safe in {run.model_path}",
            exit_code=interrupt.exit_code,
        )
    return TrainResult(
        run=str(run.folder),
        arch=config.arch,
        dataset=config.dataset,
        device=str(place),
        precision=precision_of(place),
        seed=config.seed,
        epochs=last.epoch,
        best_epoch=best.epoch,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        train_seconds=last.train_seconds,
        total_seconds=time.perf_counter() - started,
        train_loss=best.train_loss,
        train_accuracy=best.train_accuracy,
        validation_loss=best.validation_loss,
        validation_accuracy=best.validation_accuracy,
    )


def _open_init(
    init: str | Path | None, arch: str | None, watcher: Watcher
) -> checkpoint.Checkpoint | None:
    """The checkpoint to start from, if any."""
    if init is None:
        return None
    path = models.find(init, watcher=watcher)
    if models.format_of(path) != models.SAFETENSORS:
        raise UsageError(f"--init {path}: an exported file; name the checkpoint it was made from")
    opened = checkpoint.load(path)
    try:
        architectures.resolve(opened.metadata.arch, opened.metadata.arch_args)
    except UsageError as error:
        raise ModelError(f"{path}: {error}") from error
    if arch not in (None, opened.metadata.arch):
        raise UsageError(f"--arch {arch}: {path} is a '{opened.metadata.arch}'")
    return opened


def _training_data(
    config: TrainConfig, dataset: str | None, data_dir: Path | None, watcher: Watcher
) -> tuple[TrainConfig, datasets.Split, datasets.Split]:
    """The config with the dataset it came to, and that dataset's train and validation splits."""
    config = config.replace(dataset=DEFAULT_DATASET if dataset is None else dataset)
    try:
        return config, *_load(config, data_dir, watcher)
    except DownloadError as error:
        if dataset is not None:
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
        split_seed=config.split_seed,
        watcher=watcher,
    )


def _fit(
    net: "torch.nn.Module",
    run: runs.Run,
    config: TrainConfig,
    train_split: datasets.Split,
    validation_split: datasets.Split,
    device: "torch.device",
    watcher: Watcher,
    interrupt: interrupts.Interrupt,
) -> tuple[Epoch, Epoch]:
    """Train and keep the best model: the last epoch, and the saved one."""
    from mnistctl.nn import torch_predictor, trainer

    about = Metadata(
        arch=config.arch,
        arch_args=dict(config.arch_args),
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        dataset={"name": train_split.dataset, "sha256": train_split.sha256},
        class_names=list(train_split.class_names),
        config=config.to_json(),
        metrics={},
        versions=provenance.versions(),
        created=provenance.now(),
        git_commit=provenance.git_commit(),
    )
    batch_size, _, steps = trainer.plan_steps(config, len(train_split.images))
    watcher.training(steps * batch_size)
    best: Epoch | None = None
    for epoch in trainer.fit(
        net,
        config,
        train_split,
        validation_split,
        device=device,
        on_step=watcher.step,
        should_stop=lambda: interrupt.signal is not None,
    ):
        if not math.isfinite(epoch.train_loss + (epoch.validation_loss or 0)):
            kept = f"the best model so far is in {run.model_path}" if best else "nothing was saved"
            raise DivergedError(
                f"diverged in epoch {epoch.epoch}, by step {epoch.steps}, at a learning rate of "
                f"{epoch.learning_rate:.2g}: the loss is not finite; {kept}; try a lower "
                "--learning-rate"
            )
        run.append_metrics(epoch)
        is_best = best is None or _is_better(epoch, best)
        if is_best:
            best = epoch
            metadata = dataclasses.replace(about, metrics=epoch.to_json(), created=provenance.now())
            checkpoint.save(run.model_path, torch_predictor.state_of(net), metadata)
        watcher.epoch(epoch, best=is_best)
    assert best is not None  # noqa: S101 - a run has at least one step, so at least one epoch
    return epoch, best


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
        torch_predictor.start_from(net, opened, class_names)
    return net


def _is_better(epoch: Epoch, best: Epoch) -> bool:
    """At least the validation accuracy of the best; without validation always.

    On a tie the later epoch wins: its learning rate was lower, and of a few validation images all
    are often right early on, when the net is not done yet.
    """
    if epoch.validation_accuracy is None or best.validation_accuracy is None:
        return True
    return epoch.validation_accuracy >= best.validation_accuracy
