"""Downloads from a real server on this machine."""

import functools
import gzip
import http.server
import shutil
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnistctl.datasets import catalog, fetch
from mnistctl.errors import DataError, DownloadError
from mnistctl.run import progress
from mnistctl.system import files
from tests.helpers import tiny_dataset

CONTENT = struct.pack(">HBBI", 0, 8, 1, 3000) + bytes(range(250)) * 12
FILE = catalog.RawFile("labels-idx1-ubyte", len(CONTENT), files.sha256(CONTENT))


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The server's folder, which contains the archive."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / f"{FILE.name}.gz").write_bytes(gzip.compress(CONTENT))
    return folder


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(served: Path) -> Iterator[str]:
    handler = functools.partial(_Handler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def dataset(*mirrors: str) -> catalog.Dataset:
    return tiny_dataset(FILE, mirrors=mirrors)


def test_a_download_is_unpacked_and_its_progress_is_reported(server: str, tmp_path: Path) -> None:
    reports: list[tuple[str, int, int | None]] = []

    class Recorder(progress.Progress):
        def download(self, file: str, received: int, total: int | None) -> None:
            reports.append((file, received, total))

    with progress.shown_by(Recorder()):
        fetched = fetch.fetch(dataset(server), tmp_path / "raw")

    assert (tmp_path / "raw" / FILE.name).read_bytes() == CONTENT
    assert [(file.status, file.source) for file in fetched] == [
        ("downloaded", f"{server}{FILE.name}.gz")
    ]
    archive_bytes = len(gzip.compress(CONTENT))
    assert reports[-1] == (f"{FILE.name}.gz", archive_bytes, archive_bytes)


def test_a_correct_file_is_not_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_bytes(CONTENT)

    fetched = fetch.fetch(dataset("http://127.0.0.1:9/"), tmp_path)

    assert [file.status for file in fetched] == ["present"]


def test_a_damaged_file_is_downloaded_again(server: str, tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_bytes(CONTENT[:-1] + b"\0")

    fetch.fetch(dataset(server), tmp_path)

    assert (tmp_path / FILE.name).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>sorry</html>", gzip.compress(CONTENT[:-1]), gzip.compress(CONTENT)[:-9]],
)
def test_wrong_content_is_never_stored(
    content: bytes, server: str, served: Path, tmp_path: Path
) -> None:
    (served / f"{FILE.name}.gz").write_bytes(content)

    with pytest.raises(DownloadError, match=f"^{FILE.name}.gz could not be downloaded"):
        fetch.fetch(dataset(server), tmp_path / "raw")

    assert not (tmp_path / "raw" / FILE.name).exists()


@pytest.mark.parametrize("layout", ["flat", "torchvision"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", [FILE.name, FILE.name.replace("-idx", ".idx")])
def test_files_are_copied_from_a_folder_in_any_usual_layout(
    layout: str, packed: bool, name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "source" / ("Tiny/raw" if layout == "torchvision" else "")
    folder.mkdir(parents=True)
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(CONTENT) if packed else CONTENT)

    fetched = fetch.fetch(dataset(), tmp_path / "raw", source=tmp_path / "source")

    assert (tmp_path / "raw" / FILE.name).read_bytes() == CONTENT
    assert (fetched[0].status, fetched[0].source) == ("copied", str(path))


def test_a_source_folder_without_the_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"neither {FILE.name} nor {FILE.name}.gz found"):
        fetch.fetch(dataset(), tmp_path / "raw", source=tmp_path)


def test_the_error_names_a_wrong_file_in_the_source_folder(tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_bytes(CONTENT[:-1] + b"\0")

    with pytest.raises(DataError, match=rf"{FILE.name}: 3,008 bytes with SHA-256 \w+…, expected"):
        fetch.fetch(dataset(), tmp_path / "raw", source=tmp_path)


@pytest.mark.mnist
def test_torchvision_can_read_the_downloaded_files(mnist_dir: Path) -> None:
    from torchvision.datasets import MNIST

    assert len(MNIST(str(mnist_dir), train=False)) == 10_000


@pytest.mark.mnist
def test_files_that_torchvision_unpacked_are_present(mnist_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(mnist_dir / "MNIST", tmp_path / "elsewhere" / "MNIST")

    fetched = fetch.fetch(catalog.DATASETS["mnist"], tmp_path / "elsewhere" / "MNIST" / "raw")

    assert {file.status for file in fetched} == {"present"}
