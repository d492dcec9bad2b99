"""Texts and tables on terminals of several widths, and in pipes."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.text import Text

from mnistctl.cli import layout, render
from tests.helpers import Cli

Draw = Callable[[int | None], str]  # the output for a width; None: in a pipe

# What is printed while a long command works is not shown here. tests/cli/test_terminal.py runs it.
COMMANDS = [
    "archs",
    "benchmark mine --format safetensors",
    "compare mine other bundled --dataset digits",
    "data digits",
    "doctor",
    "download --list",
    "ensemble mine other",
    "eval mine",
    "eval mine --split train,test",
    "export mine --format onnx --output out.onnx",
    "info bundled",
    "info mine",
    "predict three.png bundled.png nothing.png --model mine",
    "predict three.png --numbers --model mine",
    "recipes",
    "recipes lenet5",
    "runs",
    "train --dataset digits --recipe fast --epochs 1 --name new --no-plots",
]


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Make stdout a terminal of this width; None: a pipe."""

    def change(width: int | None) -> None:
        monkeypatch.setenv("COLUMNS", str(width or 20))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: width is not None)

    return change


@pytest.fixture
def draw(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    on_terminal: Callable[[int | None], None],
    request: pytest.FixtureRequest,
    run_folder: Path,
    picture: Path,
    cli: Cli,
) -> Draw:
    """Run the command of this test once; draw its output for any width."""
    for name in ("mine", "other"):
        shutil.copytree(run_folder, Path("runs") / name)
    shutil.copy(picture, "bundled.png")
    parts: list[Any] = []
    show_text = render.show_text
    monkeypatch.setattr(render, "show_text", lambda items: parts.extend(items))
    answer = cli(*request.param.split())
    assert parts, answer.err

    def draw(width: int | None) -> str:
        on_terminal(width)
        capsys.readouterr()
        show_text(parts)
        return re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)

    return draw


@pytest.mark.parametrize("draw", COMMANDS, indirect=True)
def test_no_word_is_broken_on_any_terminal(draw: Draw) -> None:
    whole = draw(None)

    for width in (60, 80, 120):
        text = draw(width)
        assert set(text.split()) == set(whole.split())
        for line in text.splitlines():
            is_command = line.startswith("  ") and ("mnistctl" in line or "onnx" in line)
            has_long_word = max(map(cell_len, line.split()), default=0) > width // 2
            assert cell_len(line.rstrip()) <= width or is_command or has_long_word


@pytest.mark.parametrize(("width", "count"), [(20, 1), (60, 3), (80, 4), (120, 5)])
def test_samples_of_a_dataset_fit_the_terminal(
    width: int, count: int, cli: Cli, on_terminal: Callable[[int | None], None]
) -> None:
    on_terminal(width)

    lines = re.sub(r"\x1b\[[\d;]*m", "", cli("data", "digits").out).splitlines()

    samples = [line for line in lines if re.search("[⠀-⣿]", line)]
    assert len(samples) == 10 * 7
    assert {len(line.rstrip()) for line in samples} == {7 + count * 15 - 1}


def test_samples_of_a_dataset_are_not_drawn_into_a_pipe(cli: Cli) -> None:
    assert not re.search("[⠀-⣿]", cli("data", "digits").out)
    assert list(Path().iterdir()) == []


def test_paths_and_commands_are_not_wrapped_in_a_pipe(
    cli: Cli, run_folder: Path, on_terminal: Callable[[int | None], None]
) -> None:
    on_terminal(None)
    model = run_folder / "model.safetensors"

    shutil.copy(model, "copy.safetensors")
    answer = cli("ensemble", model, "copy.safetensors", "--output", "both.safetensors")

    assert "  mnistctl export both.safetensors\n" in answer.out
    assert str(model) in cli("info", model).out
    assert "mnistctl info bundled --card" in cli("info", "bundled").out


MESSAGE = "mnistctl: the dataset is damaged; run 'mnistctl download mnist --from FOLDER' to repair it"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            MESSAGE,
            ["mnistctl: the dataset is", "damaged; run", MESSAGE[38:77], "to repair it"],
        ),
        ("next: mnistctl train --resume x", ["next:", "mnistctl train --resume x"]),
        ("  mnistctl train --resume my-best", ["  mnistctl train --resume my-best"]),
        ("/a/very/long/path/to/a/model.onnx", ["/a/very/long/path/to/a/model.onnx"]),
        ("saved in /a/very/long/path/to/a/model", ["saved in", "/a/very/long/path/to/a/model"]),
        ("数字数字数字 数字数字数字", ["数字数字数字", "数字数字数字"]),
        ("\nshort\n", ["", "short", ""]),
        ("", [""]),
    ],
)
def test_text_is_wrapped_between_words_and_never_in_a_command(text: str, lines: list[str]) -> None:
    assert layout.fit_text(Text(text), 24).plain.split("\n") == lines


def test_errors_are_wrapped_on_a_terminal_only(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    piped = cli("train", "--epoch", "3").err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = cli("train", "--epoch", "3").err

    assert piped.count("\n") == 1
    assert max(map(len, shown.splitlines())) <= 40
    assert shown.split() == piped.split()
    assert "'mnistctl train --help'" in shown
