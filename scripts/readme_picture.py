"""Draw the README's pictures, from what the program itself shows.

`docs/session.svg` is a first session as it is printed; `docs/curves.png` the curves of two of its runs,
at half their size. MNIST must be in the data folder. Takes as long as the commands do.
"""

import os
import tempfile
from io import StringIO
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.text import Text

from mnistctl import datasets
from mnistctl.cli import app, render

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = 88  # columns

SESSION = ("mnistctl train", "mnistctl predict mine/", "mnistctl export")
CURVES = (
    "mnistctl train --recipe mlp-128 --name mlp-128",
    "mnistctl train --recipe lenet5 --name lenet5",
    "mnistctl plot mlp-128 lenet5 --output curves.png",
)


def draw_pictures(folder: Path) -> None:
    """Four of MNIST's test images, as somebody might have scanned them."""
    split = datasets.load("mnist", "test")
    folder.mkdir()
    for name, label in (("four", 4), ("nine", 9), ("six", 6), ("two", 2)):
        digit = Image.fromarray(255 - split.images[np.flatnonzero(split.labels == label)[0]])
        digit.resize((280, 280), Image.Resampling.BICUBIC).save(folder / f"{name}.png")


def run(command: str) -> None:
    """One command; a failure ends everything."""
    if app.main(command.split()[1:]) != 0:
        raise SystemExit(f"failed: {command}")


def main() -> None:
    """Run the session with every console replaced by one that records."""
    recorder = Console(record=True, file=StringIO(), width=WIDTH, highlight=False, markup=False)
    render.console = lambda *, stderr=False: recorder
    docs = DOCS.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        draw_pictures(Path("mine"))
        for number, command in enumerate(SESSION):
            prompt = ("\n" * bool(number) + "$ ", "bold green")
            recorder.print(Text.assemble(prompt, (command, "bold")))
            run(command)
        recorder.save_svg(str(docs / "session.svg"), title="mnistctl")
        for command in CURVES:
            run(command)
        with Image.open("curves.png") as picture:
            half = picture.convert("RGB").reduce(2).quantize(64)
        half.save(docs / "curves.png", optimize=True)
        os.chdir(docs)


if __name__ == "__main__":
    main()
