"""Odd values, names and environments on the command line."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mnistctl.cli import app
from tests.attacks.attack import attack
from tests.helpers import Cli

LONG = "a" * 5_000
GROUP: Any = typer.main.get_command(app.app)

# Arguments with which a command ends before it computes anything, if its options let it.
ARGUMENTS = {
    "train": ["--dataset", "nothing"],
    "predict": ["nothing.png", "--model", "bundled"],
    "label": ["nothing", "--model", "bundled"],
    "ensemble": ["nothing", "none"],
    "compare": ["nothing", "none"],
    "eval": ["nothing"],
    "export": ["nothing"],
    "benchmark": ["nothing"],
    "plot": ["nothing"],
    "info": ["nothing"],
    "serve": ["nothing"],
    "tune": ["--dataset", "nothing"],
}
COMPUTE = {"download", "data", "doctor", "runs", "recipes", "archs"}  # nothing to name: fast anyway

NUMBERS = [
    *("-1", "0", "nan", "inf", "-inf", "1e400", "-1e400", "1e-400", "0x10", "1_000", "٣", "½", "1,5"),
    *("", " ", "text", "--", "1e9", "9" * 30, "9" * 5_000, "-" + "9" * 30, "1 2", "\x1b[31m1", "1\n2"),
]
NAMES = [
    *("", " ", ".", "..", "/", "-", "--", "~", "\n", "\x1b[31mred", "a\nb", "[red]", "{0}", "%s", "🔢"),
    *("/dev/null", "/proc/self/mem", "con", "a" * 300, LONG, f"{LONG}/{LONG}", f"{LONG}.py:A"),
    *("torchvision:", ":", "x.py:", "x.py:A", "http://", "*", "**/*", "$HOME", ",", ",,", "a,,b"),
]


def options(*, numeric: bool) -> Iterator[Any]:
    """Every option that takes a value, as (command, option)."""
    for command in GROUP.commands.values():
        for parameter in command.params:
            if parameter.param_type_name != "option" or parameter.is_flag:
                continue
            is_numeric = parameter.metavar in ("N", "VALUE", "LIST", "ACCURACY", "INTERVAL")
            if is_numeric == numeric:
                option = parameter.opts[0]
                yield pytest.param(command.name, option, id=f"{command.name} {option}")


def check(cli: Cli, *arguments: str) -> None:
    """The command succeeds, or fails with a documented code and one line."""
    answer = cli(*arguments)

    assert answer.code in range(7), (arguments, answer)
    if answer.code:
        lines = [line for line in answer.err.splitlines() if line.startswith("mnistctl: ")]
        assert lines, (arguments, answer)
        assert all(len(line) < 1_000 for line in lines)
    assert "\x1b" not in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(("command", "option"), [*options(numeric=True)])
def test_odd_numbers_are_rejected_in_one_line(command: str, option: str, cli: Cli) -> None:
    for value in NUMBERS:
        check(cli, command, *ARGUMENTS.get(command, ()), f"{option}={value}")


@pytest.mark.parametrize(("command", "option"), [*options(numeric=False)])
def test_odd_names_are_rejected_in_one_line(command: str, option: str, cli: Cli) -> None:
    for value in NAMES:
        if command not in COMPUTE or value not in ("", " ", ".", "/", "\n"):
            check(cli, command, *ARGUMENTS.get(command, ()), f"{option}={value}")


@pytest.mark.parametrize("command", sorted(GROUP.commands))
def test_odd_arguments_are_rejected_in_one_line(command: str, cli: Cli) -> None:
    for value in (LONG, "\x1b[31mred", "\udcff", "--" + LONG, "-\udcff", "--\x1b[31m", "-" * 5_000):
        check(cli, command, value, value)


@pytest.mark.parametrize(
    "key", ["dataset", "arch", "recipe", "init", "device", "optimizer", "a\\u0000b"]
)
def test_nul_in_a_settings_file_is_rejected(key: str, cli: Cli) -> None:
    Path("a.toml").write_text(f'"{key}" = "a\\u0000b"')

    answer = cli("train", "--config", "a.toml")

    assert answer.code in (2, 4), answer
    assert answer.err.startswith("mnistctl: ")
    assert answer.err.count("\n") == 1
    assert "\0" not in answer.err


@pytest.mark.parametrize(
    "name", ["x" * 100_000, "--" + "x" * 100_000, "\x1b[2J", b"\xff\xfe", "-" * 99]
)
def test_an_odd_command_is_rejected_in_one_line(name: str | bytes, tmp_path: Path) -> None:
    outcome = attack(name, folder=tmp_path)

    outcome.check_failed(2)
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize(
    "variables",
    [
        *({"COLUMNS": columns} for columns in ("0", "1", "-5", "x", "99999999999999999999", "5")),
        {"TERM": "nonsense", "COLORTERM": "x", "FORCE_COLOR": "1"},
        {"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii"},
        {"HOME": "/nonexistent", "XDG_CACHE_HOME": "relative"},
        {"HOME": "", "USER": "", "LOGNAME": ""},
        {"MNISTCTL_DATA_DIR": LONG},
        {"MNISTCTL_DATA_DIR": "/dev/null"},
        {"MNISTCTL_DATA_DIR": "\x1b[31m\n"},
        {"TZ": "nonsense", "LINES": "-1"},
    ],
    ids=lambda variables: " ".join(f"{name}={value[:12]!r}" for name, value in variables.items()),
)
def test_lists_are_printed_in_an_odd_environment(variables: dict[str, str], tmp_path: Path) -> None:
    for arguments in (["download", "--list"], ["recipes"], ["train", "--help"]):
        attack(*arguments, folder=tmp_path, variables=variables).check_succeeded()


@pytest.mark.parametrize(
    "mirror",
    ["http://[", "ftp://x/", "javascript:x", "http://\x1b[31m/", f"http://{LONG}/", "http://:0/"],
)
def test_an_odd_mirror_is_rejected_in_one_line(
    mirror: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (("--mirror", mirror), ("--from", mirror)):
        check(cli, "download", *arguments)
    monkeypatch.setenv("MNISTCTL_MIRROR", mirror)
    check(cli, "download")


@pytest.mark.parametrize(
    "command",
    [
        *("doctor", "download --list", "info bundled", "runs"),
        "train --dataset digits --recipe fast --epochs 1",
    ],
)
def test_a_user_without_a_name_and_a_home_can_use_the_program(command: str, tmp_path: Path) -> None:
    program = (
        "import os, pwd, sys\n"
        "def fail(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = fail\n"
        "for name in ('HOME', 'USER', 'LOGNAME', 'XDG_CACHE_HOME', 'MNISTCTL_DATA_DIR'):\n"
        "    os.environ.pop(name, None)\n"
        "from mnistctl.cli import app\n"
        "app.run()"
    )
    Path(tmp_path / "program.py").write_text(program)

    outcome = attack(
        "program.py", *command.split(), folder=tmp_path, command=(sys.executable,), cpu_s=60
    )

    outcome.check_succeeded()
    assert "Matplotlib" not in outcome.err
