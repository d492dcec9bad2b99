"""Commands whose stderr is a terminal: the live display must not touch the results on stdout."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")

PICTURES = 40


def stdout_beside_a_terminal(*arguments: str | Path) -> str:
    """What a command writes to a pipe on stdout while its stderr is a pseudo-terminal."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mnistctl", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(terminal)
    drain = threading.Thread(target=_drain, args=(controller,))
    drain.start()
    out, _ = process.communicate(timeout=120)
    drain.join()
    os.close(controller)
    assert process.returncode == 0
    return out


def _drain(controller: int) -> None:
    try:
        while os.read(controller, 65_536):
            pass
    except OSError:  # the other end is closed
        pass


@pytest.fixture
def pictures(picture: Path) -> Path:
    """A folder of many copies of one picture."""
    folder = Path("pictures")
    folder.mkdir()
    for number in range(PICTURES):
        (folder / f"{number:02}.png").write_bytes(picture.read_bytes())
    return folder


def test_jsonl_holds_every_picture_when_stderr_is_a_terminal(pictures: Path) -> None:
    out = stdout_beside_a_terminal("predict", pictures, "--jsonl", "--model", "bundled")

    assert len([json.loads(line) for line in out.splitlines()]) == PICTURES


def test_json_is_whole_when_stderr_is_a_terminal(pictures: Path) -> None:
    out = stdout_beside_a_terminal("predict", pictures, "--json", "--model", "bundled")

    assert len(json.loads(out)) == PICTURES


def test_csv_holds_every_picture_when_stderr_is_a_terminal(pictures: Path) -> None:
    out = stdout_beside_a_terminal("predict", pictures, "--csv", "--model", "bundled")

    assert len(out.splitlines()) == PICTURES + 1


def test_the_json_of_a_training_is_whole_when_stderr_is_a_terminal() -> None:
    out = stdout_beside_a_terminal("train", "--dataset", "digits", "--epochs", "1", "--json")

    assert json.loads(out)["dataset"] == "digits"
