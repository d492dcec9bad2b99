"""Draw two pictures of the README by running commands.

    python scripts/readme_picture.py

`docs/session.svg` shows the output of a first session. `docs/curves.png` shows the learning curves of
two runs, at half size. MNIST must be in the data folder. Takes as long as the commands do.
"""

import os
import tempfile
from io import StringIO
from pathlib import Path

import numpy as np
from PIL import Image
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


class Terminal(StringIO):
    """What is printed on it is fitted to its width."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def draw_pictures(folder: Path) -> None:
    """Write four test images of MNIST as scanned pictures: dark on light, enlarged."""
    split = datasets.load("mnist", "test")
    folder.mkdir()
    for name, label in (("four", 4), ("nine", 9), ("six", 6), ("two", 2)):
        digit = Image.fromarray(255 - split.images[np.flatnonzero(split.labels == label)[0]])
        digit.resize((280, 280), Image.Resampling.BICUBIC).save(folder / f"{name}.png")


def run(command: str) -> None:
    """Run a command; exit if it fails."""
    if app.main(command.split()[1:]) != 0:
        raise SystemExit(f"failed: {command}")


def main() -> None:
    """Run the commands with a console that records what they print."""
    recorder = render.TerminalConsole(
        record=True,
        file=Terminal(),
        force_terminal=False,  # no progress bars
        width=WIDTH,
        highlight=False,
        markup=False,
    )
    render.console = lambda *, stderr=False: recorder
    render.terminal_width = lambda: WIDTH
    docs = DOCS.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        draw_pictures(Path("mine"))
        for number, command in enumerate(SESSION):
            if number > 0:
                recorder.print()
            recorder.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            run(command)
        recorder.save_svg(str(docs / "session.svg"), title="mnistctl")
        for command in CURVES:
            run(command)
        with Image.open("curves.png") as curves:
            half = curves.convert("RGB").reduce(2).quantize(64)
        half.save(docs / "curves.png", optimize=True)
        os.chdir(docs)


if __name__ == "__main__":
    main()
