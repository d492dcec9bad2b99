"""Run `docs/mnist.ipynb` from top to bottom and keep what it shows.

MNIST must be in the data folder. Pictures are kept at half their size.
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

NOTEBOOK = Path(__file__).parents[1] / "docs" / "mnist.ipynb"


def run(*, dataset: str) -> Any:
    """The notebook with what its cells show, run on a dataset in an empty folder."""
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
    """A picture, base64 as notebooks have it, at half its size."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").reduce(2)
    small = io.BytesIO()
    picture.quantize(64).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def main() -> None:
    """Run it on MNIST and write it back."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    notebook = run(dataset="mnist")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = halve(output.data["image/png"])
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
