"""The tutorial notebook runs, and stores its outputs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers import ROOT, load_script

TEXT = (ROOT / "docs" / "tutorial" / "mnist.ipynb").read_text(encoding="utf-8")


def outputs(notebook: Any) -> Iterator[Any]:
    for cell in notebook["cells"]:
        yield from cell.get("outputs", [])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # raised by the packages that run notebooks
def test_the_notebook_runs_on_the_bundled_digits() -> None:
    notebook = load_script("run_notebook").run(dataset="digits")

    printed = "".join(
        output["text"]
        for output in outputs(notebook)
        if output["output_type"] == "stream" and output["name"] == "stdout"
    )
    plots = [output for output in outputs(notebook) if "image/png" in output.get("data", {})]
    assert "same answer on 100.00%" in printed
    assert "validation accuracy" in printed
    assert len(plots) == 7


def test_every_cell_from_the_data_on_has_an_output() -> None:
    cells = json.loads(TEXT)["cells"][3:]

    assert all(cell["outputs"] for cell in cells if cell["cell_type"] == "code")


def test_no_cell_has_failed() -> None:
    notebook = json.loads(TEXT)

    assert not [output for output in outputs(notebook) if output["output_type"] == "error"]


def test_the_notebook_file_is_small() -> None:
    assert len(TEXT) < 500_000
