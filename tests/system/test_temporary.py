"""Temporary folders belong to their process until it has ended."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mnistctl.errors import WriteError
from mnistctl.system import files, temporary
from tests.helpers import SimulatedKill, environment_without_coverage

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

WRITE = """
import os, signal, sys
from pathlib import Path
from mnistctl.system import files
target, moment = Path(sys.argv[1]), sys.argv[2]
rename = os.replace
def replace(source, to):
    if moment == "before" or (moment == "between" and Path(to) == target):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, to)
    if moment == "after" and Path(to) == target:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
with files.replacing(target, folder=True) as new:
    new.mkdir()
    (new / "successor").touch()
    print("writing", flush=True)
    if moment == "running":
        sys.stdin.read()
"""


@contextmanager
def writer(target: Path, moment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that replaces a folder. It is killed at this moment, or waits until stdin ends."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(target), moment],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment_without_coverage(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process


def content(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the folder `model` to replace."""
    folder = tmp_path / "folder"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "old").touch()
    return folder


@pytest.mark.parametrize(
    ("moment", "kept"), [("before", "old"), ("between", "old"), ("after", "successor")]
)
def test_a_kill_at_any_rename_keeps_the_old_folder_or_its_successor(
    moment: str, kept: str, folder: Path
) -> None:
    with writer(folder / "model", moment) as process:
        assert process.wait() == -signal.SIGKILL
    temporary.clean_up(folder)

    assert content(folder) == ["model", f"model/{kept}"]


def test_the_temporary_folder_of_a_running_process_is_kept(folder: Path) -> None:
    with writer(folder / "model", "running") as process:
        temporary.clean_up(folder)
        before = content(folder)
        process.communicate("")

    assert any(name.endswith("/new/model/successor") for name in before)
    assert process.returncode == 0
    assert content(folder) == ["model", "model/successor"]


def test_clean_up_leaves_the_files_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / ".download.partial").touch()
    (tmp_path / ".mine.partial").mkdir()

    temporary.clean_up(tmp_path)

    assert content(tmp_path) == [".download.partial", ".mine.partial"]


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken"), SimulatedKill()])
def test_an_old_folder_survives_a_failure_between_the_two_renames(
    failure: BaseException, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "model"
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if source.parent.name == "new":
            raise failure
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises((WriteError, SimulatedKill)), files.replacing(path, folder=True) as new:
        new.mkdir()

    assert content(folder) == ["model", "model/old"]


def test_a_name_of_the_longest_length_can_be_written(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / ("n" * 255), b"content")

    assert (tmp_path / ("n" * 255)).read_bytes() == b"content"
