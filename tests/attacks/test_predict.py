"""Attacks on `predict` by names of files, lists of names, standard streams and odd values."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from mnistctl.api.picture_requests import EXAMPLE
from tests.attacks.attack import Outcome, attack

MNISTCTL = Path(sys.executable).with_name("mnistctl")


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    """A picture of a 7 in the working folder."""
    return Path(shutil.copy(EXAMPLE, tmp_path / "digit.png"))


def predict(folder: Path, *arguments: str | bytes, variables: dict[str, str] | None = None) -> Outcome:
    options = ("--model", "bundled", "-q")
    return attack("predict", *arguments, *options, folder=folder, variables=variables)


def run_in_shell(folder: Path, arguments: str, redirection: str) -> Outcome:
    script = f"exec {shlex.quote(str(MNISTCTL))} predict --model bundled -q {arguments} {redirection}"
    return attack(folder=folder, command=("/bin/sh", "-c", script))


ODD_NAMES = {
    "not UTF-8": b"bad\xff\xfe.png",
    "escape sequence": b"a\x1b[31mRED.png",
    "line break": b"a\nb.png",
    "bell and backspace": b"a\x07\x08.png",
    "right to left": "a\u202egnp.png".encode(),
    "brackets": b"[bold]a.png",
    "percent and dollar": b"%s $x$ {0}.png",
    "long": b"a" * 250 + b".png",
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_a_picture_with_an_odd_name_is_read_annotated_and_explained(name: bytes, digit: Path) -> None:
    os.rename(digit, bytes(digit.parent) + b"/" + name)

    answer = predict(digit.parent, name, "--annotate", "boxes", "--explain", "plots.png")
    in_json = predict(digit.parent, name, "--jsonl")

    answer.check_succeeded()
    assert not {*"\x1b\x07\x08\u202e"} & {*answer.out}
    assert len(answer.out.splitlines()) == 2  # a heading and a row
    assert len(list((digit.parent / "boxes").iterdir())) == 1
    (line,) = in_json.out.splitlines()
    assert os.fsencode(json.loads(line)["file"]) == name  # so it can be found again


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_an_odd_name_that_does_not_exist_gives_one_line(name: bytes, tmp_path: Path) -> None:
    answer = predict(tmp_path, name)

    answer.check_failed(6)
    assert not {*"\x1b\x07\x08\u202e"} & {*answer.err}


@pytest.mark.parametrize("name", ["", "a" * 300, "a/" * 3000, "*" * 300, "[", "~nobody/x.png"])
def test_a_name_that_cannot_exist_gives_one_line(name: str, tmp_path: Path) -> None:
    predict(tmp_path, name).check_failed(6)


LISTS = {
    "zero bytes": (b"a\0b\n", 6, "NUL"),
    "no text": (bytes(range(128, 256)), 6, "No such file"),
    "only empty lines": (b"\n \n\r\n", 2, "no pictures"),
    "long line": (b"a" * 1_000_000, 6, "too long"),
    "option": (b"--version\n", 6, "--version: No such file"),
}


@pytest.mark.parametrize("kind", LISTS)
def test_an_odd_list_of_names_gives_one_line(kind: str, tmp_path: Path) -> None:
    content, code, text = LISTS[kind]
    (tmp_path / "list.txt").write_bytes(content)

    predict(tmp_path, "--from-file", "list.txt").check_failed(code, text)


def test_a_list_may_have_a_byte_order_mark_line_breaks_of_windows_and_any_bytes(digit: Path) -> None:
    os.rename(digit, bytes(digit.parent) + b"/\xff.png")
    (digit.parent / "list.txt").write_bytes(b"\xef\xbb\xbf\xff.png\r\n\r\n")

    answer = predict(digit.parent, "--from-file", "list.txt", "--json")

    answer.check_succeeded()
    assert json.loads(answer.out)[0]["label"] == "7"


@pytest.mark.parametrize("option", ["--from-file", "--skip-done"])
@pytest.mark.parametrize("kind", ["/dev/zero", "pipe", "folder", "missing", "10 GB"])
def test_a_list_that_is_no_file_or_too_large_gives_one_line(
    option: str, kind: str, digit: Path
) -> None:
    path = digit.parent / "list"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "10 GB":
        path.touch()
        os.truncate(path, 10_000_000_000)
    name = kind if kind.startswith("/") else "list"

    answer = predict(digit.parent, "digit.png", option, name)

    answer.check_failed(2 if option == "--from-file" else 3, name)


@pytest.mark.parametrize(
    "content", [b"7\n", b"[]\n", b"{}\n", b"\xff\n", b"\0\n", b"[" * 100_000 + b"\n", b'{"file": []}\n']
)
def test_skip_done_rejects_a_file_with_other_lines(content: bytes, digit: Path) -> None:
    (digit.parent / "done").write_bytes(content)

    predict(digit.parent, "digit.png", "--skip-done", "done").check_failed(3, "line 1")


@pytest.mark.parametrize("style", ["", "--json", "--jsonl", "--csv", "--preview", "--numbers"])
def test_a_closed_stdout_gives_one_line(style: str, digit: Path) -> None:
    run_in_shell(digit.parent, f"digit.png {style}", ">&-").check_failed(1, "output is closed")


@pytest.mark.parametrize("arguments", ["-", "--from-file -"])
@pytest.mark.parametrize("redirection", ["<&-", "</dev/null"])
def test_a_closed_or_empty_stdin_gives_one_line(
    arguments: str, redirection: str, tmp_path: Path
) -> None:
    outcome = run_in_shell(tmp_path, arguments, redirection)

    outcome.check_failed(6 if arguments == "-" else 2)


def test_a_closed_stderr_is_no_error(digit: Path) -> None:
    outcome = run_in_shell(digit.parent, "digit.png missing.png --json", "2>&-")

    outcome.check_survived()
    assert outcome.code == 6
    assert len(json.loads(outcome.out)) == 2


@pytest.mark.parametrize("style", ["", "--json", "--jsonl", "--csv"])
def test_a_full_disk_gives_one_line(style: str, digit: Path) -> None:
    run_in_shell(digit.parent, f"digit.png {style}", ">/dev/full").check_failed(1, "No space left")


@pytest.mark.parametrize("style", ["", "--json", "--jsonl", "--csv"])
def test_a_reader_that_ends_early_is_no_failure(style: str, digit: Path) -> None:
    program = shlex.quote(str(MNISTCTL))
    script = f"({program} predict {'digit.png ' * 20} {style} -q; echo code $? >&2) | sleep 0"

    outcome = attack(folder=digit.parent, command=("/bin/sh", "-c", script))

    outcome.check_succeeded()
    assert outcome.err == "code 141\n"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ("--top 0", 2, "--top 0"),
        ("--top -5", 2, "--top"),
        ("--top 1e9", 2, "--top"),
        ("--jobs 0", 2, "--jobs 0"),
        ("--jobs -1", 2, "--jobs"),
        ("--threshold nan", 2, "--threshold nan"),
        ("--threshold inf", 2, "--threshold inf"),
        ("--explain e.jpg", 2, ".png, .svg or .pdf"),
        ("--annotate e.png.gz", 2, ".png, .svg or .pdf"),
        ("--annotate digit.png", 2, "digit.png exists"),
        ("--annotate digit.png/x.png", 1, "digit.png"),
        (f"--explain {'a' * 300}.png", 2, "too long"),
        (f"--annotate {'a' * 300}", 2, "too long"),
        ("--annotate /dev/null/x", 1, "/dev/null/x"),
        ("--model digit.png", 4, "digit.png"),
        ("--model /dev/zero", 4, "/dev/zero"),
    ],
)
def test_an_odd_value_gives_one_line(arguments: str, code: int, text: str, digit: Path) -> None:
    attack("predict", "digit.png", *arguments.split(), "-q", folder=digit.parent).check_failed(
        code, text
    )


@pytest.mark.parametrize("style", ["--csv", "--json", "--numbers"])
def test_more_classes_than_there_are_give_all_of_them(style: str, digit: Path) -> None:
    answer = predict(digit.parent, "digit.png", style, "--top", "999999999999")

    answer.check_succeeded()
    assert len(answer.out) < 5_000


def test_no_module_in_the_working_folder_is_run_by_a_process(digit: Path) -> None:
    for module in ("multiprocessing", "numpy", "cv2", "PIL", "pickle", "mnistctl"):
        (digit.parent / f"{module}.py").write_text("open('executed', 'w')\nraise SystemExit(99)\n")

    predict(digit.parent, "digit.png", "digit.png", "digit.png", "--jobs", "2").check_succeeded()

    assert not (digit.parent / "executed").exists()


def test_more_processes_than_pictures_start_only_as_many(digit: Path) -> None:
    answer = predict(digit.parent, "digit.png", "--jobs", "99999999999", "--jsonl")

    answer.check_succeeded()
    assert json.loads(answer.out)["label"] == "7"
