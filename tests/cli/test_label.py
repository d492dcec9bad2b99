"""`label`: label pictures by key press."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from PIL import Image

import mnistctl
from mnistctl import datasets
from mnistctl.api import models
from mnistctl.api.label import Question
from mnistctl.cli import label
from mnistctl.errors import UsageError
from tests.helpers import Cli

Press = Callable[..., None]

UNDO, QUIT = "\x7f", "\x1b"


@pytest.fixture
def press(monkeypatch: pytest.MonkeyPatch) -> Press:
    """Set the keys that the user presses; Ctrl-C follows the last one."""

    def set_keys(*keys: str) -> None:
        remaining: Iterator[str] = iter(keys)

        def getchar() -> str:
            key = next(remaining, None)
            if key is None:
                raise KeyboardInterrupt
            return key

        monkeypatch.setattr(label, "_is_terminal", lambda: True)
        monkeypatch.setattr(typer, "getchar", getchar)

    return set_keys


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with pictures of a 0, a 1 and a 2, and one that is damaged."""
    split = datasets.load("digits", "test")
    folder = tmp_path / "photos"
    folder.mkdir()
    for digit in range(3):
        image = split.images[list(split.labels).index(digit)]
        Image.fromarray(255 - image).resize((90, 90)).save(folder / f"{digit}.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG")
    return folder


def labelled() -> dict[str, int]:
    folders = sorted(Path("labelled").iterdir()) if Path("labelled").exists() else []
    return {folder.name: len(list(folder.iterdir())) for folder in folders}


def test_label_copies_a_picture_for_a_key_and_for_enter(
    cli: Cli, press: Press, onnx_path: Path, photos: Path
) -> None:
    press("7", "\r", " ")

    answer = cli("label", photos, "--model", onnx_path, "--json", "-q")

    assert answer.code == 0, answer.err
    assert labelled() == {"1": 1, "7": 1}
    assert json.loads(answer.out)["filed"] == 2
    assert "damaged.png: not a picture" in answer.err
    assert sorted(path.name for path in photos.iterdir()) == ["0.png", "1.png", "2.png", "damaged.png"]


def test_label_undoes_a_label(cli: Cli, press: Press, onnx_path: Path, photos: Path) -> None:
    press(UNDO, "9", UNDO, "x", "0", QUIT)

    answer = cli("label", photos, "--model", onnx_path, "-q")

    assert "labelled 1 picture in labelled (0: 1)" in answer.out
    assert labelled() == {"0": 1}


def test_label_skips_pictures_that_are_labelled_already(
    cli: Cli, press: Press, onnx_path: Path, photos: Path
) -> None:
    press("0")
    cli("label", photos, "--model", onnx_path, "-q")  # then Ctrl-C
    press("1", "2")
    cli("label", photos, "--model", onnx_path, "-q")

    assert labelled() == {"0": 1, "1": 1, "2": 1}
    (photos / "damaged.png").unlink()
    assert "all pictures have a label" in cli("label", photos, "--model", onnx_path, "-q").out


def test_label_keeps_pictures_with_the_same_name(
    cli: Cli, press: Press, onnx_path: Path, photos: Path
) -> None:
    (photos / "more").mkdir()
    Image.open(photos / "0.png").rotate(3, fillcolor=255).save(photos / "more" / "0.png")
    press(*"0  0")

    cli("label", photos, "-r", "--model", onnx_path, "-q")

    assert sorted(path.name for path in Path("labelled/0").iterdir()) == ["0-2.png", "0.png"]


def test_train_accepts_the_folder_of_labelled_pictures(cli: Cli, press: Press, photos: Path) -> None:
    (photos / "damaged.png").unlink()
    split = datasets.load("digits", "train")
    for number in range(90):
        Image.fromarray(255 - split.images[number]).save(photos / f"more-{number}.png")
    in_order = sorted(range(90), key=lambda number: f"more-{number}.png")
    press("0", "1", "2", *(str(split.labels[number] % 3) for number in in_order))

    cli("label", photos, "--model", "bundled", "-q")
    answer = cli(
        *("train", "--init", "bundled", "--dataset", "labelled", "--epochs", "0.1", "-q"),
        *("--min-steps", "2", "--json", "--no-plots"),
    )

    assert answer.code == 0, answer.err
    assert models.describe(Path(json.loads(answer.out)["run"]) / "model.safetensors")


def test_label_rejects_a_missing_folder(cli: Cli, press: Press, onnx_path: Path) -> None:
    press()
    answer = cli("label", "gone", "--model", onnx_path)

    assert (answer.code, answer.err.splitlines()[-1]) == (2, "mnistctl: gone: not a folder")


def test_label_in_python_files_under_a_new_class_and_suggests_only_given_ones(photos: Path) -> None:
    (photos / "damaged.png").unlink()
    questions: list[Question] = []

    def ask(question: Question) -> str:
        questions.append(question)
        return "A"

    result = mnistctl.label(photos, ask, model="bundled")
    with pytest.raises(UsageError, match="unknown class 'A'; classes: 2, B"):
        mnistctl.label(photos, ask, output=Path("more"), classes=["2", "B"], model="bundled")

    assert result.to_json()["by_class"] == {**{str(digit): 0 for digit in range(10)}, "A": 3}
    assert [question.suggestion for question in questions] == ["0", "1", "2", None]
    assert questions[0].can_add
    assert not questions[-1].can_add
