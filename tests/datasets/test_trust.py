"""Datasets with a published hash of the archives only: how raw files are verified."""

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from mnistctl import datasets
from mnistctl.datasets import catalog, fetch
from mnistctl.errors import DataError, DownloadError
from mnistctl.system import files
from tests.datasets.servers import answer, serving
from tests.helpers import tiny_dataset

IMAGES = struct.pack(">HBB3I", 0, 8, 3, 3, 28, 28) + bytes(range(196)) * 12
LABELS = struct.pack(">HBB2I", 0, 12, 2, 3, 2) + struct.pack(">6i", 0, 7, 1, 7, 2, 7)
CONTENTS = {"images-idx3-ubyte": IMAGES, "labels-idx2-int": LABELS}
ARCHIVES = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in CONTENTS.items()}


Load = Callable[[], tuple[datasets.Split, list[str]]]


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch) -> catalog.Dataset:
    raw = tuple(
        catalog.RawFile(
            name,
            len(content),
            archive_md5=hashlib.md5(ARCHIVES[f"{name}.gz"], usedforsecurity=False).hexdigest(),
        )
        for name, content in CONTENTS.items()
    )
    dataset = tiny_dataset(*raw, subsets={"rest": slice(1, None)})
    monkeypatch.setattr(catalog, "DATASETS", {"tiny": dataset})
    return dataset


@pytest.fixture
def folder(dataset: catalog.Dataset) -> Path:
    return datasets.raw_folder(dataset)


def download(dataset: catalog.Dataset, archives: dict[str, bytes] = ARCHIVES) -> list[str]:
    with serving(
        lambda connection, path: connection.sendall(answer(archives[path.split("/")[-1]]))
    ) as server:
        fetched = fetch.fetch(dataset, datasets.raw_folder(dataset), source=server.address)
    return [file.status for file in fetched]


@pytest.fixture
def load(caplog: pytest.LogCaptureFixture) -> Load:
    """Load the dataset: its test split, and the warnings."""

    def run() -> tuple[datasets.Split, list[str]]:
        caplog.clear()
        return datasets.load("tiny", "test"), list(caplog.messages)

    return run


def test_unpacking_a_verified_archive_records_the_hash_of_its_content(
    dataset: catalog.Dataset, folder: Path, load: Load
) -> None:
    assert download(dataset) == ["downloaded", "downloaded"]

    split, warnings = load()
    assert split.labels.tolist() == [0, 1, 2]
    assert warnings == []
    record = (folder / "images-idx3-ubyte.sha256").read_text()
    assert record == f"{hashlib.sha256(IMAGES).hexdigest()}  images-idx3-ubyte\n"
    assert download(dataset, {}) == ["present", "present"]


def test_damage_after_the_download_is_reported_and_repaired(
    dataset: catalog.Dataset, folder: Path, load: Load
) -> None:
    download(dataset)
    (folder / "images-idx3-ubyte").write_bytes(IMAGES[:-1] + b"\0")

    with pytest.raises(DataError, match="images-idx3-ubyte: damaged"):
        load()
    assert download(dataset) == ["downloaded", "present"]
    assert len(load()[0].images) == 3


def test_an_archive_with_the_wrong_md5_is_rejected(dataset: catalog.Dataset, folder: Path) -> None:
    other = {name: gzip.compress(gzip.decompress(packed), 1) for name, packed in ARCHIVES.items()}

    with pytest.raises(DownloadError, match=r"response: MD5 \w+, expected"):
        download(dataset, other)

    assert not (folder / "images-idx3-ubyte").exists()


def test_an_unpacked_file_from_a_server_is_rejected(dataset: catalog.Dataset) -> None:
    with pytest.raises(DownloadError, match="not the published archive"):
        download(dataset, {f"{name}.gz": content for name, content in CONTENTS.items()})


def test_raw_files_without_a_record_are_used_and_reported_as_unverified(
    dataset: catalog.Dataset, folder: Path, load: Load
) -> None:
    folder.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)

    split, (warning,) = load()

    assert len(split.images) == 3
    assert "images-idx3-ubyte, labels-idx2-int in" in warning
    assert "unverified" in warning
    assert download(dataset, {}) == ["unverified", "unverified"]


def test_a_raw_file_is_verified_by_the_archive_beside_it(
    dataset: catalog.Dataset, folder: Path, load: Load
) -> None:
    folder.mkdir(parents=True)
    for name, content in {**CONTENTS, **ARCHIVES}.items():  # as torchvision leaves them
        (folder / name).write_bytes(content)

    assert load()[1] == []
    assert download(dataset, {}) == ["present", "present"]


def test_a_file_whose_write_was_interrupted_is_downloaded_again(
    dataset: catalog.Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch, load: Load
) -> None:
    written: list[str] = []

    def write_one(path: Path, content: bytes) -> None:
        if written:
            raise KeyboardInterrupt  # as if killed between the record and the raw file
        written.append(path.name)
        path.write_bytes(content)

    monkeypatch.setattr(files, "write_bytes", write_one)
    with pytest.raises(KeyboardInterrupt):
        download(dataset)
    monkeypatch.undo()
    monkeypatch.setattr(catalog, "DATASETS", {"tiny": dataset})
    monkeypatch.setenv("MNISTCTL_DATA_DIR", str(folder.parent.parent))

    assert download(dataset) == ["downloaded", "downloaded"]
    assert len(load()[0].images) == 3


@pytest.mark.parametrize("packed", [True, False])
def test_files_copied_from_a_folder_are_verified_only_as_archives(
    packed: bool, dataset: catalog.Dataset, folder: Path, tmp_path: Path, load: Load
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, content in (ARCHIVES if packed else CONTENTS).items():
        (source / name).write_bytes(content)

    statuses = [file.status for file in fetch.fetch(dataset, folder, source=source)]

    assert statuses == ["copied" if packed else "unverified"] * 2
    assert bool(load()[1]) != packed


@pytest.mark.parametrize("content", [IMAGES[:-1], b"\0\1" + IMAGES[2:], bytes(len(IMAGES))])
def test_malformed_files_are_not_copied_from_a_folder(
    content: bytes, dataset: catalog.Dataset, folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "images-idx3-ubyte").write_bytes(content)
    (source / "labels-idx2-int").write_bytes(LABELS)

    with pytest.raises(DataError, match="images-idx3-ubyte: "):
        fetch.fetch(dataset, folder, source=source)


def test_a_record_that_is_not_a_hash_is_ignored(
    dataset: catalog.Dataset, folder: Path, load: Load
) -> None:
    download(dataset)
    (folder / "images-idx3-ubyte.sha256").write_text("trust me")

    assert "unverified" in load()[1][0]


def test_an_additional_split_is_rows_of_the_test_split(dataset: catalog.Dataset) -> None:
    download(dataset)

    rest = datasets.load("tiny", "rest")

    assert rest.name == "rest"
    assert rest.labels.tolist() == [1, 2]


@pytest.mark.parametrize("name", [name for name, item in catalog.DATASETS.items() if item.folder])
def test_every_dataset_to_download_has_a_complete_catalog_entry(name: str) -> None:
    dataset = catalog.DATASETS[name]

    assert dataset.name == name
    assert len(dataset.files) == 4
    assert set(dataset.split_files) == {"train", "test"}
    assert all(file.sha256 or file.archive_md5 for file in dataset.files)
    assert 2 <= len(dataset.class_names) == len(set(dataset.class_names)) <= 100
    assert dataset.licence
    assert dataset.citation
    assert all(mirror.endswith("/") for mirror in dataset.mirrors)


@pytest.mark.parametrize("name", [name for name, item in catalog.DATASETS.items() if item.folder])
def test_the_catalog_has_the_same_archives_as_torchvision(name: str) -> None:
    import torchvision.datasets

    dataset = catalog.DATASETS[name]
    torchvision_dataset = getattr(torchvision.datasets, dataset.folder.split("/")[0])
    resources = (
        [item for split in ("train", "test") for item in torchvision_dataset.resources[split]]
        if name == "qmnist"
        else torchvision_dataset.resources
    )

    for file, (archive, md5) in zip(dataset.files, resources, strict=True):
        assert archive.rsplit("/", 1)[-1] == f"{file.name}.gz"
        if file.archive_md5:
            assert file.archive_md5 == md5
