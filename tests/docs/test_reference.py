"""The pages in `docs/reference` agree with the program."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import build_reference
import mnistctl
from mnistctl import errors
from mnistctl.settings import train_settings
from tests.helpers import Cli

FOLDER = build_reference.FOLDER


@pytest.mark.parametrize("name", build_reference.PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == build_reference.page(name), (
        "run python scripts/build_reference.py"
    )


def test_check_names_the_pages_that_are_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(FOLDER, tmp_path / "reference")
    monkeypatch.setattr(build_reference, "FOLDER", tmp_path / "reference")
    monkeypatch.setattr("sys.argv", ["build_reference.py", "--check"])
    assert build_reference.main() == 0

    with (tmp_path / "reference" / "json.md").open("a") as page:
        page.write("typed by hand\n")

    assert build_reference.main() == 1
    assert capsys.readouterr().out.startswith("docs/reference/json.md is out of date")
    assert "typed by hand" in (tmp_path / "reference" / "json.md").read_text(encoding="utf-8")


def test_the_page_of_commands_has_the_help_of_every_option(cli: Cli) -> None:
    page = (FOLDER / "cli.md").read_text(encoding="utf-8")

    for command in build_reference.COMMANDS:
        section = page.split(f"\n## {command}\n")[1].split("\n## ")[0]
        options = set(re.findall(r"--[a-z][a-z0-9-]*", cli(command, "--help").out))
        assert options <= set(re.findall(r"--[a-z][a-z0-9-]*", section)), command


def test_the_page_of_settings_has_every_setting_with_an_option() -> None:
    page = (FOLDER / "settings.md").read_text(encoding="utf-8")

    rows = re.findall(r"^\| `(\w+)` \| `--", page, flags=re.MULTILINE)
    assert sorted(rows) == sorted(train_settings.OPTIONS)


def test_every_public_function_is_on_the_page_of_python() -> None:
    page = (FOLDER / "python.md").read_text(encoding="utf-8")

    assert re.findall(r"^## ([a-z_]+)$", page, flags=re.MULTILINE) == sorted(mnistctl.__all__)
    assert (
        re.findall(r"`(?:[a-z_]+\.)+[A-Z_]{3,}`|`(?:models|predict|picture_requests)\.\w+`", page) == []
    )


def test_every_json_key_is_documented_by_a_comment() -> None:
    assert build_reference.undocumented() == []


def test_every_command_is_on_the_page_of_json_keys() -> None:
    without_result = {"serve"}
    assert {*build_reference.RESULTS, "predict"} == set(build_reference.COMMANDS) - without_result


def all_keys(values: Any) -> Iterator[str]:
    for item in values if isinstance(values, list) else [values]:
        yield from item


@pytest.mark.parametrize("command", ["recipes", "archs", "info bundled", "doctor", "download --list"])
def test_the_documented_json_keys_are_those_of_the_output(cli: Cli, command: str) -> None:
    name, *options = command.split()
    (cls,) = (
        cls
        for condition, cls, _ in build_reference.RESULTS[name]
        if not condition or "With `--list`" in condition or not options
    )

    result = json.loads(cli(name, *options, "--json").out)

    assert set(all_keys(result)) == {key.name for key in build_reference.keys_of(cls)}


@pytest.mark.parametrize("options", [(), ("--numbers",)])
def test_the_documented_keys_of_predict_are_those_of_the_output(
    cli: Cli, picture: Path, options: tuple[str, ...]
) -> None:
    text = "\n".join(build_reference.predict_section())
    documented = set(re.findall(r"^ *- `(\w+)`", text, flags=re.MULTILINE))

    (result,) = json.loads(cli("predict", picture, *options, "--json", "--labels-from-names").out)

    lines = result.get("lines", [])
    digits = [digit for line in lines for digit in line["digits"]]
    assert {*result, *all_keys(lines), *all_keys(digits)} <= documented


def test_every_exception_is_on_the_page_of_exit_codes() -> None:
    page = (FOLDER / "exit-codes.md").read_text(encoding="utf-8")

    for cls in build_reference.error_classes(errors.MnistctlError):
        assert f"`{cls.__name__}`" in page
