"""The split of a dataset that a model means."""

from pathlib import Path

from mnistctl import datasets
from mnistctl.datasets import catalog
from mnistctl.errors import DataError
from mnistctl.metadata import Metadata
from mnistctl.watcher import Watcher


def split_of(
    metadata: Metadata, split: str, dataset: str | None, data_dir: Path | None, watcher: Watcher
) -> datasets.Split:
    """A split as the model's own run divided it, so that validation is what it did not learn from."""
    own = metadata.dataset["name"]
    if dataset is None and own not in catalog.DATASETS and not Path(own).is_dir():
        raise DataError(f"{own}: the pictures that the model learned from are not there")
    wanted = own if dataset is None else datasets.canonical(dataset)
    is_own = wanted == own
    config = metadata.config if is_own else {}
    loaded = datasets.load(
        wanted,
        split,
        data_dir=data_dir,
        validation_size=config.get("validation_size"),
        subset=config.get("subset"),
        split_seed=config.get("split_seed", 0),
        watcher=watcher,
    )
    if is_own and split in ("train", "validation") and loaded.sha256 != metadata.dataset["sha256"]:
        watcher.warn(f"{wanted} has changed since: {split} may not be what it was in training")
    return loaded
