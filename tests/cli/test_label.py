"""`label`: a person's own pictures, a key for each."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from PIL import Image

from mnistctl import datasets
from mnistctl.api import models
from tests.helpers import Cli

Press = Callable[..., None]

UNDO, QUIT = "\x7f", "\x1b"


@pytest.fixture
def press(monkeypatch: pytest.MonkeyPatch) -> Press:
    """What a person presses, key by key; then Ctrl-C."""

    def pressing(*keys: str) -> None:
        waiting: Iterator[str] = iter(keys)

        def getchar() -> str:
            key = next(waiting, None)
            if key is None:
                raise KeyboardInterrupt
            return key

        monkeypatch.setattr(typer, "getchar", getchar)

    return pressing


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with pictures of a 0, a 1 and a 2, and one that is damaged."""
    split = datasets.load("digits", "test")
    folder = tmp_path / "mine"
    folder.mkdir()
    for label in range(3):
        digit = split.images[list(split.labels).index(label)]
        Image.fromarray(255 - digit).resize((90, 90)).save(folder / f"{label}.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG")
    return folder


def filed() -> dict[str, int]:
    folders = sorted(Path("labelled").iterdir()) if Path("labelled").exists() else []
    return {folder.name: len(list(folder.iterdir())) for folder in folders}


def test_a_key_files_a_picture_and_enter_accepts_the_guess(
    cli: Cli, press: Press, onnx_path: Path, mine: Path
) -> None:
    press("7", "\r", " ")

    answer = cli("label", mine, "--model", onnx_path, "--json", "-q")

    assert answer.code == 0, answer.err
    assert filed() == {"1": 1, "7": 1}
    assert json.loads(answer.out)["filed"] == 2
    assert "damaged.png: not a picture" in answer.err
    assert sorted(path.name for path in mine.iterdir()) == ["0.png", "1.png", "2.png", "damaged.png"]


def test_a_mistake_is_taken_back(cli: Cli, press: Press, onnx_path: Path, mine: Path) -> None:
    press(UNDO, "9", UNDO, "x", "0", QUIT)

    answer = cli("label", mine, "--model", onnx_path, "-q")

    assert "filed 1 picture in labelled (0: 1)" in answer.out
    assert filed() == {"0": 1}


def test_what_was_filed_is_not_asked_again(cli: Cli, press: Press, onnx_path: Path, mine: Path) -> None:
    press("0")
    cli("label", mine, "--model", onnx_path, "-q")  # then Ctrl-C
    press("1", "2")
    cli("label", mine, "--model", onnx_path, "-q")

    assert filed() == {"0": 1, "1": 1, "2": 1}
    (mine / "damaged.png").unlink()
    assert "every picture has been filed" in cli("label", mine, "--model", onnx_path, "-q").out


def test_pictures_of_one_name_do_not_replace_one_another(
    cli: Cli, press: Press, onnx_path: Path, mine: Path
) -> None:
    (mine / "more").mkdir()
    Image.open(mine / "0.png").rotate(3, fillcolor=255).save(mine / "more" / "0.png")
    press(*"0  0")

    cli("label", mine, "-r", "--model", onnx_path, "-q")

    assert sorted(path.name for path in Path("labelled/0").iterdir()) == ["0-2.png", "0.png"]


def test_the_folder_is_a_dataset(cli: Cli, press: Press, mine: Path) -> None:
    (mine / "damaged.png").unlink()
    random = datasets.load("digits", "train")
    for number in range(90):
        Image.fromarray(255 - random.images[number]).save(mine / f"more-{number}.png")
    order = ["0", "1", "2", *sorted(range(90), key=lambda number: f"more-{number}.png")]
    press(*(str(random.labels[it] % 3) if isinstance(it, int) else it for it in order))

    cli("label", mine, "--model", "bundled", "-q")
    answer = cli(
        *("train", "--init", "bundled", "--dataset", "labelled", "--epochs", "0.1", "-q"),
        *("--min-steps", "2", "--json", "--no-plots"),
    )

    assert answer.code == 0, answer.err
    assert models.describe(Path(json.loads(answer.out)["run"]) / "model.safetensors")


def test_a_folder_that_is_not_there_is_one_line(cli: Cli, onnx_path: Path) -> None:
    answer = cli("label", "gone", "--model", onnx_path)

    assert (answer.code, answer.err.splitlines()[-1]) == (2, "mnistctl: gone: not a folder")
