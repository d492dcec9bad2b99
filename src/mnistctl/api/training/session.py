"""A training session: one process, ready to train a run."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mnistctl import datasets
from mnistctl.api.training import own_pictures, resume, state_file
from mnistctl.api.training.run_settings import Start
from mnistctl.api.training.state_file import SavedState
from mnistctl.errors import DownloadError, UsageError
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.run import run_folder, tracking
from mnistctl.run.epoch import Epoch
from mnistctl.run.run_folder import Run
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import files, openmp, signals

if TYPE_CHECKING:
    import torch

    from mnistctl.nn import distributed

_log = logging.getLogger(__name__)

OFFLINE_DATASET = "digits"


@dataclass(frozen=True)
class Session:
    """Everything that one process needs to train a run."""

    run: Run
    settings: TrainSettings
    train: datasets.Split
    validation: datasets.Split
    net: "torch.nn.Module"
    device: "torch.device"
    group: "distributed.ProcessGroup"  # its first process, the leader, alone writes and shows progress
    interrupt: signals.Interrupt
    saved: SavedState | None = None  # where to resume
    tracker: tracking.Tracker = field(default_factory=tracking.Tracker)
    save_every: str | None = None  # see `loop.parse_interval`
    use_graph: bool = True  # see `trainer.Trainer`
    # Called after each epoch but the last. An exception from it ends the run, whose state is saved.
    after_epoch: Callable[[Epoch], None] | None = None
    is_calibrated: bool = True  # whether the model is calibrated after training

    @property
    def is_leader(self) -> bool:
        """Whether this process writes and shows progress."""
        return self.group.rank == 0

    def should_stop(self) -> bool:
        """Whether a signal has reached any process of the group; all of them must ask together."""
        return self.group.any(self.interrupt.signal is not None)


@contextlib.contextmanager
def open_session(
    start: Start,
    *,
    name: str | None,
    track: str | None,
    save_every: str | None,
    data_dir: Path | None,
    root: Path = run_folder.ROOT,
    after_epoch: Callable[[Epoch], None] | None = None,
    is_calibrated: bool = True,
) -> Iterator[Session]:
    """The leader's session: load the data, build the net, and create or prepare the run's folder.

    Args:
        start: what to train.
        name: of a new run; None: the first free one.
        track: see `tracking.check`.
        save_every: see `loop.parse_interval`.
        data_dir: the data folder; None: the default.
        root: the folder that a new run's folder is created in.
        after_epoch: see `Session`.
        is_calibrated: see `Session`.

    Raises:
        UsageError: no such device, the run exists, no validation images for the patience, or a run that
            cannot be resumed.
        DataError: the dataset is damaged or unavailable.
        WriteError: the folder cannot be written.
    """
    load = openmp.LoadMeter()
    from mnistctl.nn import devices, distributed  # imports torch, 1.2 s, after all checks without it

    device = devices.resolve(start.settings.device)
    settings, train, validation = load_data(start, data_dir)
    if settings.patience and not len(validation.images):
        raise UsageError(f"--patience {settings.patience}: there are no validation images")
    group = distributed.join_process_group()
    with contextlib.ExitStack() as stack:
        interrupt = stack.enter_context(signals.deferred())
        stack.enter_context(devices.use_threads(_count_threads(start.saved, device, load)))
        net = build_net(settings, start.initial_model, train.class_names).to(device)
        if start.run is None:
            run = stack.enter_context(_new_run(name, settings, root))
        else:
            run = start.run
            resume.prepare(run, start.saved, settings, train, device)
        files.write_json(run.config_path, settings.to_json())
        yield Session(
            run=run,
            settings=settings,
            train=train,
            validation=validation,
            net=net,
            device=device,
            group=group,
            interrupt=interrupt,
            saved=start.saved,
            tracker=stack.enter_context(tracking.open_tracker(track, run, settings)),
            save_every=save_every,
            after_epoch=after_epoch,
            is_calibrated=is_calibrated,
        )


def _count_threads(saved: SavedState | None, device: "torch.device", load: openmp.LoadMeter) -> int:
    """The number of CPU threads to train with: those that have a core of their own.

    A run resumes with the threads that it was started with, as their number affects the weights.
    """
    import torch

    threads = torch.get_num_threads()
    if saved is not None:
        return min(threads, state_file.threads(saved) or threads)
    if device.type != "cpu" or (free := load.free_threads(threads)) == threads:
        return threads
    _log.info(
        f"other programs use this machine, so training uses {free} of {threads} threads; to choose the "
        "number, set OMP_NUM_THREADS"
    )
    return free


@contextlib.contextmanager
def _new_run(name: str | None, settings: TrainSettings, root: Path) -> Iterator[Run]:
    """Create and lock a run's folder; if the first step shows a wrong setting, remove it again."""
    kind = settings.recipe or settings.arch
    with run_folder.create(name=name, dataset=settings.dataset, kind=kind, root=root) as run:
        try:
            yield run
        except UsageError:
            if not run.metrics_path.exists():
                run.discard()
            raise


def load_data(
    start: Start, data_dir: Path | None
) -> tuple[TrainSettings, datasets.Split, datasets.Split]:
    """The settings with the dataset that was loaded, and its train and validation splits.

    Raises:
        DataError: the dataset is damaged or unavailable.
    """
    settings = start.settings
    try:
        return settings, *load_splits(settings, start.initial_model, data_dir)
    except DownloadError as error:
        if start.is_dataset_named:
            raise
        _log.warning(
            f"MNIST is not on disk and could not be downloaded; training on the bundled "
            f"{OFFLINE_DATASET} instead (fewer images, lower resolution): {error}"
        )
        settings = settings.replace(dataset=OFFLINE_DATASET)
        return settings, *load_splits(settings, start.initial_model, data_dir)


def load_splits(
    settings: TrainSettings, initial_model: Checkpoint | None, data_dir: Path | None
) -> tuple[datasets.Split, datasets.Split]:
    """The train and validation splits of a run, with the variants that the settings add.

    For pictures of numbers, they are those of the dataset that the initial model was trained on, and
    the pictures are added.

    Raises:
        DataError: the dataset is damaged or unavailable.
    """
    has_pictures = own_pictures.are_in(settings.dataset, arch=settings.arch)
    pictures_model = initial_model if has_pictures else None
    train, validation = datasets.load_for_training(
        pictures_model.metadata.dataset["name"] if pictures_model else settings.dataset,
        data_dir=data_dir,
        validation_size=settings.validation_size,
        subset=settings.subset,
        split_seed=settings.split_seed,
    )
    if settings.variants:
        train = _add_variants(train, settings)
    if pictures_model is not None:
        return own_pictures.add_to_splits(
            train,
            validation,
            Path(settings.dataset),
            model=pictures_model,
            split_seed=settings.split_seed,
        )
    return train, validation


def _add_variants(train: datasets.Split, settings: TrainSettings) -> datasets.Split:
    """The split with drawn digits, and with the bundled ones, which people of another country wrote."""
    from mnistctl.pages import variants

    if list(train.class_names) != list("0123456789"):
        _log.info(f"no variants are added: they are digits, and {train.dataset} has other classes")
        return train
    train = train.extend(
        *variants.draw(train.images, train.labels, settings.variants, seed=settings.seed)
    )
    if train.dataset == OFFLINE_DATASET:
        return train
    others = datasets.load(OFFLINE_DATASET, "train")
    return train.extend(others.images, others.labels)


def build_net(
    settings: TrainSettings, initial_model: Checkpoint | None, class_names: Sequence[str]
) -> "torch.nn.Module":
    """A net with random weights, or with those of the initial model."""
    import torch

    from mnistctl.nn import nets, torch_predictor

    with torch.random.fork_rng([]):
        torch.manual_seed(settings.seed)
        net = nets.build(settings.arch, arch_args=dict(settings.arch_args), classes=len(class_names))
    if initial_model is not None:
        torch_predictor.load_initial_weights(net, initial_model, class_names)
    return net
