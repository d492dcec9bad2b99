"""Draw `docs/session.svg`, the README's picture: a real first session, as the program prints it.

MNIST must be in the data folder. Takes as long as the commands it shows.
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
from mnistctl.cli import app, output

TARGET = Path(__file__).parents[1] / "docs" / "session.svg"
WIDTH = 88  # columns

SESSION = ("mnistctl train", "mnistctl predict mine/", "mnistctl export")


def draw_pictures(folder: Path) -> None:
    """Four of the embedded digits' test images, as somebody might have photographed them."""
    split = datasets.load("digits", "test")
    folder.mkdir()
    for name, label in (("four", 4), ("nine", 9), ("six", 6), ("two", 2)):
        digit = Image.fromarray(255 - split.images[np.flatnonzero(split.labels == label)[0]])
        digit.resize((280, 280), Image.Resampling.BICUBIC).save(folder / f"{name}.png")


def main() -> None:
    """Run the session with every console replaced by one that records."""
    recorder = Console(record=True, file=StringIO(), width=WIDTH, highlight=False, markup=False)
    output.console = lambda *, stderr=False: recorder
    target = TARGET.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        draw_pictures(Path("mine"))
        for number, command in enumerate(SESSION):
            prompt = ("\n" * bool(number) + "$ ", "bold green")
            recorder.print(Text.assemble(prompt, (command, "bold")))
            if app.main(command.split()[1:]) != 0:
                raise SystemExit(f"failed: {command}")
        os.chdir(target.parent)
    recorder.save_svg(str(target), title="mnistctl")
    print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
