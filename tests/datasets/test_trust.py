"""Where only an archive's MD5 is published, what is unpacked from it is trusted by its record."""

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
from tests.conftest import tiny_dataset
from tests.datasets.servers import answer, serving

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
    made = tiny_dataset(*raw, subsets={"rest": slice(1, None)})
    monkeypatch.setattr(catalog, "DATASETS", {"tiny": made})
    return made


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


def test_a_verified_archive_leaves_a_record_that_vouches_for_its_content(
    dataset: catalog.Dataset, folder: Path, load: Load
) -> None:
    assert download(dataset) == ["downloaded", "downloaded"]

    split, warnings = load()
    assert split.labels.tolist() == [0, 1, 2]
    assert warnings == []
    record = (folder / "images-idx3-ubyte.sha256").read_text()
    assert record == f"{hashlib.sha256(IMAGES).hexdigest()}  images-idx3-ubyte\n"
    assert download(dataset, {}) == ["present", "present"]


def test_damage_after_that_is_named_and_repaired(
    dataset: catalog.Dataset, folder: Path, load: Load
) -> None:
    download(dataset)
    (folder / "images-idx3-ubyte").write_bytes(IMAGES[:-1] + b"\0")

    with pytest.raises(DataError, match="images-idx3-ubyte: damaged"):
        load()
    assert download(dataset) == ["downloaded", "present"]
    assert len(load()[0].images) == 3


def test_an_archive_of_another_md5_is_rejected(dataset: catalog.Dataset, folder: Path) -> None:
    other = {name: gzip.compress(gzip.decompress(packed), 1) for name, packed in ARCHIVES.items()}

    with pytest.raises(DownloadError, match=r"its answer: MD5 \w+, expected"):
        download(dataset, other)

    assert not (folder / "images-idx3-ubyte").exists()


def test_a_server_that_unpacks_on_the_way_is_rejected(dataset: catalog.Dataset) -> None:
    with pytest.raises(DownloadError, match="not the published archive"):
        download(dataset, {f"{name}.gz": content for name, content in CONTENTS.items()})


def test_files_that_came_some_other_way_are_used_and_called_unverified(
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


def test_the_archive_beside_a_file_vouches_for_it(
    dataset: catalog.Dataset, folder: Path, load: Load
) -> None:
    folder.mkdir(parents=True)
    for name, content in {**CONTENTS, **ARCHIVES}.items():  # as torchvision leaves them
        (folder / name).write_bytes(content)

    assert load()[1] == []
    assert download(dataset, {}) == ["present", "present"]


def test_a_file_is_not_trusted_before_it_is_whole(
    dataset: catalog.Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch, load: Load
) -> None:
    written: list[str] = []

    def write_one(path: Path, content: bytes) -> None:
        if written:
            raise KeyboardInterrupt  # killed between the first file and the second
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
def test_a_folder_of_files_is_verified_by_its_archives_only(
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
def test_files_of_an_unsound_structure_are_not_taken(
    content: bytes, dataset: catalog.Dataset, folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "images-idx3-ubyte").write_bytes(content)
    (source / "labels-idx2-int").write_bytes(LABELS)

    with pytest.raises(DataError, match="images-idx3-ubyte: "):
        fetch.fetch(dataset, folder, source=source)


def test_a_record_that_is_no_hash_vouches_for_nothing(
    dataset: catalog.Dataset, folder: Path, load: Load
) -> None:
    download(dataset)
    (folder / "images-idx3-ubyte.sha256").write_text("trust me")

    assert "unverified" in load()[1][0]


def test_more_splits_are_rows_of_test(dataset: catalog.Dataset) -> None:
    download(dataset)

    rest = datasets.load("tiny", "rest")

    assert rest.name == "rest"
    assert rest.labels.tolist() == [1, 2]


@pytest.mark.parametrize("name", [name for name, item in catalog.DATASETS.items() if item.folder])
def test_every_dataset_to_download_is_described_whole(name: str) -> None:
    dataset = catalog.DATASETS[name]

    assert dataset.name == name
    assert len(dataset.files) == 4
    assert set(dataset.parts) == {"train", "test"}
    assert all(file.sha256 or file.archive_md5 for file in dataset.files)
    assert 2 <= len(dataset.class_names) == len(set(dataset.class_names)) <= 100
    assert dataset.licence
    assert dataset.citation
    assert all(mirror.endswith("/") for mirror in dataset.mirrors)


@pytest.mark.parametrize("name", [name for name, item in catalog.DATASETS.items() if item.folder])
def test_torchvision_knows_the_same_archives(name: str) -> None:
    import torchvision.datasets as known

    dataset = catalog.DATASETS[name]
    theirs = getattr(known, dataset.folder.split("/")[0])
    resources = (
        [item for part in ("train", "test") for item in theirs.resources[part]]
        if name == "qmnist"
        else theirs.resources
    )

    for file, (archive, md5) in zip(dataset.files, resources, strict=True):
        assert archive.rsplit("/", 1)[-1] == f"{file.name}.gz"
        if file.archive_md5:
            assert file.archive_md5 == md5
