"""Run `docs/tutorial/mnist.ipynb` and store the outputs of its cells, with plots at half size.

    python scripts/run_notebook.py

MNIST must be in the data folder.
"""

import argparse
import base64
import io
import tempfile
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from PIL import Image

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial" / "mnist.ipynb"


def run(*, dataset: str) -> Any:
    """The notebook with its outputs, after a run on a dataset in an empty folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = cell.source.replace('dataset = "mnist"', f'dataset = "{dataset}"')
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(
            notebook, timeout=600, resources={"metadata": {"path": folder}}
        ).execute()
    return notebook


def halve(png: str) -> str:
    """A PNG in base64, as notebooks store it, at half size."""
    plot = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").reduce(2)
    small = io.BytesIO()
    plot.quantize(64).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def main() -> None:
    """Run the notebook on MNIST and write it back."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    notebook = run(dataset="mnist")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the time of the run
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = halve(output.data["image/png"])
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
