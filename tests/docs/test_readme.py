"""The README and CONTRIBUTING.md agree with the program."""

import re
import shutil
from pathlib import Path

import pytest
import typer.main

from mnistctl.cli.app import app
from tests.helpers import ROOT, Cli, load_script

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def section(heading: str) -> str:
    return README.split(f"## {heading}\n")[1].split("\n## ")[0]


def commands(block: str) -> list[list[str]]:
    """The arguments of every line `mnistctl ...`; the comments are left out."""
    lines = [line.split("#")[0].split() for line in block.strip().splitlines()]
    assert all(program == "mnistctl" for program, *_ in lines)
    return [arguments for _, *arguments in lines]


def test_the_picture_of_a_session_is_as_wide_as_a_terminal() -> None:
    picture = (ROOT / "docs" / "session.svg").read_text(encoding="utf-8")

    width = re.search(r'viewBox="0 0 ([\d.]+) ', picture)

    assert width is not None
    assert 900 < float(width[1]) < 1300
    assert "while&#160;training" in picture


def test_every_command_is_in_the_readme_table() -> None:
    rows = re.findall(r"^\| `mnistctl (\w+)` \|", section("Commands"), flags=re.MULTILINE)

    group: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    assert sorted(rows) == sorted(group.commands)


def test_the_quick_start_is_two_commands() -> None:
    block = section("Quick start").split("```")[1]

    assert block.strip().splitlines() == [
        "pip install . && mnistctl train",
        "pip install nox && nox -s tests",
    ]


def test_the_python_example_runs(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = section("From Python").split("```python")[1].split("```")[0]
    shutil.copy(picture, "digit.png")

    exec(compile(code, "README.md", "exec"), {})

    validation, test, prediction = capsys.readouterr().out.splitlines()
    assert "% on validation" in validation
    assert "% on 297 test images" in test
    assert prediction.split()[0] == "3"


def test_the_custom_architecture_example_trains(cli: Cli) -> None:
    code = section("Architectures").split("```python")[1].split("```")[0]
    Path("net.py").write_text(code)

    answer = cli("train", "--arch", "net.py:Net", "--dataset", "digits", "--epochs", "1", "-q")

    assert answer.code == 0, answer.err


def test_the_examples_of_changed_settings_train(cli: Cli) -> None:
    block = README.split("**Changing settings.**")[1].split("```")[1]
    cli("train", "--dataset", "digits", "--epochs", "1", "--name", "mnist-cnn-1", "--no-plots")
    short = ("--dataset", "digits", "--epochs", "0.1", "--no-plots", "--quiet")

    for arguments in commands(block):
        answer = cli(*arguments, *short)
        assert answer.code == 0, (arguments, answer.err)


@pytest.mark.mnist
def test_the_first_session_runs(cli: Cli, picture: Path) -> None:
    block = section("A first session").split("```")[1]
    shutil.copy(picture, "digit.png")

    for arguments in commands(block):
        short = ["--epochs", "0.3"] if arguments[0] == "train" else []
        answer = cli(*arguments, *short)
        assert answer.code == 0, (arguments, answer.err)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_to_a_file(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "scripts").glob("*.py")))
def test_every_script_is_described_in_contributing(name: str) -> None:
    assert f"| `scripts/{name}` |" in CONTRIBUTING


def test_the_paths_in_contributing_exist() -> None:
    # Paths of modules are given from the root, or from the package.
    paths = re.findall(
        r"`((?:src|scripts|tests|docs|nn|settings|images|models)/[\w./-]+)`", CONTRIBUTING
    )

    for path in paths:
        assert (ROOT / path).exists() or (ROOT / "src" / "mnistctl" / path).exists(), path


def test_the_table_of_recipes_is_up_to_date() -> None:
    script = load_script("measure_recipes")
    block = README.split(script.BEGIN)[1].split(script.END)[0]

    assert block.strip() == script.table().strip()


def test_the_page_of_results_is_up_to_date() -> None:
    page = (ROOT / "docs" / "reference" / "results.md").read_text(encoding="utf-8")

    assert page.splitlines() == list(load_script("measure_recipes").results())


def test_the_bundled_digits_are_what_their_script_builds() -> None:
    import io

    import numpy as np

    script = load_script("build_digits")
    with np.load(io.BytesIO(script.build())) as built, np.load(script.TARGET) as shipped:
        assert set(built) == set(shipped)
        assert all((built[name] == shipped[name]).all() for name in built)
