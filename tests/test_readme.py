"""What the README says is so."""

import re
import shutil
from pathlib import Path

import pytest

from mnistctl.cli.app import app
from tests.helpers import ROOT, Cli, load_script

README = (ROOT / "README.md").read_text(encoding="utf-8")


def words(text: str) -> list[str]:
    """Without frames and line breaks, which are the terminal's business."""
    return re.sub(r"[│╭╮╰╯─]", " ", text).split()


def test_the_usage_blocks_are_what_help_says() -> None:
    usage = load_script("readme_usage")
    block = README.split(usage.BEGIN)[1].split(usage.END)[0]

    assert words(block) == words(usage.blocks())


def test_every_command_is_in_the_table_and_has_a_usage_block() -> None:
    usage = load_script("readme_usage")
    commands = [str(command.name) for command in app.registered_commands]

    assert sorted(commands) == sorted(usage.COMMANDS)
    for command in commands:
        assert f"| `mnistctl {command}` |" in README
        assert f"| `{command}` |" in README  # its JSON keys


def test_the_quick_start_is_three_commands() -> None:
    block = README.split("## Quick start")[1].split("```")[1]

    assert block.strip().splitlines() == [
        "pip install . && mnistctl predict digit.png",
        "pip install . && mnistctl train",
        "pip install nox && nox -s tests",
    ]


def test_the_python_example_runs(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = README.split("## From Python")[1].split("```python")[1].split("```")[0]
    shutil.copy(picture, "digit.png")

    exec(compile(code, "README.md", "exec"), {})

    validation, test, reading = capsys.readouterr().out.splitlines()
    assert "% on validation" in validation
    assert "% on 297 test images" in test
    assert reading.split()[0] == "3"


def test_the_net_of_ones_own_trains(cli: Cli) -> None:
    code = README.split("## Nets")[1].split("```python")[1].split("```")[0]
    Path("net.py").write_text(code)

    answer = cli("train", "--arch", "net.py:Net", "--dataset", "digits", "--epochs", "1", "-q")

    assert answer.code == 0, answer.err


def test_the_ideas_that_are_shown_can_be_tried(cli: Cli) -> None:
    block = README.split("**Trying an idea.**")[1].split("```")[1]
    cli("train", "--dataset", "digits", "--epochs", "1", "--name", "mnist-cnn-1", "--no-plots")
    short = ("--dataset", "digits", "--epochs", "0.1", "--no-plots", "--quiet")

    for line in block.strip().splitlines():
        program, *arguments = line.split()
        assert program == "mnistctl"
        assert cli(*arguments, *short).code == 0, line


def test_the_table_of_recipes_is_what_was_measured() -> None:
    measured = load_script("measure_recipes")
    block = README.split(measured.BEGIN)[1].split(measured.END)[0]

    assert block.strip() == measured.table().strip()


def test_the_page_of_results_is_what_was_measured() -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")

    assert page.splitlines() == list(load_script("measure_recipes").results())


@pytest.mark.mnist
def test_the_first_session_runs(cli: Cli, picture: Path) -> None:
    block = README.split("## A first session")[1].split("```")[1]
    shutil.copy(picture, "digit.png")

    for line in block.strip().splitlines():
        program, *arguments = line.split()
        assert program == "mnistctl"
        short = ["--epochs", "0.3"] if arguments[0] == "train" else []
        assert cli(*arguments, *short).code == 0, line


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "scripts").glob("*.py")))
def test_every_script_is_explained_to_contributors(name: str) -> None:
    assert f"`scripts/{name}`" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_embedded_digits_are_rebuilt_bit_for_bit_in_content() -> None:
    import io

    import numpy as np

    built = load_script("build_digits")
    with (
        np.load(io.BytesIO(built.build())) as fresh,
        np.load(built.TARGET) as shipped,
    ):
        assert set(fresh) == set(shipped)
        assert all((fresh[name] == shipped[name]).all() for name in fresh)
