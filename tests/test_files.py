import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mnistctl.errors import WriteError
from mnistctl.system import files
from tests.conftest import unmeasured


def test_a_written_file_has_its_content_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "new" / "file", b"content")

    assert (tmp_path / "new" / "file").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_written_file_has_the_mode_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_failed_write_leaves_the_old_content_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"file: cannot be written: No space left"):
        files.write_bytes(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")

    files.write_bytes(tmp_path / "link", b"new")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="not a regular file"):
        files.write_bytes(tmp_path, b"new")

    assert tmp_path.is_dir()


def test_an_error_in_between_leaves_the_old_content_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half() -> None:
        with files.replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        write_half()

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="folders have no modes there")
def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    # As somebody else where this is root, whom modes do not stop.
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    code = f"""
from pathlib import Path
from mnistctl import errors, files
import os
if os.getuid() == 0:
    os.setuid(65534)
try:
    files.write_bytes(Path({str(folder)!r}) / "file", b"x")
except errors.WriteError as error:
    print(error)
"""
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o055)

    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=unmeasured(),
    )

    assert answer.stdout.strip() == f"{folder / 'file'}: cannot be written: Permission denied"
