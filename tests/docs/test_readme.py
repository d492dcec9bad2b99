"""The README and CONTRIBUTING.md agree with the program."""

import re

import pytest

from tests.helpers import ROOT, load_script

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAX_LINES = 160  # of the README


def section(heading: str) -> str:
    return README.split(f"## {heading}\n")[1].split("\n## ")[0]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES


def test_the_picture_of_a_session_is_as_wide_as_a_terminal() -> None:
    picture = (ROOT / "docs" / "session.svg").read_text(encoding="utf-8")

    width = re.search(r'viewBox="0 0 ([\d.]+) ', picture)

    assert width is not None
    assert 900 < float(width[1]) < 1300
    assert "while&#160;training" in picture


def test_the_quick_start_is_two_commands() -> None:
    block = section("Quick start").split("```")[1].removeprefix("bash")

    assert block.strip().splitlines() == [
        "pip install . && mnistctl train",
        "pip install nox && nox -s tests",
    ]


def test_what_is_special_are_six_points_with_links() -> None:
    points = section("What is special").strip().splitlines()

    assert len(points) == 6
    assert all(re.search(r"\]\(docs/[\w/-]+\.md\)", point) for point in points)


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "scripts").glob("*.py")))
def test_every_script_is_described(name: str) -> None:
    assert f"| `{name}` |" in (ROOT / "scripts" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "scripts/README.md", "docs/explanation/design.md"])
def test_the_paths_for_contributors_exist(name: str) -> None:
    # Paths of modules are given from the root, or from the package.
    paths = re.findall(
        r"`((?:src|scripts|tests|docs|nn|settings|images|models|pages|serving)/[\w./-]+)`",
        (ROOT / name).read_text(encoding="utf-8"),
    )

    for path in paths:
        if path != "docs/_build":  # of a build
            assert (ROOT / path).exists() or (ROOT / "src" / "mnistctl" / path).exists(), path


def test_the_table_of_recipes_is_up_to_date() -> None:
    script = load_script("measure_recipes")
    page = script.OVERVIEW.read_text(encoding="utf-8")
    block = page.split(script.BEGIN)[1].split(script.END)[0]

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
