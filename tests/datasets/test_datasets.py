import gzip
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mnistctl import datasets
from mnistctl.datasets import catalog
from mnistctl.errors import DataError, DownloadError, UsageError
from mnistctl.system import files
from tests.helpers import tiny_dataset

FILES = [file.name for file in catalog.DATASETS["mnist"].files]


def test_the_bundled_digits_are_those_of_scikit_learn() -> None:
    with np.load(Path(datasets.__file__).parent / "digits.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]

    assert (images == load_digits().images).all()
    assert (labels == load_digits().target).all()


@pytest.mark.parametrize(("split", "images"), [("train", 1_375), ("validation", 125), ("test", 297)])
def test_the_bundled_digits_are_loaded_without_a_download(split: str, images: int) -> None:
    loaded = datasets.load("digits", split)

    assert loaded.images.shape == (images, 28, 28)
    assert loaded.images.dtype == np.uint8
    assert set(loaded.labels) == set(range(10))


def test_train_and_validation_share_no_image() -> None:
    train, validation = datasets.load_for_training("digits")

    assert not {image.tobytes() for image in train.images} & {
        image.tobytes() for image in validation.images
    }


@pytest.mark.mnist
@pytest.mark.parametrize(
    ("split", "images"), [("train", 55_000), ("validation", 5_000), ("test", 10_000)]
)
def test_mnist_is_loaded_completely(split: str, images: int) -> None:
    loaded = datasets.load("mnist", split)

    assert loaded.images.shape == (images, 28, 28)
    assert loaded.labels.shape == (images,)
    assert loaded.class_names == tuple("0123456789")


@pytest.mark.mnist
def test_validation_has_the_class_proportions_of_train(mnist_dir: Path) -> None:
    train, validation = datasets.load_for_training("mnist")

    shares = np.bincount(train.labels) / 55_000 - np.bincount(validation.labels) / 5_000
    assert np.abs(shares).max() < 2e-4  # one image per class


@pytest.mark.mnist
def test_the_test_files_are_not_opened_for_training(mnist_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in FILES:
        if name.startswith("train"):
            shutil.copy(mnist_dir / "MNIST" / "raw" / name, folder)
        else:
            (folder / name).write_bytes(b"must not be opened")

    train, _ = datasets.load_for_training("mnist", data_dir=tmp_path)

    assert len(train.images) == 55_000


@pytest.mark.mnist
def test_training_works_without_the_test_files(mnist_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in FILES[:2]:
        shutil.copy(mnist_dir / "MNIST" / "raw" / name, folder)

    train, _ = datasets.load_for_training("mnist", data_dir=tmp_path)

    assert len(train.images) == 55_000


def test_the_error_for_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown dataset 'mnits'; did you mean 'mnist'"):
        datasets.load("mnits", "test")
    with pytest.raises(UsageError, match="unknown split of 'digits' 'tests'; did you mean 'test'"):
        datasets.load("digits", "tests")


def test_the_error_of_a_failed_download_suggests_alternatives() -> None:
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1: could not connect.*--from FOLDER.*digits"):
        datasets.load("mnist", "test")


IMAGES = struct.pack(">HBB3I", 0, 8, 3, 3, 28, 28) + bytes(3 * 784)
LABELS = struct.pack(">HBBI", 0, 8, 1, 3) + bytes([0, 1, 2])


def tiny(monkeypatch: pytest.MonkeyPatch, images: bytes, labels: bytes) -> catalog.Dataset:
    """A dataset of two files with this content, in the catalog."""
    raw = tuple(
        catalog.RawFile(name, len(content), files.sha256(content))
        for name, content in (("images", images), ("labels", labels))
    )
    dataset = tiny_dataset(*raw)
    monkeypatch.setattr(catalog, "DATASETS", {"tiny": dataset})
    return dataset


def write_raw_files(images: bytes, labels: bytes) -> Path:
    folder = datasets.data_folder() / "Tiny" / "raw"
    folder.mkdir(parents=True)
    (folder / "images").write_bytes(images)
    (folder / "labels").write_bytes(labels)
    return folder


def test_a_new_entry_in_the_catalog_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(monkeypatch, IMAGES, LABELS)
    write_raw_files(IMAGES, LABELS)

    assert datasets.load("tiny", "test").labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("damage", [b"", b"x", IMAGES[:-1], IMAGES + b"\0", IMAGES[:-1] + b"\1"])
def test_a_damaged_file_is_reported_and_never_loaded(
    damage: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(monkeypatch, IMAGES, LABELS)
    folder = write_raw_files(damage, LABELS)

    with pytest.raises(DataError, match=re.escape(f"{folder / 'images'}: damaged")):
        datasets.load("tiny", "test")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES, LABELS[:7] + b"\2" + LABELS[8:-1], "labels: 2 labels for 3 images"),
        (IMAGES, LABELS[:-1] + b"\3", "labels: label 3, expected 0 to 2"),
        (LABELS, IMAGES, r"images: uint8 \(3,\), expected uint8 images \(N, 28, 28\)"),
        (IMAGES[:15] + b"\x0e" + IMAGES[16 : 16 + 3 * 28 * 14], LABELS, r"images: uint8 \(3, 28, 14\)"),
        (b"<html>", LABELS, "images: not an IDX file"),
    ],
)
def test_images_and_labels_that_do_not_match_are_rejected(
    images: bytes, labels: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(monkeypatch, images, labels)
    write_raw_files(images, labels)

    with pytest.raises(DataError, match=message):
        datasets.load("tiny", "test")


def test_an_archive_left_by_another_tool_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(monkeypatch, IMAGES, LABELS)
    folder = write_raw_files(IMAGES, LABELS)
    (folder / "images").unlink()
    (folder / "images.gz").write_bytes(gzip.compress(IMAGES))

    assert len(datasets.load("tiny", "test").images) == 3
