"""Build the sheets of digits and letters of open fonts inside the package, and the list of the fonts.

    python scripts/build_font_sheets.py [--fonts FOLDER]

The script downloads each family of `scripts/fonts.csv` in its version there with `npm pack`, keeps its
regular font in FOLDER, and draws its characters. It writes `src/mnistctl/pages/font-*.png` and
`docs/reference/fonts.md`. Families whose use is "measure" are not in the sheets:
`scripts/measure_fonts.py` measures models on them.
"""

import argparse
import csv
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFont

from mnistctl.pages import fonts

LIST = Path(__file__).with_name("fonts.csv")
SHEETS = Path(__file__).parents[1] / "src" / "mnistctl" / "pages"
DOCUMENT = Path(__file__).parents[1] / "docs" / "reference" / "fonts.md"
FOLDER = Path("fonts")
TRAIN, MEASURE = "train", "measure"
# Letters and signs that do not look like a digit in any usual font or handwriting.
LETTERS = "acdefhkmnprtuvwxyACEFHKMNPRTUVWXY&@%?€£"
_SIZE = 160  # pixels: size of the font that is drawn
_INK = 110  # grey level from which a pixel is ink
_DOWNLOADS = 8  # at a time


class Family(NamedTuple):
    """A font family, which the npm package @fontsource/NAME has."""

    name: str
    version: str
    kind: str  # handwriting, serif, sans-serif, monospace or display
    use: str  # train or measure

    @property
    def sheet(self) -> str:
        """The sheet that has the family, if it is trained with."""
        return fonts.HANDWRITING if self.kind == fonts.HANDWRITING else fonts.PRINT


def read_list() -> list[Family]:
    """The families, by name."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return [Family(**row) for row in csv.DictReader(file)]


def download(family: Family, folder: Path) -> Path:
    """The regular font of a family, downloaded unless it is in the folder; its licence is beside it."""
    font = folder / f"{family.name}-{family.version}.woff"
    if font.exists():
        return font
    package = f"@fontsource/{family.name}"
    with tempfile.TemporaryDirectory() as temporary:
        # npm knows where the user's packages come from.
        command = ["npm", "pack", f"{package}@{family.version}", "--silent"]
        subprocess.run(command, cwd=temporary, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(temporary).iterdir()
        with tarfile.open(archive) as package_files:
            members = {
                font: f"package/files/{family.name}-latin-400-normal.woff",
                font.with_suffix(".txt"): "package/LICENSE",
            }
            contents = {
                path: package_files.extractfile(member).read()  # type: ignore[union-attr]
                for path, member in members.items()
            }
    for path, content in reversed(contents.items()):
        path.write_bytes(content)
    return font


def download_all(families: list[Family], folder: Path) -> list[Path]:
    """The fonts of the families, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        return list(pool.map(lambda family: download(family, folder), families))


def draw(font: ImageFont.FreeTypeFont, character: str) -> npt.NDArray[np.uint8]:
    """A character as grey levels, (44, 44), 255 = ink; its longer side fills the square."""
    mask = font.getmask(character, mode="L")
    ink = np.array(mask, dtype=np.uint8).reshape(mask.size[::-1])
    rows, columns = (np.flatnonzero(ink.max(axis=axis) >= _INK) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = fonts.CELL / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = Image.fromarray(ink).resize((width, height), Image.Resampling.BOX)
    cell = np.zeros((fonts.CELL, fonts.CELL), dtype=np.uint8)
    top, left = (fonts.CELL - height) // 2, (fonts.CELL - width) // 2
    cell[top : top + height, left : left + width] = np.asarray(small)
    return cell


def has(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Whether a font has a character; it draws the same box or nothing for all others."""
    mask = bytes(font.getmask(character))
    return any(mask) and mask != bytes(font.getmask("\U0010fffd"))


def row(font_file: Path, seed: int) -> npt.NDArray[np.bool_]:
    """A row of a sheet, (44, 44 * 22)."""
    font = ImageFont.truetype(font_file, _SIZE)
    letters = [letter for letter in LETTERS if has(font, letter)]
    random = np.random.default_rng(seed)
    chosen = random.choice(letters, fonts.LETTERS, replace=len(letters) < fonts.LETTERS)
    characters = [*"0123456789", *map(str, chosen)]
    return np.concatenate([draw(font, character) >= _INK for character in characters], axis=1)


def document(families: list[Family], files: list[Path]) -> Iterator[str]:
    """The lines of the list of fonts."""
    count = sum(family.use == TRAIN for family in families)
    yield from (
        "# Fonts",
        "",
        f"The shapes of the digits and of some letters of {count} open font families are part of "
        "mnistctl, as pictures 44 pixels high. `train --variants` and the pages of the recipe "
        "`numbers` are drawn from them, so that a model also knows printed digits and the handwriting "
        "of many countries. "
        f"The {len(families) - count} other families below are never trained with: "
        "`scripts/measure_fonts.py` measures models on them.",
        "",
        "Each family is the npm package `@fontsource/NAME`. `python scripts/build_font_sheets.py` made "
        "the pictures and this list.",
        "",
        "| family | version | kind | use | licence |",
        "| --- | --- | --- | --- | --- |",
    )
    for family, file in zip(families, files, strict=True):
        text = file.with_suffix(".txt").read_text(encoding="utf-8", errors="replace")
        names = {"Apache License": "Apache 2.0", "UBUNTU FONT": "Ubuntu Font 1.0"}
        licence = next((name for words, name in names.items() if words in text), "OFL 1.1")
        yield f"| {family.name} | {family.version} | {family.kind} | {family.use} | {licence} |"


def main() -> None:
    """Download the fonts, draw the sheets and list the families."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fonts", type=Path, default=FOLDER, help="folder for the downloaded fonts")
    families = read_list()
    files = download_all(families, parser.parse_args().fonts)
    for sheet in (fonts.HANDWRITING, fonts.PRINT):
        rows = [
            row(file, seed)
            for seed, (family, file) in enumerate(zip(families, files, strict=True))
            if family.use == TRAIN and family.sheet == sheet
        ]
        target = SHEETS / f"font-{sheet}.png"
        content = io.BytesIO()
        Image.fromarray(np.concatenate(rows)).save(content, "PNG", optimize=True)
        target.write_bytes(content.getvalue())
        print(f"{target.name}: {len(rows)} families, {target.stat().st_size:,} bytes")
    DOCUMENT.write_text("\n".join(document(families, files)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
