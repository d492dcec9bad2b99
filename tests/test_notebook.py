"""The notebook runs from top to bottom."""

import json
from typing import Any

import pytest

from tests.helpers import ROOT, load_script

TEXT = (ROOT / "docs" / "mnist.ipynb").read_text(encoding="utf-8")


def outputs_of(notebook: Any) -> list[str]:
    """What the cells have printed."""
    return [
        output["text"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream" and output["name"] == "stdout"
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the machinery that runs notebooks
def test_the_notebook_runs_on_the_embedded_digits() -> None:
    notebook = load_script("run_notebook").run(dataset="digits")

    printed = "".join(outputs_of(notebook))
    pictures = [
        output
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert "same answer on 100.00%" in printed
    assert "of the validation images are right" in printed
    assert len(pictures) == 7


def test_the_notebook_shows_what_it_gives_and_is_small() -> None:
    notebook = json.loads(TEXT)

    assert all(cell["outputs"] for cell in notebook["cells"][3:] if cell["cell_type"] == "code")
    assert not [cell for cell in notebook["cells"] if "error" in json.dumps(cell.get("outputs", []))]
    assert len(TEXT) < 500_000
