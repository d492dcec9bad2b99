"""`predict` on many pictures and on pictures of numbers, and the pictures that it writes."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnistctl import datasets
from mnistctl.api import digit_finder
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


def end_process(requests: object) -> None:
    """What a process does in place of its work."""
    os._exit(1)


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
        ((), "no pictures: name some, or try 'mnistctl predict --example'"),
        (("--from-file", "gone.txt"), "gone.txt: No such file"),
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

    line = "accuracy 50.00% on 2 pictures; 1 without a label in the name could not be scored"
    assert line in answer.out
    assert line in rows.err
    assert answer.code == rows.code == 0
    answers = [(row["truth"], row["label"]) for row in csv.DictReader(io.StringIO(rows.out))]
    assert sorted(answers) == [("", "3"), ("3", "3"), ("7", "3")]


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
    names = ("3_digit.png", "more/7_digit.png", "more/0_digit.png")  # in sub-folders like the pictures
    for path in ("one.png", *(f"several/{name}" for name in names)):
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


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_annotate_and_explain_write_the_format_of_the_name(
    cli: Cli, onnx_path: Path, pictures: Path, suffix: str, start: bytes
) -> None:
    names = (f"boxes{suffix}", f"why{suffix.upper()}")
    targets = ("--annotate", names[0], "--explain", names[1])

    answer = cli("predict", pictures / "3_digit.png", *targets, "--model", onnx_path)

    assert answer.code == 0, answer.err
    for name in names:
        assert Path(name).read_bytes().startswith(start)
        assert f"wrote {name}" in answer.err


@pytest.mark.parametrize("option", ["--annotate", "--explain"])
def test_predict_rejects_another_format_before_it_reads_anything(
    cli: Cli, onnx_path: Path, pictures: Path, option: str
) -> None:
    answer = cli("predict", pictures / "3_digit.png", option, "x.jpg", "--model", onnx_path)

    assert (answer.code, answer.out) == (2, "")
    assert f"{option} x.jpg: expected a folder, or a name that ends in" in answer.err
    assert not Path("x.jpg").exists()


def test_pictures_of_the_same_name_keep_their_folders(
    cli: Cli, onnx_path: Path, pictures: Path
) -> None:
    for name in ("a/x.png", "b/x.png", "b/x.bmp"):
        (pictures / name).parent.mkdir(exist_ok=True)
        Image.open(pictures / "3_digit.png").save(pictures / name)
    paths = [pictures / name for name in ("a/x.png", "b/x.png", "b/x.bmp")]

    cli("predict", *paths, "--annotate", "out", "--model", onnx_path)

    written = {path.relative_to("out").as_posix() for path in Path("out").rglob("*.png")}
    assert written == {"a/x.png", "b/x.png", "b/x-2.png"}


def test_explain_plots_each_digit_of_a_number(cli: Cli, onnx_path: Path, number: Path) -> None:
    one = cli("predict", number, "--explain", "one.png", "--model", onnx_path)
    three = cli("predict", number, "--split", "--explain", "three.png", "--model", onnx_path)

    assert one.code == three.code == 0
    with Image.open("one.png") as single, Image.open("three.png") as rows:
        assert 2.5 < rows.height / single.height < 3.5


def test_explain_shows_saliency_for_the_bundled_model(cli: Cli, pictures: Path) -> None:
    answer = cli("predict", pictures / "3_digit.png", "--explain", "x.png", "--model", "bundled")

    assert "no saliency" not in answer.err
    with Image.open("x.png") as written:
        assert written.width / written.height > 3.5  # five panels


def test_the_example_is_read_and_its_place_is_shown(cli: Cli) -> None:
    answer = cli("predict", "--example")

    assert answer.code == 0
    path = Path(answer.err.splitlines()[0].removeprefix("the example picture is "))
    assert path.stat().st_size < 20_000
    assert answer.out.splitlines()[1].split()[:2] == [str(path), "7"]


def test_predict_suggests_split_for_several_digits(cli: Cli, onnx_path: Path, number: Path) -> None:
    answer = cli("predict", number, "--model", onnx_path, "--threshold", "1")
    single = cli("predict", number.parent / "pictures/3_digit.png", "--threshold", "1")

    assert answer.out.splitlines()[1].endswith("several digits: use --split")
    assert "not a digit; best guess 3" in single.out
    assert "--explain" in single.err


def test_a_blank_picture_has_no_best_guess(cli: Cli, onnx_path: Path) -> None:
    Image.new("L", (90, 90), 255).save("blank.png")

    answer = cli("predict", "blank.png", "--model", onnx_path)

    assert answer.out.splitlines()[1].endswith("blank")


@pytest.mark.parametrize("split", [(), ("--split",)], ids=["single", "split"])
def test_jobs_change_no_byte_of_the_result(
    cli: Cli, onnx_path: Path, pictures: Path, number: Path, split: tuple[str, ...]
) -> None:
    (pictures / "damaged.png").write_bytes(b"\x89PNG")
    command = ("predict", pictures, "-r", number, "gone.png", *split, "--model", onnx_path, "--json")

    one = cli(*command)
    several = cli(*command, "--jobs", "2", "--annotate", "boxes")

    assert (several.code, several.out) == (one.code, one.out)
    assert len(list(Path("boxes").rglob("*.png"))) == 4


def test_predict_reports_that_a_process_has_ended(
    cli: Cli, onnx_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digit_finder, "_find_in_worker", end_process)

    answer = cli("predict", pictures, "-r", "--jobs", "2", "--model", onnx_path)

    assert answer.code == 1
    assert "a process that reads pictures has ended" in answer.err


def test_an_interrupted_run_is_continued(onnx_path: Path, pictures: Path) -> None:
    program = [sys.executable, "-m", "mnistctl", "predict", pictures, "-r", "--jsonl"]
    command = [*map(str, program), "--model", str(onnx_path)]
    whole = subprocess.run(command, capture_output=True, check=True).stdout
    done = Path("done.jsonl")

    for length in (0, len(whole) // 2, len(whole) - 1, len(whole)):
        done.write_bytes(whole[:length])
        with done.open("ab") as stdout:
            subprocess.run([*command, "--skip-done", done], stdout=stdout, check=True)
        assert done.read_bytes() == whole, length


def test_skip_done_skips_pictures_with_any_output(cli: Cli, onnx_path: Path, pictures: Path) -> None:
    options = ("-r", "--model", onnx_path)
    Path("done.jsonl").write_text(cli("predict", pictures, "--jsonl", *options).out)

    answer = cli("predict", pictures, "new.png", *options, "--json", "--skip-done", "done.jsonl")

    assert [result["file"] for result in json.loads(answer.out)] == ["new.png"]
    assert "skipping 3 pictures that are in done.jsonl" in answer.err


def test_csv_has_a_column_for_each_class_at_most(cli: Cli, onnx_path: Path, pictures: Path) -> None:
    answer = cli("predict", pictures, "--csv", "--top", "999999999999", "--model", onnx_path)

    assert answer.out.splitlines()[0].endswith("label_10,probability_10,familiarity,reason,error")
