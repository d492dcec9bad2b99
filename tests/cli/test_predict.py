"""`predict` on many pictures and on pictures of numbers, and the pictures that it writes."""

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
    """A folder with a picture of a 3, and a sub-folder with a 7 and a 0; names begin with the label."""
    split = datasets.load("digits", "test")
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for label, target in zip(LABELS, (folder, folder / "more", folder / "more"), strict=True):
        digit = split.images[np.flatnonzero(split.labels == label)[0]]
        picture = Image.fromarray(255 - digit).resize((140, 140), Image.Resampling.BICUBIC)
        picture.save(target / f"{label}_digit.png")
    return folder


@pytest.fixture
def number(pictures: Path) -> Path:
    """A picture of the number 370."""
    paths = [next(pictures.rglob(f"{label}_digit.png")) for label in LABELS]
    paper = Image.new("L", (3 * 160, 160), 255)
    for index, path in enumerate(paths):
        paper.paste(Image.open(path), (160 * index + 10, 10))
    paper.save(pictures.parent / "number.png")
    return pictures.parent / "number.png"


def file_names(out: str) -> list[str]:
    return [Path(result["file"]).name for result in json.loads(out)]


def test_predict_searches_sub_folders_only_with_recursive(
    cli: Cli, onnx_path: Path, pictures: Path
) -> None:
    options = ("--model", onnx_path, "--json", "-q")

    assert file_names(cli("predict", pictures, *options).out) == ["3_digit.png"]
    deep = cli("predict", pictures, "--recursive", *options).out
    assert file_names(deep) == ["3_digit.png", "0_digit.png", "7_digit.png"]


def test_predict_accepts_patterns_and_a_file_of_names(
    cli: Cli, onnx_path: Path, pictures: Path
) -> None:
    Path("names.txt").write_text(f"{pictures}/3_digit.png\n\n{pictures}/more/7_digit.png\n")
    options = ("--model", onnx_path, "--json", "-q")

    matched = cli("predict", f"{pictures}/**/[07]*.png", *options).out
    listed = cli("predict", "--from-file", "names.txt", *options).out
    nothing = cli("predict", "no-*.png", "--model", onnx_path)

    assert file_names(matched) == ["0_digit.png", "7_digit.png"]
    assert file_names(listed) == ["3_digit.png", "7_digit.png"]
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
def test_predict_rejects_missing_and_conflicting_arguments(
    cli: Cli, onnx_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    answer = cli("predict", *arguments, "--model", onnx_path)

    assert answer.code == 2
    assert message in answer.err


def test_predict_gives_the_same_values_as_json_jsonl_and_csv(
    cli: Cli, onnx_path: Path, pictures: Path
) -> None:
    command = ("predict", pictures, "-r", "--model", onnx_path, "-q")

    whole = json.loads(cli(*command, "--json").out)
    lines = [json.loads(line) for line in cli(*command, "--jsonl").out.splitlines()]
    rows = list(csv.DictReader(io.StringIO(cli(*command, "--csv").out)))

    assert lines == whole
    for row, result in zip(rows, whole, strict=True):
        assert float(row["probability"]) == result["probability"]
        assert float(row["familiarity"]) == result["familiarity"]


def test_predict_scores_against_labels_in_names(cli: Cli, onnx_path: Path, pictures: Path) -> None:
    labelled = pictures.parent / "labelled"
    (labelled / "3").mkdir(parents=True)
    shutil.copy(pictures / "3_digit.png", labelled / "3" / "whatever.png")
    shutil.copy(pictures / "3_digit.png", labelled / "7_wrong.png")
    shutil.copy(pictures / "3_digit.png", labelled / "unnamed.png")

    answer = cli("predict", labelled, "-r", "--labels-from-names", "--model", onnx_path, "-q")
    rows = cli("predict", labelled, "-r", "--labels-from-names", "--model", onnx_path, "--csv", "-q")

    assert "accuracy 50.00% on 2 pictures" in answer.out
    assert "unnamed.png: no label in the file's or folder's name" in answer.err
    assert answer.code == 6
    truths = [row["truth"] for row in csv.DictReader(io.StringIO(rows.out))]
    assert sorted(truths) == ["", "3", "7"]


def test_predict_splits_a_number_into_digits(cli: Cli, onnx_path: Path, number: Path) -> None:
    answer = cli("predict", number, "--split", "--model", onnx_path, "--json", "-q")
    text = cli("predict", number, "--split", "--model", onnx_path, "-q").out
    rows = list(
        csv.DictReader(
            io.StringIO(cli("predict", number, "--split", "--model", onnx_path, "--csv", "-q").out)
        )
    )

    (result,) = json.loads(answer.out)
    assert result["text"] == "370"
    assert [digit["label"] for digit in result["digits"]] == ["3", "7", "0"]
    for index, digit in enumerate(result["digits"]):
        left, top, width, height = digit["box"]
        assert 160 * index <= left
        assert left + width <= 160 * (index + 1)
        assert 0 < top < top + height < 160
    assert text.splitlines()[0].split() == [str(number), "370"]
    assert [row["label"] for row in rows] == ["3", "7", "0"]
    assert [int(row["left"]) for row in rows] == [digit["box"][0] for digit in result["digits"]]


def test_predict_finds_no_digits_in_a_blank_picture(cli: Cli, onnx_path: Path) -> None:
    Image.new("L", (90, 90), 255).save("blank.png")

    answer = cli("predict", "blank.png", "--split", "--model", onnx_path, "--json", "-q")

    assert json.loads(answer.out) == [{"file": "blank.png", "text": "", "digits": []}]
    assert "blank.png  blank" in cli("predict", "blank.png", "--split", "--model", onnx_path, "-q").out


@pytest.mark.parametrize("option", ["--annotate", "--explain"])
def test_predict_writes_annotated_and_explained_pictures(
    cli: Cli, onnx_path: Path, pictures: Path, option: str
) -> None:
    options = ("--model", onnx_path, "-q")
    one = cli("predict", pictures / "3_digit.png", option, "one.png", *options)
    several = cli("predict", pictures, "-r", option, "several", *options)
    again = cli("predict", pictures / "3_digit.png", option, "one.png", *options)
    too_many = cli("predict", pictures, "-r", option, "other.png", *options)

    assert one.code == several.code == 0, one.err + several.err
    for path in ("one.png", *(f"several/{label}_digit.png" for label in LABELS)):
        with Image.open(path) as written:
            assert min(written.size) >= 140
    assert (again.code, too_many.code) == (2, 2)
    assert "one.png" in again.err
    assert "name a folder" in too_many.err


def test_annotate_draws_boxes_around_digits(cli: Cli, onnx_path: Path, number: Path) -> None:
    cli("predict", number, "--split", "--annotate", "boxes.png", "--model", onnx_path, "-q")

    with Image.open("boxes.png") as written:
        colours = np.asarray(written.convert("RGB")).reshape(-1, 3).astype(int)
    blue = (colours[:, 2] - colours[:, 0] > 80).sum()
    assert blue > 500


def test_explain_shows_saliency_for_a_checkpoint(
    cli: Cli, checkpoint_path: Path, onnx_path: Path, pictures: Path
) -> None:
    for model in (checkpoint_path, onnx_path):
        picture = f"{model.suffix[1:]}.png"
        answer = cli("predict", pictures / "3_digit.png", "--explain", picture, "--model", model, "-q")
        assert answer.code == 0, answer.err

    with Image.open("safetensors.png") as checkpoint, Image.open("onnx.png") as exported:
        assert checkpoint.width > exported.width


def test_explain_continues_after_blank_and_damaged_pictures(
    cli: Cli, onnx_path: Path, pictures: Path
) -> None:
    Image.new("L", (90, 90), 255).save(pictures / "blank.png")
    (pictures / "damaged.png").write_bytes(b"\x89PNG")

    answer = cli("predict", pictures, "--explain", "out", "--model", onnx_path, "-q")

    assert answer.code == 6
    assert sorted(path.name for path in Path("out").iterdir()) == ["3_digit.png", "blank.png"]
