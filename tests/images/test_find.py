"""Pictures are found in folders and by patterns, and what is skipped is counted."""

import logging
from pathlib import Path

import pytest

from mnistctl import images
from mnistctl.api import picture_requests
from mnistctl.errors import MissingExtraError, PictureError
from mnistctl.images import decode


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def found(name: str, *, recursive: bool = False) -> list[str]:
    return [path.as_posix() for path in images.find_files(name, recursive=recursive)]


def test_files_that_are_no_pictures_are_counted_by_kind(caplog: pytest.LogCaptureFixture) -> None:
    touch("scans/a.png", "scans/b.TIF", "scans/c.txt", "scans/d.txt", "scans/e.mov", "scans/README")
    touch("scans/.hidden", "scans/.hidden.png", "scans/deeper/f.png")
    caplog.set_level(logging.INFO)

    assert found("scans") == ["scans/a.png", "scans/b.TIF"]
    assert caplog.messages == ["scans: skipped 4 files: 2 .txt, 1 without suffix, 1 .mov"]


def test_pictures_in_sub_folders_are_hinted_at() -> None:
    touch("scans/box-1/a.png", "scans/box-1/b.png", "scans/box-2/deep/c.png", "scans/notes.txt")

    with pytest.raises(PictureError) as caught:
        found("scans")

    assert str(caught.value) == (
        "scans: no pictures in this folder (1 file: 1 .txt); 3 in sub-folders: add --recursive"
    )


def test_a_tree_is_listed_folder_by_folder() -> None:
    touch("scans/b.png", "scans/a/z.png", "scans/a/y/x.png", "scans/c/w.png", "scans/.git/v.png")

    assert found("scans", recursive=True) == [
        "scans/b.png",
        "scans/a/z.png",
        "scans/a/y/x.png",
        "scans/c/w.png",
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("scans/*.png", ["scans/b.png"]),
        ("scans/*/*.png", ["scans/a/z.png"]),
        ("scans/**/*.png", ["scans/a/y/x.png", "scans/a/z.png", "scans/b.png"]),
        ("**/x.*", ["scans/a/y/x.png"]),
        ("sc*/**/y/*", ["scans/a/y/x.png"]),
        ("scans/a/**", ["scans/a/y/x.png", "scans/a/z.png"]),
    ],
)
def test_patterns_match_files(pattern: str, expected: list[str]) -> None:
    touch("scans/b.png", "scans/a/z.png", "scans/a/y/x.png", "scans/.git/v.png")

    assert found(pattern) == expected


def test_a_pattern_without_a_match_is_an_error() -> None:
    Path("scans").mkdir()

    for pattern in ("scans/*.png", "**/*.png", "gone/**/x"):
        with pytest.raises(PictureError, match="no file matches this pattern"):
            found(pattern)


def test_pictures_that_need_an_extra_are_skipped_in_folders_with_its_command(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decode, "find_spec", lambda name: None)
    touch("scans/a.png", "scans/b.pdf", "scans/c.heic")
    caplog.set_level(logging.INFO)

    assert found("scans") == ["scans/a.png"]
    assert "1 .pdf (pip install 'mnistctl[pdf]' to read them)" in caplog.text
    assert "1 .heic (pip install 'mnistctl[heif]' to read them)" in caplog.text


def test_a_picture_that_needs_an_extra_is_rejected_with_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decode, "find_spec", lambda name: None)
    Path("scan.pdf").write_bytes(b"%PDF-1.4")
    Path("photo.png").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")

    with pytest.raises(MissingExtraError, match=r"pip install 'mnistctl\[pdf\]'"):
        picture_requests.list_requests(["scan.pdf"], recursive=False)
    requests = picture_requests.list_requests(["scan.pdf", "photo.png"], recursive=False)
    assert [request.file for request in requests] == ["scan.pdf", "photo.png"]
    for name, extra in (("scan.pdf", "pdf"), ("photo.png", "heif")):
        with pytest.raises(PictureError, match=rf"pip install 'mnistctl\[{extra}\]'"):
            decode.read(Path(name), name=name)
