"""What a run needs before its first step: its data, and its net."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnistctl import datasets
from mnistctl.errors import DownloadError
from mnistctl.models import checkpoint
from mnistctl.settings.train_settings import TrainSettings

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

OFFLINE_DATASET = "digits"


def training_data(
    config: TrainSettings,
    is_named: bool,
    data_dir: Path | None,
) -> tuple[TrainSettings, datasets.Split, datasets.Split]:
    """The config with the dataset it came to, and that dataset's train and validation splits.

    Args:
        config: which dataset, and how it is divided.
        is_named: whether anybody named the dataset; if nobody did, another one will do.
        data_dir: the data folder, if not the usual one.

    Raises:
        DataError: the dataset is damaged, or was named and is not to be had.
    """
    try:
        return config, *load(config, data_dir)
    except DownloadError as error:
        if is_named:
            raise
        _log.warning(
            f"no MNIST here and none to be had: training on the {OFFLINE_DATASET} inside mnistctl "
            f"instead, which are fewer and coarser ({error})"
        )
        config = config.replace(dataset=OFFLINE_DATASET)
        return config, *load(config, data_dir)


def load(
    config: TrainSettings,
    data_dir: Path | None,
) -> tuple[datasets.Split, datasets.Split]:
    """The train and validation splits of the config's dataset."""
    return datasets.load_for_training(
        config.dataset,
        data_dir=data_dir,
        validation_size=config.validation_size,
        subset=config.subset,
        split_seed=config.split_seed,
    )


def build_net(
    config: TrainSettings, opened: checkpoint.Checkpoint | None, class_names: Sequence[str]
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
