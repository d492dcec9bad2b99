"""Temporary folders, in which files are written before they are put in place.

The folder `.XXXXXXXX.partial` is made beside the file to write, so that a rename is enough. It contains
`new/NAME`, and `old/NAME` while a folder is being replaced. Its process keeps `lock` locked, so that
`clean_up` in any other process removes it only after its process has ended.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

SUFFIX = ".partial"


@contextlib.contextmanager
def path_for(target: Path) -> Iterator[Path]:
    """Yield a path to write the new content of `target` to; see `put_in_place`.

    Raises:
        OSError: the folder cannot be made.
    """
    from filelock import FileLock  # 80 ms

    folder = target.with_name(f".{secrets.token_hex(4)}{SUFFIX}")
    lock = FileLock(folder / "lock")
    try:
        (folder / "new").mkdir(parents=True)
        with contextlib.suppress(OSError, NotImplementedError):  # a file system without locks
            lock.acquire()
        yield folder / "new" / target.name
    finally:
        lock.release()
        _remove(folder)


def put_in_place(new: Path, target: Path) -> None:
    """Rename what was written at the path of `path_for`, and replace an existing target.

    Raises:
        OSError: it cannot be renamed; the target is as it was.
    """
    if new.is_dir() and target.exists():  # a rename cannot replace a folder that is not empty
        old = new.parents[1] / "old" / target.name
        old.parent.mkdir()
        os.replace(target, old)
    os.replace(new, target)


def clean_up(folder: Path) -> None:
    """Remove the temporary folders in `folder` whose processes were killed.

    A folder that was being replaced, and is not there any more, is put back.
    """
    from filelock import FileLock, Timeout

    for path in folder.glob(f".*{SUFFIX}/lock"):
        lock = FileLock(path, timeout=0)
        with contextlib.suppress(Timeout, OSError, NotImplementedError):
            lock.acquire()
            lock.release()
            _remove(path.parent)


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for old in folder.glob("old/*"):
            target = folder.with_name(old.name)
            if not target.exists():
                os.replace(old, target)
        shutil.rmtree(folder)
