"""`predict --labels` and `--labels-from-names`: where true labels come from."""

import csv
import io
from pathlib import Path

import pytest

from mnistctl.api import picture_requests
from mnistctl.errors import DataError
from tests.helpers import Cli

DIGITS = [str(digit) for digit in range(10)]


def read_labels(content: str, *, numbers: bool) -> picture_requests.TrueLabels:
    Path("labels.csv").write_text(content, encoding="utf-8", newline="")
    return picture_requests.read_labels(Path("labels.csv"), DIGITS, numbers=numbers)


def test_predict_scores_against_a_csv_file(cli: Cli, onnx_path: Path, pictures: Path) -> None:
    (pictures / "labels.csv").write_text("file,label,note\n3_digit.png,3,\nmore/7_digit.png,9,wrong\n")
    options = ("--labels", pictures / "labels.csv", "--model", onnx_path, "-q")

    answer = cli("predict", pictures, "-r", *options)
    rows = cli("predict", pictures, "-r", *options, "--csv")

    line = "accuracy 50.00% on 2 pictures; 1 without a label could not be scored"
    assert line in answer.out
    assert line in rows.err
    truths = [row["truth"] for row in csv.DictReader(io.StringIO(rows.out))]
    assert truths == ["3", "", "9"]


@pytest.mark.parametrize(
    "content",
    [
        "file,label\na.png,7\n",
        "\ufefflabel,file\r\n7,a.png\r\n",
        'label,score,file\n 7 ,0.5,"a.png"\n,,b.png\n7,0.4,./a.png\n',
    ],
)
def test_columns_are_found_by_their_names(content: str) -> None:
    labels = read_labels(content, numbers=False)

    assert labels.of("a.png") == labels.of(str(Path("a.png").absolute())) == "7"
    assert labels.of("b.png") is None


def test_a_page_has_a_label_of_its_own() -> None:
    labels = read_labels("file,label\nscan.pdf#page=2,19 84\n", numbers=True)

    assert labels.of("scan.pdf#page=2") == "1984"
    assert labels.of("scan.pdf") is None


@pytest.mark.parametrize(
    ("content", "numbers", "message"),
    [
        ("", False, "expected the columns 'file' and 'label'"),
        ("a.png,7\n", False, "expected the columns 'file' and 'label'"),
        ("file,label\na.png,x\n", False, "line 2: label 'x': expected one of 0, 1"),
        ("file,label\na.png,12\n", False, "line 2: label '12'"),
        ("file,label\na.png,12b\n", True, "line 2: label '12b': expected a number"),
        ("file,label\na.png,1\na.png,2\n", False, "line 3: another label for a.png"),
        ('file,label\n"a.png"x,1\n', False, "labels.csv: not CSV"),
    ],
)
def test_a_csv_file_with_an_error_is_rejected(content: str, numbers: bool, message: str) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: ") as error:
        read_labels(content, numbers=numbers)

    assert message in str(error.value)


def test_a_missing_csv_file_is_an_error_in_one_line(cli: Cli, pictures: Path) -> None:
    answer = cli("predict", pictures, "--labels", "gone.csv", "--model", "bundled", "-q")

    assert (answer.code, answer.out) == (3, "")
    assert answer.err.startswith("mnistctl: gone.csv: ")


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1984_03.png", "1984"),
        ("cheque-250.png", "250"),
        ("42.png", "42"),
        ("2024/photo.png", None),
        ("a-12-b.png", None),
        ("007 a.tif#page=2", "007"),
        ("x².png", None),
        ("page-٣.png", None),
    ],
)
def test_a_number_in_a_name_is_its_first_or_last_word(name: str, number: str | None) -> None:
    assert picture_requests.number_in_name(Path(name)) == number
