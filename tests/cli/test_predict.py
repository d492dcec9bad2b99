"""`predict` on many pictures, and the pictures that it writes."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mnistctl.api import digit_finder
from tests.helpers import Cli


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
        (("x.png", "--labels", "x.csv", "--labels-from-names"), "choose one"),
        (("x.png", "--numbers", "--no-reject"), "choose one"),
        (("x.png", "--numbers-model", "mine"), "--numbers-model needs --numbers"),
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

    line = "accuracy 50.00% on 2 pictures; 1 without a label could not be scored"
    assert line in answer.out
    assert line in rows.err
    assert answer.code == rows.code == 0
    answers = [(row["truth"], row["label"]) for row in csv.DictReader(io.StringIO(rows.out))]
    assert sorted(answers) == [("", "3"), ("3", "3"), ("7", "3")]


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


def test_predict_suggests_numbers_for_several_digits(cli: Cli, onnx_path: Path, number: Path) -> None:
    answer = cli("predict", number, "--model", onnx_path, "--threshold", "1")
    single = cli("predict", number.parent / "pictures/3_digit.png", "--threshold", "1")

    assert answer.out.splitlines()[1].endswith("several digits: use --numbers")
    assert "not a digit; best guess 3" in single.out
    assert "--explain" in single.err


def test_a_blank_picture_has_no_best_guess(cli: Cli, onnx_path: Path) -> None:
    Image.new("L", (90, 90), 255).save("blank.png")

    answer = cli("predict", "blank.png", "--model", onnx_path)

    assert answer.out.splitlines()[1].endswith("blank")


@pytest.mark.parametrize("numbers", [(), ("--numbers",)], ids=["single", "numbers"])
def test_jobs_change_no_byte_of_the_result(
    cli: Cli, onnx_path: Path, pictures: Path, number: Path, numbers: tuple[str, ...]
) -> None:
    (pictures / "damaged.png").write_bytes(b"\x89PNG")
    command = ("predict", pictures, "-r", number, "gone.png", *numbers, "--model", onnx_path, "--json")

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
