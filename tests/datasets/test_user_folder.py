"""A user's own data: folders of pictures, and IDX files."""

import gzip
import json
import logging
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnistctl import datasets
from mnistctl.cli import render
from mnistctl.datasets import splits
from mnistctl.errors import DataError, UsageError
from mnistctl.models import checkpoint
from mnistctl.system import files
from tests.helpers import Cli

NAMES = {3: "three", 7: "seven", 8: "eight"}


def draw(folder: Path, split: datasets.Split, rows: Sequence[int]) -> None:
    """Write images of a split as dark-on-light pictures, in several sizes and formats."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        picture = Image.fromarray(255 - split.images[row])
        side = 28 * (1 + number % 4)
        suffix = ("png", "png", "jpg", "webp")[number % 4]
        picture.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{number}.{suffix}")


@pytest.fixture(scope="module")
def digits() -> datasets.Split:
    return datasets.load("digits", "train")


def rows_of(digits: datasets.Split, label: int) -> list[int]:
    return np.flatnonzero(digits.labels == label).tolist()


def split_of(path: Path) -> str:
    return splits.by_content(files.sha256(path.read_bytes()))


@pytest.fixture
def unsplit(digits: datasets.Split) -> Path:
    """60 pictures per class of three classes, without given splits."""
    folder = Path("mine")
    for label, name in NAMES.items():
        draw(folder / name, digits, rows_of(digits, label)[:60])
    return folder


@pytest.fixture
def presplit(digits: datasets.Split) -> Path:
    """40 pictures per class for training, 20 for testing."""
    folder = Path("given")
    for label, name in NAMES.items():
        draw(folder / "train" / name, digits, rows_of(digits, label)[:40])
        draw(folder / "test" / name, digits, rows_of(digits, label)[40:60])
    return folder


def test_pictures_are_split_80_10_10_by_their_content(unsplit: Path) -> None:
    parts = {name: datasets.load(str(unsplit), name) for name in datasets.SPLITS}

    assert {split.class_names for split in parts.values()} == {("eight", "seven", "three")}
    counts = {name: len(split.images) for name, split in parts.items()}
    assert sum(counts.values()) == 180
    assert 120 < counts["train"] < 165
    assert min(counts["validation"], counts["test"]) > 5
    for split in parts.values():
        assert set(split.labels) == {0, 1, 2}


def test_a_thousand_pictures_are_split_800_100_100() -> None:
    names = [splits.by_content(f"{number:064x}") for number in range(0, 2**256, 2**256 // 1000)]

    assert abs(names.count("train") - 800) < 3
    assert abs(names.count("validation") - 100) < 3


def test_new_pictures_move_no_picture_to_another_split(unsplit: Path, digits: datasets.Split) -> None:
    before = {name: datasets.load(str(unsplit), name) for name in datasets.SPLITS}
    for number, row in enumerate(rows_of(digits, 3)[60:110]):
        Image.fromarray(255 - digits.images[row]).save(unsplit / "three" / f"0-more-{number}.png")

    for name, split in before.items():
        after = {image.tobytes() for image in datasets.load(str(unsplit), name).images}
        assert {image.tobytes() for image in split.images} <= after


def test_copies_of_a_picture_are_in_the_same_split(unsplit: Path) -> None:
    for path in list((unsplit / "three").iterdir())[:20]:
        shutil.copy(path, path.with_name(f"copy-{path.name}"))

    train, validation = datasets.load_for_training(str(unsplit))
    test = datasets.load(str(unsplit), "test")

    contents = [{image.tobytes() for image in split.images} for split in (train, validation, test)]
    assert not contents[0] & contents[1]
    assert not contents[0] & contents[2]


def test_given_splits_are_kept_and_validation_is_taken_from_train(presplit: Path) -> None:
    train, validation = datasets.load_for_training(str(presplit), validation_size=30)
    test = datasets.load(str(presplit), "test")

    assert [len(split.images) for split in (train, validation, test)] == [90, 30, 60]
    assert np.bincount(validation.labels).tolist() == [10, 10, 10]


def test_no_test_picture_is_decoded_for_training(
    presplit: Path, unsplit: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in presplit.glob("test/*/*"):
        path.write_bytes(b"must not be opened")
    assert [path for path in unsplit.glob("*/*") if split_of(path) == "test"]

    datasets.load_for_training(str(presplit))
    datasets.load_for_training(str(unsplit))

    assert caplog.messages == []


def test_the_hash_of_a_split_changes_with_its_content(unsplit: Path) -> None:
    before = datasets.load(str(unsplit), "train").sha256
    again = datasets.load(str(unsplit), "train").sha256
    removed = next(path for path in sorted(unsplit.glob("three/*.png")) if split_of(path) == "train")
    removed.unlink()

    assert before == again
    assert datasets.load(str(unsplit), "train").sha256 != before


def test_files_that_are_no_pictures_are_counted(
    presplit: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (presplit / "train" / "three" / "notes.txt").write_text("")
    (presplit / "train" / "seven" / "clip.mov").write_text("")
    caplog.set_level(logging.INFO)

    datasets.load(str(presplit), "train")

    assert "skipped 2 files: 1 .mov, 1 .txt" in caplog.text


def test_an_unreadable_picture_is_skipped_with_a_warning(
    presplit: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (presplit / "train" / "three" / "bad.png").write_text("no picture")
    (presplit / "train" / "three" / "notes.txt").write_text("no picture either, and none expected")
    (presplit / "train" / ".hidden").mkdir()

    train, _ = datasets.load_for_training(str(presplit), validation_size=0)

    assert len(train.images) == 120
    assert len(caplog.messages) == 1
    assert "pictures that could not be read and were skipped: 1; first: " in caplog.messages[0]
    assert "bad.png: not a picture" in caplog.messages[0]


def test_classes_named_by_words_are_in_alphabetical_order(digits: datasets.Split) -> None:
    for name in ("square", "circle", "cross"):
        for part in ("train", "test"):
            draw(Path("shapes") / part / name, digits, rows_of(digits, 3)[:2])

    assert datasets.load("shapes", "test").class_names == ("circle", "cross", "square")


def test_classes_named_by_numbers_are_in_numerical_order_before_words(digits: datasets.Split) -> None:
    for name in ("10", "9", "2", "x"):
        draw(Path("numbers/train") / name, digits, rows_of(digits, 3)[:2])
        draw(Path("numbers/test") / name, digits, rows_of(digits, 3)[:2])

    assert datasets.load("numbers", "test").class_names == ("2", "9", "10", "x")


@pytest.mark.parametrize("classes", [2, 100])
def test_two_to_a_hundred_classes_are_accepted(classes: int, digits: datasets.Split) -> None:
    for number in range(classes):
        for part in ("train", "test"):
            draw(Path("many") / part / f"c{number:03}", digits, [number, number + 100])

    split = datasets.load("many", "test")

    assert len(split.class_names) == classes
    assert len(split.images) == 2 * classes


def test_a_folder_path_is_never_taken_for_a_dataset_name(cli: Cli, presplit: Path) -> None:
    presplit.rename("digits")

    trained = cli("train", "--dataset", "./digits", "--epochs", "1", "--json", "-q")
    report = json.loads(cli("eval", "--json", "-q").out)

    assert trained.code == 0
    assert report["images"] == 60
    assert Path(report["dataset"]) == Path("digits").resolve()


def test_eval_warns_of_pictures_added_after_training(
    cli: Cli, presplit: Path, digits: datasets.Split
) -> None:
    cli("train", "--dataset", presplit, "--epochs", "1", "-q")
    unchanged = cli("eval", "--split", "validation", "-q", "--json")
    draw(presplit / "train" / "more", digits, [1, 2])
    shutil.move(presplit / "train" / "more" / "0.png", presplit / "train" / "three" / "added.png")
    shutil.rmtree(presplit / "train" / "more")

    changed = cli("eval", "--split", "validation", "-q", "--json")

    assert unchanged.err == ""
    assert "has changed: validation may contain other images than it did in training" in changed.err


def test_unusual_names_of_classes_and_files_are_shown_unchanged(
    cli: Cli, presplit: Path, digits: datasets.Split
) -> None:
    for part in ("train", "test"):
        (presplit / part / "three").rename(presplit / part / "$\\frac{$ [red]")
    (presplit / "train" / "seven" / "folder.png").mkdir()
    (presplit / "train" / "seven" / "._hidden.png").write_text("")

    trained = cli("train", "--dataset", presplit, "--epochs", "20", "--batch-size", "30", "-q")
    report = cli("eval", "-q")
    sheet = cli("data", "--dataset", presplit, "--output", "sheet.png", "-q")
    Path("scan[final] a[").mkdir()
    shutil.copy(presplit / "test" / "seven" / "0.png", "scan[final] a[/b].png")
    read = cli("predict", "scan[final] a[/b].png", "-q")

    assert [answer.code for answer in (trained, report, sheet, read)] == [0, 0, 0, 0]
    for answer in (report, sheet):
        assert "$\\frac{$ [red]" in answer.out
    assert "scan[final] a[/b].png" in read.out


def test_the_error_names_a_class_without_pictures(presplit: Path) -> None:
    (presplit / "train" / "nine").mkdir()
    (presplit / "train" / "nine" / "notes.txt").write_text("soon")

    with pytest.raises(DataError, match="nine: this class has no pictures"):
        datasets.load(str(presplit), "train")


def test_eval_reports_that_the_training_pictures_are_missing(cli: Cli, unsplit: Path) -> None:
    assert cli("train", "--dataset", unsplit, "--epochs", "1").code == 0
    shutil.rmtree(unsplit)

    answer = cli("eval", "-q")

    assert answer.code == 3
    assert "mine: not found; the model was trained on the pictures in this folder" in answer.err
    other = cli("eval", "-q", "--dataset", "digits")
    assert (other.code, "the model has 3 classes" in other.err) == (2, True)


@pytest.mark.parametrize("classes", [0, 1, 101])
def test_fewer_than_two_or_more_than_a_hundred_classes_are_rejected(classes: int) -> None:
    for number in range(classes):
        (Path("wrong") / f"c{number}").mkdir(parents=True)
    Path("wrong").mkdir(exist_ok=True)

    with pytest.raises(DataError, match=f"wrong: {classes} sub-folders; expected one per class"):
        datasets.load("wrong", "train")


def test_a_class_that_is_only_in_test_is_rejected(presplit: Path, digits: datasets.Split) -> None:
    draw(presplit / "test" / "nine", digits, rows_of(digits, 9)[:3])

    with pytest.raises(DataError, match="class 'nine' is not in train"):
        datasets.load(str(presplit), "train")


def test_a_split_without_pictures_is_rejected(digits: datasets.Split) -> None:
    for name in NAMES.values():
        draw(Path("few") / name, digits, [0])

    # All are copies of one picture, so they are in one split, and the others are empty.
    with pytest.raises(DataError, match=r"few: no pictures for the \w+ split; add more"):
        [datasets.load("few", split) for split in datasets.SPLITS]


def test_a_validation_size_is_rejected_for_pictures_split_by_content(unsplit: Path) -> None:
    with pytest.raises(UsageError, match="split by their content"):
        datasets.load_for_training(str(unsplit), validation_size=10)


def test_a_dataset_that_is_neither_a_name_nor_a_folder_is_rejected() -> None:
    Path("file.txt").write_text("")

    for name in ("file.txt", "no/such/folder"):
        with pytest.raises(UsageError, match=f"--dataset {name}: not a folder"):
            datasets.load(name, "train")


def idx_files(split: datasets.Split) -> dict[str, bytes]:
    """A split as the contents of MNIST's two IDX files."""
    count = len(split.images)
    labels = split.labels.astype(np.uint8).tobytes()
    return {
        "images-idx3-ubyte": struct.pack(">HBB3I", 0, 8, 3, count, 28, 28) + split.images.tobytes(),
        "labels-idx1-ubyte": struct.pack(">HBBI", 0, 8, 1, count) + labels,
    }


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_loaded_packed_or_not(packed: bool, digits: datasets.Split) -> None:
    folder = Path("idx")
    folder.mkdir()
    for prefix, rows in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        for name, content in idx_files(digits.take(rows, name="")).items():
            path = folder / f"{prefix}-{name}{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)

    train, validation = datasets.load_for_training("idx")
    test = datasets.load("idx", "test")

    assert (len(train.images), len(validation.images)) == (275, 25)
    assert (test.images == digits.images[300:400]).all()
    assert (test.labels == digits.labels[300:400]).all()
    assert test.class_names == tuple("0123456789")


def test_missing_idx_files_are_rejected(digits: datasets.Split) -> None:
    folder = Path("idx")
    folder.mkdir()
    for name, content in idx_files(digits).items():
        (folder / f"train-{name}").write_bytes(content)

    with pytest.raises(DataError, match="idx: neither t10k-images-idx3-ubyte nor"):
        datasets.load("idx", "test")


def test_every_command_works_on_own_pictures(cli: Cli, presplit: Path) -> None:
    training = (
        "train",
        "--dataset",
        presplit,
        "--epochs",
        "20",
        "--batch-size",
        "30",
        "--device",
        "cpu",
    )

    trained = json.loads(cli(*training, "--json", "-q").out)
    report = json.loads(cli("eval", "--json", "-q").out)
    exported = json.loads(cli("export", "--json", "-q").out)
    pictures = sorted((presplit / "test" / "three").iterdir())
    readings = json.loads(
        cli("predict", *pictures, "--model", f"{trained['run']}/model.onnx", "--json").out
    )
    text = cli("eval", "--split", "validation").out

    assert trained["run"] == str(Path("runs/given-cnn-1"))
    assert [row["label"] for row in report["per_class"]] == ["eight", "seven", "three"]
    assert report["images"] == 60
    assert report["accuracy"] > 0.8
    assert exported[0]["parity"]["images"] == 60
    assert [reading["label"] for reading in readings].count("three") > 15
    assert "seven" in text


def test_training_starts_from_the_weights_of_another_model(
    cli: Cli, presplit: Path, run_folder: Path
) -> None:
    shutil.copytree(run_folder, "runs/base")
    again = ("train", "--init", "base", "--device", "cpu", "--epochs", "4", "--json", "-q")

    same = json.loads(cli(*again, "--dataset", "digits", "--name", "same").out)
    other = json.loads(cli(*again, "--dataset", presplit, "--name", "other").out)
    fresh = json.loads(cli(*again[:1], *again[3:], "--dataset", presplit, "--name", "fresh").out)

    base = checkpoint.load(Path("runs/base/model.safetensors"))
    config = json.loads(Path("runs/other/config.json").read_text())
    assert same["validation_accuracy"] > 0.9
    assert other["train_loss"] < fresh["train_loss"]
    assert config["init_sha256"] == base.sha256
    tensors = checkpoint.load(Path("runs/other/model.safetensors")).tensors
    assert (3, 256) in {tensor.shape for tensor in tensors.values()}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--init", "nothing"), 4, "nothing: no such file"),
        (
            ("--init", "base", "--arch", "mlp"),
            2,
            "--arch mlp: the architecture of runs/base/model.safetensors is 'cnn'",
        ),
        (("--init", "runs/base/model.onnx"), 2, "an exported file; name the checkpoint"),
    ],
)
def test_an_unusable_initial_model_is_rejected_before_a_run_folder_is_made(
    arguments: tuple[str, ...], code: int, message: str, cli: Cli, run_folder: Path
) -> None:
    shutil.copytree(run_folder, "runs/base")

    answer = cli("train", "--dataset", "digits", *arguments)

    assert answer.code == code
    assert len(answer.err.splitlines()) == 1
    assert message in answer.err.replace("\\", "/")
    assert [path.name for path in Path("runs").iterdir()] == ["base"]


def test_data_shows_samples_counts_and_duplicates(
    cli: Cli, presplit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(presplit / "train" / "three" / "0.png", presplit / "test" / "three" / "copy.png")

    monkeypatch.setattr(render, "terminal_width", lambda: 80)
    text = cli("data", presplit).out
    assert not list(Path().glob("*.png"))
    result = json.loads(cli("data", "--dataset", presplit, "--output", "sheet.png", "--json").out)

    assert result["images"]["test"] == {"eight": 20, "seven": 20, "three": 21}
    assert sum(result["images"]["train"].values()) == 110
    assert result["duplicates"] == 1
    with Image.open("sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert min(sheet.size) > 150
    assert "test images that are also in train or validation: 1" in text
    assert any("⠀" <= character <= "⣿" for character in text)


def test_download_list_shows_which_datasets_are_on_disk(cli: Cli) -> None:
    result = {item["name"]: item for item in json.loads(cli("download", "--list", "--json").out)}
    text = cli("download", "--list").out

    assert list(result) == ["mnist", "fashion-mnist", "kmnist", "qmnist", "digits"]
    assert {name for name, item in result.items() if item["on_disk"]} == {"digits"}
    assert "ankle boot" in result["fashion-mnist"]["classes"]
    for name in result:
        assert name in text
