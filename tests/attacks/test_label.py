"""`label` without a terminal, on odd terminals, and with odd keys and classes."""

import os
import re
import select
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.attacks.attack import attack
from tests.helpers import environment_without_coverage

fcntl = pytest.importorskip("fcntl", reason="no pseudo-terminals on this system")
import pty  # noqa: E402
import termios  # noqa: E402

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PROGRAM = str(Path(sys.executable).with_name("mnistctl"))
CTRL_C, CTRL_D, ESCAPE, BACKSPACE = b"\x03", b"\x04", b"\x1b", b"\x7f"


@pytest.fixture
def photos(tmp_path: Path, digits_test: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]) -> Path:
    """A folder with a picture of a 0, a 1 and a 2."""
    images, labels = digits_test
    folder = tmp_path / "photos"
    folder.mkdir()
    for label in range(3):
        digit = images[np.flatnonzero(labels == label)[0]]
        Image.fromarray(255 - digit).resize((90, 90)).save(folder / f"{label}.png")
    return folder


@dataclass(frozen=True)
class Session:
    """What a command on a pseudo-terminal did."""

    code: int | None  # None: it did not end
    out: str  # stdout, which is a pipe
    screen: str  # stderr, which is the terminal


def type_keys(*keys: bytes, arguments: tuple[str, ...] = (), columns: int = 80) -> Session:
    """Run `mnistctl label photos ARGUMENTS` on a terminal; press each key when it is waited for.

    A key of more than one character is typed at once. After the last key the terminal is closed if the
    command still waits.
    """
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [PROGRAM, "label", "photos", "--model", "bundled", "-q", *arguments],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**environment_without_coverage(), "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(terminal)
    remaining, screen, deadline, is_answered = list(keys), "", time.monotonic() + 60, False
    while time.monotonic() < deadline:
        if select.select([controller], [], [], 0.05)[0]:
            try:
                screen += ANSI.sub("", os.read(controller, 65_536).decode(errors="replace"))
            except OSError:  # the command has ended
                break
            is_answered = False
        elif not is_answered and screen.endswith("  ") and is_waiting(controller, screen):
            if not remaining:
                break
            os.write(controller, remaining.pop(0))
            is_answered = True
    os.close(controller)
    try:
        out, _ = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        return Session(None, out.decode(), screen)
    assert "Traceback" not in screen, screen
    return Session(process.returncode, out.decode(), screen)


def is_waiting(controller: int, screen: str) -> bool:
    """Whether the command waits for a key, in raw mode, or for a line."""
    is_raw = not termios.tcgetattr(controller)[3] & termios.ICANON
    return is_raw or screen.endswith("class:  ") or "its name" in screen


def labelled() -> dict[str, int]:
    folders = sorted(Path("labelled").iterdir()) if Path("labelled").exists() else []
    return {folder.name: len(list(folder.iterdir())) for folder in folders}


# Standard streams


@pytest.mark.parametrize("redirection", ["<&-", "< /dev/null", "< photos/0.png", "2>&-"])
def test_label_without_a_terminal_fails_in_one_line(photos: Path, redirection: str) -> None:
    command = ("sh", "-c", f'exec "$0" "$@" {redirection}', PROGRAM)

    outcome = attack("label", photos, folder=photos.parent, command=command)

    if redirection == "2>&-":  # nothing can be said
        outcome.check_survived()
        assert outcome.code == 2
    else:
        outcome.check_failed(2, "label needs a terminal")
    assert labelled() == {}


def test_label_reads_no_keys_from_a_pipe(photos: Path) -> None:
    keys = subprocess.Popen(["echo", "777"], stdout=subprocess.PIPE)
    assert keys.stdout is not None

    attack("label", photos, folder=photos.parent, stdin=keys.stdout).check_failed(2, "needs a terminal")

    keys.stdout.close()
    keys.wait()


# Terminals


@pytest.mark.parametrize("columns", [1, 2, 10, 1000])
def test_label_works_on_a_terminal_of_any_width(photos: Path, columns: int) -> None:
    session = type_keys(b"\r", b"7", ESCAPE, columns=columns)

    assert session.code == 0
    assert sum(labelled().values()) == 2


def test_label_ends_when_its_terminal_is_closed(photos: Path) -> None:
    session = type_keys(b"4")

    assert session.code is not None
    assert labelled() == {"4": 1}


@pytest.mark.parametrize(("key", "code"), [(CTRL_C, 130), (b"5" + CTRL_C, 130), (CTRL_D, 0)])
def test_label_reports_what_it_did_before_it_was_stopped(photos: Path, key: bytes, code: int) -> None:
    session = type_keys(b"4", key, arguments=("--json",))

    assert session.code == code
    assert '"filed": 1' in session.out
    assert ("mnistctl: interrupted" in session.screen) == (code == 130)


# Keys


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ([b"x"], "'x' is not a class; classes: 0, 1, 2"),
        ([b"77"], "'77' is not a class"),
        ([b"\x1b[A"], "is not a class"),
        ([b"\xff\xfe"], "is not a class"),
        ([b"\x00"], "is not a class"),
        ([b"+", b"../evil\n"], "class '../evil' cannot be the name of a folder"),
        ([b"+", b"\n"], "class '' cannot be the name of a folder"),
        ([b"+", b".hidden\n"], "class '.hidden' cannot be"),
        ([b"+", b"\xc3\x28\n"], "cannot be the name of a folder"),
        ([b"+", b"a" * 300 + b"\n"], "cannot be the name of a folder"),
    ],
)
def test_a_key_without_a_meaning_is_answered_with_a_word(
    photos: Path, keys: list[bytes], word: str
) -> None:
    session = type_keys(*keys, b"7", ESCAPE)

    assert session.code == 0
    assert word in session.screen
    assert labelled() == {"7": 1}


def test_backspace_undoes_the_last_answer_also_a_skip(photos: Path) -> None:
    session = type_keys(b"4", b" ", BACKSPACE, b"6", BACKSPACE, BACKSPACE, BACKSPACE, b"8", ESCAPE)

    assert session.code == 0
    assert labelled() == {"8": 1}


# Classes


def test_a_new_class_is_typed_after_a_plus(photos: Path) -> None:
    assert type_keys(b"+", b"A\n", b"a", ESCAPE).code == 0
    assert type_keys(b"A").code == 0  # in a later session, it is known

    assert labelled() == {"A": 3}


def test_given_classes_take_their_keys_in_either_case(photos: Path) -> None:
    session = type_keys(b"b", b"C", b"7", b"+", b"a", arguments=("--classes", "A,B,C"))

    assert session.code == 0
    assert "'7' is not a class; classes: A, B, C" in session.screen
    assert "'+' is not a class" in session.screen
    assert labelled() == {"A": 1, "B": 1, "C": 1}


def test_two_classes_that_differ_in_case_keep_their_own_keys(photos: Path) -> None:
    type_keys(b"a", b"A", ESCAPE, arguments=("--classes", "a,A"))

    assert labelled() == {"A": 1, "a": 1}


def test_the_names_of_long_classes_are_typed(photos: Path) -> None:
    session = type_keys(b"Cat\n", b"bird\n", b"dog\n", b"quit\n", arguments=("--classes", "cat,dog"))

    assert session.code == 0
    assert "'bird' is not a class; classes: cat, dog" in session.screen
    assert labelled() == {"cat": 1, "dog": 1}


@pytest.mark.parametrize(
    "classes", ["", "a,,b", "a/b,c", "..", ".", "a,\x1b[31m", "con:,b", "a" * 300, "_x"]
)
def test_classes_that_cannot_be_folders_are_rejected(photos: Path, classes: str) -> None:
    session = type_keys(ESCAPE, arguments=("--classes", classes))

    if not classes:  # as without the option
        assert session.code == 0
    else:
        assert session.code == 2
        assert "cannot be the name of a folder" in session.screen
    assert labelled() == {}


def test_a_picture_with_control_characters_in_its_name_is_labelled(photos: Path) -> None:
    (photos / "0.png").rename(photos / "0\x1b[31m\n\udcff.png")

    session = type_keys(b"0", ESCAPE)

    assert session.code == 0
    assert r"0\x1b[31m\n\udcff.png" in session.screen
    assert labelled() == {"0": 1}
