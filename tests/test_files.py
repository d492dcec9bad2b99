import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mnistctl.errors import ModelError, WriteError, one_line
from mnistctl.system import files
from tests.helpers import environment_without_coverage, let_others_enter


def test_a_write_leaves_the_file_and_no_temporary_file(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "new" / "file", b"content")

    assert (tmp_path / "new" / "file").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_written_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_failed_write_keeps_the_old_content_and_leaves_no_temporary_file(
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


@pytest.mark.skipif(os.name == "nt", reason="on Windows links need a privilege")
def test_a_write_to_a_link_replaces_its_target(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")

    files.write_bytes(tmp_path / "link", b"new")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_folder_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="not a regular file"):
        files.write_bytes(tmp_path, b"new")

    assert tmp_path.is_dir()


def test_an_exception_during_a_write_keeps_the_old_content_and_leaves_no_temporary_file(
    tmp_path: Path,
) -> None:
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


@pytest.mark.skipif(os.name == "nt", reason="Windows folders have no modes")
def test_a_write_to_a_read_only_folder_gives_a_one_line_error(tmp_path: Path) -> None:
    # Root may write despite the mode, so the process changes to another user.
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    code = f"""
from pathlib import Path
from mnistctl import errors
from mnistctl.system import files
import filelock, os
if os.getuid() == 0:
    os.setuid(65534)
try:
    files.write_bytes(Path({str(folder)!r}) / "file", b"x")
except errors.WriteError as error:
    print(error)
"""
    let_others_enter(tmp_path)

    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment_without_coverage(),
    )

    assert process.stdout.strip() == f"{folder / 'file'}: cannot be written: Permission denied"


def test_a_missing_file_raises_the_given_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        files.read_bytes(tmp_path / "missing", error=ModelError)

    assert str(error.value) == f"{tmp_path / 'missing'}: No such file or directory"


def test_an_unused_path_has_the_first_free_number(tmp_path: Path) -> None:
    path = tmp_path / "seven.png"

    assert files.unused_path(path) == path
    for name in ("seven.png", "seven-2.png"):
        (tmp_path / name).touch()
    assert files.unused_path(path) == tmp_path / "seven-3.png"


def test_the_text_of_a_foreign_error_is_one_short_line() -> None:
    assert one_line(ValueError(" two\n  lines ")) == "two lines"
    assert one_line(ValueError("x" * 300)) == "x" * 200
    assert one_line(ValueError()) == "ValueError"


def test_an_existing_folder_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()

    with files.replacing(tmp_path / "model", folder=True) as new:
        new.mkdir()
        (new / "new").touch()

    assert [path.name for path in tmp_path.rglob("*")] == ["model", "new"]
