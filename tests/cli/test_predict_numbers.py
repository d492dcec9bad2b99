"""`predict --numbers`: what is printed, drawn and scored. The bundled model finds the digits."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mnistctl
from mnistctl.api import models
from tests.helpers import Cli


@pytest.fixture
def page(pictures: Path) -> Path:
    """A picture of two lines: "37 0" and "03"."""
    paper = Image.new("L", (800, 360), 255)
    for label, place in (
        (3, (10, 10)),
        (7, (160, 10)),
        (0, (560, 10)),
        (0, (10, 200)),
        (3, (160, 200)),
    ):
        paper.paste(Image.open(next(pictures.rglob(f"{label}_digit.png"))), place)
    paper.save("page.png")
    return Path("page.png")


def test_json_has_the_lines_words_and_digits_of_a_picture(
    cli: Cli, onnx_path: Path, page: Path
) -> None:
    (result,) = json.loads(cli("predict", page, "--numbers", "--model", onnx_path, "--json").out)

    assert result["text"] == "37 0\n03"
    assert [line["text"] for line in result["lines"]] == ["37 0", "03"]
    assert [line["words"] for line in result["lines"]] == [["37", "0"], ["03"]]
    first, second = (line["digits"] for line in result["lines"])
    assert [(digit["label"], digit["word"]) for digit in first] == [("3", 0), ("7", 0), ("0", 1)]
    left = [digit["box"][0] for digit in (*first, *second)]
    assert np.allclose(left, [10, 160, 560, 10, 160], atol=60)
    assert all(0 <= digit["familiarity"] <= 1 for digit in (*first, *second))


def test_the_probability_of_a_text_is_the_product_of_those_of_its_digits(
    cli: Cli, onnx_path: Path, page: Path
) -> None:
    (result,) = json.loads(cli("predict", page, "--numbers", "--model", onnx_path, "--json").out)

    for line in result["lines"]:
        digits = [digit["probability"] for digit in line["digits"]]
        assert line["probability"] == pytest.approx(np.prod(digits))
    lines = [line["probability"] for line in result["lines"]]
    assert result["probability"] == pytest.approx(np.prod(lines))


def test_boxes_contain_the_digits(cli: Cli, onnx_path: Path, number: Path) -> None:
    (result,) = json.loads(cli("predict", number, "--numbers", "--model", onnx_path, "--json").out)

    for index, digit in enumerate(result["lines"][0]["digits"]):
        left, top, width, height = digit["box"]
        assert 160 * index <= left
        assert left + width <= 160 * (index + 1)
        assert 0 < top < top + height < 160


def test_csv_has_a_row_per_digit_with_the_text_of_its_line(
    cli: Cli, onnx_path: Path, page: Path
) -> None:
    out = cli("predict", page, "--numbers", "--model", onnx_path, "--csv", "-q").out

    rows = list(csv.DictReader(io.StringIO(out)))

    assert [row["text"] for row in rows] == ["37 0"] * 3 + ["03"] * 2
    assert [row["label"] for row in rows] == ["3", "7", "0", "0", "3"]
    assert [(row["line"], row["word"]) for row in rows[1:4]] == [("0", "0"), ("0", "1"), ("1", "0")]
    assert all(float(row["probability"]) > 0 and int(row["width"]) > 0 for row in rows)


def test_text_has_a_row_per_line_and_per_digit(
    cli: Cli, onnx_path: Path, page: Path, number: Path
) -> None:
    lines = cli("predict", page, number, "--numbers", "--model", onnx_path, "-q").out.splitlines()

    assert len(lines) == 2 + 5 + 1 + 3
    assert lines[0].startswith("page.png  line 1  37 0  ")
    assert lines[4].startswith("page.png  line 2  03  ")
    assert lines[7].startswith(f"{number}  370  ")
    assert [line.split()[0] for line in lines[8:]] == ["3", "7", "0"]


def test_a_blank_picture_has_no_digits(cli: Cli, onnx_path: Path) -> None:
    Image.new("L", (90, 90), 255).save("blank.png")
    command = ("predict", "blank.png", "--numbers", "--model", onnx_path, "-q")

    result = json.loads(cli(*command, "--json").out)
    (row,) = csv.DictReader(io.StringIO(cli(*command, "--csv").out))

    assert result == [{"file": "blank.png", "text": "", "probability": None, "lines": []}]
    assert cli(*command).out == "blank.png  no digits\n"
    assert (row["label"], row["reason"]) == ("", "no digits")


def test_a_threshold_of_1_leaves_no_digits(cli: Cli, onnx_path: Path, number: Path) -> None:
    answer = cli("predict", number, "--numbers", "--threshold", "1", "--model", onnx_path, "-q")

    assert answer.out == f"{number}  no digits\n"


def test_annotate_draws_a_box_around_each_digit(cli: Cli, onnx_path: Path, page: Path) -> None:
    cli("predict", page, "--numbers", "--annotate", "boxes.png", "--model", onnx_path, "-q")

    with Image.open("boxes.png") as written:
        colours = np.asarray(written.convert("RGB")).astype(int)
    is_blue = colours[..., 2] - colours[..., 0] > 80
    for columns in (slice(0, 150), slice(160, 300), slice(560, 700)):
        assert is_blue[:, columns].sum() > 100


def test_explain_plots_a_row_for_each_digit(cli: Cli, onnx_path: Path, number: Path) -> None:
    one = cli("predict", number, "--explain", "one.png", "--model", onnx_path)
    three = cli("predict", number, "--numbers", "--explain", "three.png", "--model", onnx_path)

    assert one.code == three.code == 0
    with Image.open("one.png") as single, Image.open("three.png") as rows:
        assert 2.5 < rows.height / single.height < 3.5


def test_numbers_are_scored_against_the_names_of_files(cli: Cli, onnx_path: Path, number: Path) -> None:
    Path("scans").mkdir()
    for name in ("370_1.png", "scan-370.png", "300-x.png", "3701.png", "unknown.png"):
        Image.open(number).save(f"scans/{name}")
    command = ("predict", "scans", "--numbers", "--labels-from-names", "--model", onnx_path, "-q")

    answer, rows = cli(*command), cli(*command, "--csv")

    line = (
        "string accuracy 50.00%, digit accuracy 84.62%, mean edit distance 0.500 on 4 pictures; "
        "1 without a label could not be scored"
    )
    assert line in answer.out
    assert rows.err.strip() == line
    table = [row.split() for row in answer.out.split(line)[1].strip().splitlines()]
    assert table[1:] == [["0", "7", "1"], ["1", "not", "read", "1"]]
    truths = {row["file"]: row["truth"] for row in csv.DictReader(io.StringIO(rows.out))}
    assert sorted(truths.values()) == ["", "300", "370", "370", "3701"]


def test_a_space_in_a_true_number_does_not_count(cli: Cli, onnx_path: Path, page: Path) -> None:
    Path("labels.csv").write_text("file,label\npage.png,37 003\n")
    options = ("--numbers", "--labels", "labels.csv", "--model", onnx_path, "-q")

    answer = cli("predict", page, *options)

    assert "string accuracy 100.00%" in answer.out
    assert "times" not in answer.out


def test_the_model_and_the_detector_are_found_by_their_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[object, str]] = []

    def find_model(name: object, *, prefer: str, task: str = "digit") -> Path:
        calls.append((name, task))
        return models.bundled(prefer, task=task)

    monkeypatch.setattr(models, "find_model", find_model)

    predictor = mnistctl.open_model("mine", numbers=True, numbers_model="other", threshold=None)

    assert calls == [("mine", "digit"), ("other", "numbers")]
    assert predictor.detector is not None
    assert predictor.threshold == predictor.detector.metadata.threshold
