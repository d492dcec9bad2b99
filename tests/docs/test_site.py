"""The documentation site: its pages, its links, and how it is built."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(
    path for path in DOCS.rglob("*") if path.suffix in (".md", ".ipynb") and "_build" not in path.parts
)
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "scripts").glob("*.md"), *PAGES]


def links(page: Path) -> Iterator[Path]:
    """The files that a page links to."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("https://", "data:", "attachment:")):
            yield (page.parent / target).resolve()


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_to_a_file(page: Path) -> None:
    assert [path for path in links(page) if not path.exists()] == []


def test_every_page_is_at_most_two_clicks_from_the_front_page() -> None:
    front = DOCS / "index.md"

    first = {front, *links(front)}
    second = first.union(*(links(page) for page in first if page in PAGES))

    assert set(PAGES) - second == set()
    assert set(PAGES) - {*links(front)} == {front}, "the front page names every page"


def test_every_page_is_in_the_sidebar() -> None:
    toctrees = re.findall(r"^```\{toctree\}.*?^```$", (DOCS / "index.md").read_text(), re.M | re.S)

    entries = [line for block in toctrees for line in block.splitlines() if "/" in line]

    names = [path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES]
    assert sorted(entries) == sorted(set(names) - {"index"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `nox -s docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", str(DOCS), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return folder


def test_the_site_links_every_page_from_the_front_page(site: Path) -> None:
    targets = set(re.findall(r'href="([^"#:]+\.html)', (site / "index.html").read_text("utf-8")))

    pages = {path.relative_to(DOCS).with_suffix(".html").as_posix() for path in PAGES}
    assert pages <= targets | {"index.html"}


def test_the_notebook_shows_its_stored_outputs(site: Path) -> None:
    page = (site / "tutorial" / "mnist.html").read_text(encoding="utf-8")

    assert "validation accuracy" in page
    assert page.count("<img ") >= 7


def test_a_broken_link_fails_the_build(site: Path, tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("_build"))
    with (tmp_path / "docs" / "index.md").open("a") as page:
        page.write("\n[no page](nowhere.md), [no section](how-to/export.md#nowhere)\n")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "docs", "site"]

    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert "nowhere.md" in result.stderr
    assert "'nowhere'" in result.stderr
