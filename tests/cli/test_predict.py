"""`predict` on many pictures, on pictures of several digits, and what it writes of them."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnistctl import datasets
from tests.helpers import Cli

LABELS = (3, 7, 0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a 3, and in a folder below it a 7 and a 0, named by what they are."""
    split = datasets.load("digits", "test")
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for label, place in zip(LABELS, (folder, folder / "more", folder / "more"), strict=True):
        digit = split.images[np.flatnonzero(split.labels == label)[0]]
        drawn = Image.fromarray(255 - digit).resize((140, 140), Image.Resampling.BICUBIC)
        drawn.save(place / f"{label}_it.png")
    return folder


@pytest.fixture
def number(pictures: Path) -> Path:
    """A picture of 3 7 0, the digits apart."""
    found = [next(pictures.rglob(f"{label}_it.png")) for label in LABELS]
    field = Image.new("L", (3 * 160, 160), 255)
    for place, path in enumerate(found):
        field.paste(Image.open(path), (160 * place + 10, 10))
    field.save(pictures.parent / "number.png")
    return pictures.parent / "number.png"


def files_read(out: str) -> list[str]:
    return [Path(reading["file"]).name for reading in json.loads(out)]


def test_folders_are_looked_into_only_if_asked(cli: Cli, onnx_path: Path, pictures: Path) -> None:
    ask = ("--model", onnx_path, "--json", "-q")

    assert files_read(cli("predict", pictures, *ask).out) == ["3_it.png"]
    deep = cli("predict", pictures, "--recursive", *ask).out
    assert files_read(deep) == ["3_it.png", "0_it.png", "7_it.png"]


def test_patterns_and_lists_of_names_are_read(cli: Cli, onnx_path: Path, pictures: Path) -> None:
    Path("names.txt").write_text(f"{pictures}/3_it.png\n\n{pictures}/more/7_it.png\n")
    ask = ("--model", onnx_path, "--json", "-q")

    matched = cli("predict", f"{pictures}/**/[07]*.png", *ask).out
    listed = cli("predict", "--from-file", "names.txt", *ask).out
    nothing = cli("predict", "no-*.png", "--model", onnx_path)

    assert files_read(matched) == ["0_it.png", "7_it.png"]
    assert files_read(listed) == ["3_it.png", "7_it.png"]
    assert nothing.code == 6
    assert "no-*.png: no file matches this pattern" in nothing.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no pictures"),
        (("--from-file", "gone.txt"), "--from-file gone.txt: No such file"),
        (("x.png", "--jsonl", "--csv"), "choose one"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    cli: Cli, onnx_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    answer = cli("predict", *arguments, "--model", onnx_path)

    assert answer.code == 2
    assert message in answer.err


def test_json_lines_and_csv_hold_what_json_holds(cli: Cli, onnx_path: Path, pictures: Path) -> None:
    ask = ("predict", pictures, "-r", "--model", onnx_path, "-q")

    whole = json.loads(cli(*ask, "--json").out)
    lines = [json.loads(line) for line in cli(*ask, "--jsonl").out.splitlines()]
    rows = list(csv.DictReader(io.StringIO(cli(*ask, "--csv").out)))

    assert lines == whole
    for row, reading in zip(rows, whole, strict=True):
        assert float(row["probability"]) == reading["probability"]
        assert float(row["familiarity"]) == reading["familiarity"]


def test_names_say_what_is_right(cli: Cli, onnx_path: Path, pictures: Path) -> None:
    filed = pictures.parent / "filed"
    (filed / "3").mkdir(parents=True)
    shutil.copy(pictures / "3_it.png", filed / "3" / "whatever.png")
    shutil.copy(pictures / "3_it.png", filed / "7_wrong.png")
    shutil.copy(pictures / "3_it.png", filed / "unnamed.png")

    answer = cli("predict", filed, "-r", "--labels-from-names", "--model", onnx_path, "-q")
    rows = cli("predict", filed, "-r", "--labels-from-names", "--model", onnx_path, "--csv", "-q")

    assert "50.00% of 2 pictures right" in answer.out
    assert "unnamed.png: no label in the file's or folder's name" in answer.err
    assert answer.code == 6
    truths = [row["truth"] for row in csv.DictReader(io.StringIO(rows.out))]
    assert sorted(truths) == ["", "3", "7"]


def test_a_number_is_read_digit_by_digit(cli: Cli, onnx_path: Path, number: Path) -> None:
    answer = cli("predict", number, "--split", "--model", onnx_path, "--json", "-q")
    text = cli("predict", number, "--split", "--model", onnx_path, "-q").out
    rows = list(
        csv.DictReader(
            io.StringIO(cli("predict", number, "--split", "--model", onnx_path, "--csv", "-q").out)
        )
    )

    (reading,) = json.loads(answer.out)
    assert reading["text"] == "370"
    assert [digit["label"] for digit in reading["digits"]] == ["3", "7", "0"]
    for place, digit in enumerate(reading["digits"]):
        left, top, width, height = digit["box"]
        assert 160 * place <= left
        assert left + width <= 160 * (place + 1)
        assert 0 < top < top + height < 160
    assert text.splitlines()[0].split() == [str(number), "370"]
    assert [row["label"] for row in rows] == ["3", "7", "0"]
    assert [int(row["left"]) for row in rows] == [digit["box"][0] for digit in reading["digits"]]


def test_a_blank_picture_has_no_digits(cli: Cli, onnx_path: Path) -> None:
    Image.new("L", (90, 90), 255).save("blank.png")

    answer = cli("predict", "blank.png", "--split", "--model", onnx_path, "--json", "-q")

    assert json.loads(answer.out) == [{"file": "blank.png", "text": "", "digits": []}]
    assert "nothing on it" in cli("predict", "blank.png", "--split", "--model", onnx_path, "-q").out


@pytest.mark.parametrize("option", ["--annotate", "--explain"])
def test_pictures_of_what_was_read_are_written(
    cli: Cli, onnx_path: Path, pictures: Path, option: str
) -> None:
    ask = ("--model", onnx_path, "-q")
    one = cli("predict", pictures / "3_it.png", option, "one.png", *ask)
    several = cli("predict", pictures, "-r", option, "several", *ask)
    again = cli("predict", pictures / "3_it.png", option, "one.png", *ask)
    too_many = cli("predict", pictures, "-r", option, "other.png", *ask)

    assert one.code == several.code == 0, one.err + several.err
    for path in ("one.png", *(f"several/{label}_it.png" for label in LABELS)):
        with Image.open(path) as written:
            assert min(written.size) >= 140
    assert (again.code, too_many.code) == (2, 2)
    assert "one.png" in again.err
    assert "name a folder" in too_many.err


def test_boxes_are_drawn_around_the_digits(cli: Cli, onnx_path: Path, number: Path) -> None:
    cli("predict", number, "--split", "--annotate", "boxes.png", "--model", onnx_path, "-q")

    with Image.open("boxes.png") as written:
        colours = np.asarray(written.convert("RGB")).reshape(-1, 3).astype(int)
    blue = (colours[:, 2] - colours[:, 0] > 80).sum()
    assert blue > 500


def test_a_checkpoint_shows_what_mattered(
    cli: Cli, checkpoint_path: Path, onnx_path: Path, pictures: Path
) -> None:
    for model in (checkpoint_path, onnx_path):
        picture = f"{model.suffix[1:]}.png"
        answer = cli("predict", pictures / "3_it.png", "--explain", picture, "--model", model, "-q")
        assert answer.code == 0, answer.err

    with Image.open("safetensors.png") as with_it, Image.open("onnx.png") as without:
        assert with_it.width > without.width


def test_blank_and_damaged_pictures_do_not_stop_an_explanation(
    cli: Cli, onnx_path: Path, pictures: Path
) -> None:
    Image.new("L", (90, 90), 255).save(pictures / "blank.png")
    (pictures / "damaged.png").write_bytes(b"\x89PNG")

    answer = cli("predict", pictures, "--explain", "out", "--model", onnx_path, "-q")

    assert answer.code == 6
    assert sorted(path.name for path in Path("out").iterdir()) == ["3_it.png", "blank.png"]
