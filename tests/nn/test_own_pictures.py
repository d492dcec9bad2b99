"""Adapting a detector to a folder of pictures with their numbers."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mnistctl
from mnistctl import datasets
from mnistctl.api import models
from mnistctl.errors import DataError, UsageError
from mnistctl.models import checkpoint
from mnistctl.pages import stream
from mnistctl.settings import recipes
from tests.helpers import Cli
from tests.test_resume import assert_same_run, train_until_killed

DIGITS = datasets.load("digits", "train")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled detector as if it were trained on the bundled digits, which need no download."""
    path = tmp_path_factory.mktemp("model") / "detector.safetensors"
    bundled = checkpoint.load(models.find_model(models.BUNDLED_NUMBERS))
    dataset = {"name": "digits", "sha256": DIGITS.sha256}
    checkpoint.save(path, bundled.tensors, dataclasses.replace(bundled.metadata, dataset=dataset))
    return path


def write_pictures(folder: Path, count: int) -> None:
    """Pictures of two digits next to each other, and `labels.csv`."""
    folder.mkdir()
    rows = ["file,label"]
    for number in range(count):
        images = DIGITS.images[2 * number : 2 * number + 2]
        ink = np.pad(np.hstack(list(images)), 12)
        Image.fromarray(255 - ink).save(folder / f"{number}.png")
        first, second = DIGITS.labels[2 * number : 2 * number + 2]
        rows.append(f"{number}.png,{first}{second}")
    (folder / "labels.csv").write_text("\n".join(rows))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "forms"
    write_pictures(folder, 8)
    return folder


def settings(detector: Path, folder: Path) -> dict[str, Any]:
    return {
        "recipe": "numbers",
        "init": detector,
        "dataset": str(folder),
        "device": "cpu",
        "validation_size": 20,
        "subset": 300,
        "batch_size": 4,
        "epochs": 0.08,  # 6 steps
        "plots": False,
    }


def test_a_resumed_run_with_pictures_equals_an_uninterrupted_one(
    detector: Path, pictures: Path
) -> None:
    options = settings(detector, pictures)
    whole = mnistctl.train(name="whole", **options)
    train_until_killed(4, "interrupted", save_every="2steps", **options)

    resumed = mnistctl.train(resume="interrupted", plots=False)

    assert_same_run(whole, resumed)
    metadata = checkpoint.load(Path(resumed.run) / "model.safetensors").metadata
    assert metadata.dataset["name"] == "digits"  # of which `eval` composes pages
    assert resumed.dataset == str(pictures)


def test_the_length_and_the_learning_rate_suit_an_adaptation(detector: Path, pictures: Path) -> None:
    from mnistctl.api.training import run_settings

    options = {"init": str(detector), "dataset": str(pictures)}
    adapted = run_settings.resolve(None, options | {"recipe": "numbers"}).settings
    without_recipe = run_settings.resolve(None, options).settings
    overridden = run_settings.resolve(None, options | {"epochs": 2.0, "learning_rate": 1e-4}).settings

    assert adapted.learning_rate < recipes.find_recipe("numbers").learning_rate
    assert adapted.epochs < 1
    assert without_recipe == adapted
    assert (overridden.epochs, overridden.learning_rate) == (2.0, 1e-4)


def test_a_part_of_the_pages_shows_the_pictures(detector: Path, pictures: Path) -> None:
    from mnistctl.api.training import own_pictures

    train, validation = own_pictures.add_to_splits(
        DIGITS, DIGITS, pictures, model=checkpoint.load(detector), split_seed=0
    )

    batches = [
        next(stream.compose_batches(DIGITS, seed=1, batches=iter([0]), pages=range(6), pictures=some))
        for some in ((), train.pictures)
    ]

    assert not validation.pictures
    assert 6 <= len(train.pictures) <= 8
    differs = (batches[0].pages != batches[1].pages).any(axis=(1, 2))
    assert 0 < differs.sum() < 6
    assert train.all_sha256 != DIGITS.sha256 == train.sha256


def test_of_many_pictures_some_are_held_out(detector: Path, tmp_path: Path) -> None:
    from mnistctl.api.training import own_pictures

    write_pictures(tmp_path / "many", 60)

    train, validation = own_pictures.add_to_splits(
        DIGITS, DIGITS, tmp_path / "many", model=checkpoint.load(detector), split_seed=0
    )

    assert len(validation.pictures) == 5
    assert 45 <= len(train.pictures) <= 55


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("file,label\n0.png,12\n9.png,3\n", "labels.csv: .*9.png"),
        ("file,label\n0.png,12a\n", "labels.csv: line 2: label '12a': expected a number"),
        ("file,text\n0.png,12\n", "labels.csv: expected the columns 'file' and 'label'"),
        ("file,label\n", "labels.csv: no labels"),
        ("file,label\nbroken.png,12\n", "labels.csv: .*broken.png"),
        ("file,label\nblank.png,12\n", "finds the digits of none of the pictures"),
    ],
)
def test_what_is_wrong_with_the_labels_is_said_in_one_line(
    content: str, problem: str, detector: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "forms"
    write_pictures(folder, 1)
    (folder / "broken.png").write_bytes(b"not a picture")
    Image.new("L", (40, 40), 255).save(folder / "blank.png")
    (folder / "labels.csv").write_text(content)

    with pytest.raises(DataError, match=problem) as caught:
        mnistctl.train(**settings(detector, folder))

    assert "\n" not in str(caught.value)
    assert not Path("runs").exists()


def test_numbers_without_an_initial_model_cannot_be_learned(pictures: Path) -> None:
    with pytest.raises(UsageError, match="--init bundled-numbers"):
        mnistctl.train(recipe="numbers", dataset=str(pictures))


def test_numbers_are_not_for_a_model_of_single_digits(pictures: Path, cli: Cli) -> None:
    answer = cli("train", "--arch", "mlp", "--dataset", str(pictures))

    assert answer.code == 3
    assert "labels.csv is for whole numbers" in answer.err


def test_a_folder_without_labels_is_read_as_one_with_a_folder_per_class(
    detector: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"0 sub-folders; .* or, for --recipe numbers, labels.csv"):
        mnistctl.train(recipe="numbers", init=detector, dataset=str(tmp_path))


def test_a_run_is_not_resumed_with_other_pictures(detector: Path, tmp_path: Path) -> None:
    folder = tmp_path / "forms"
    write_pictures(folder, 8)
    train_until_killed(4, "interrupted", save_every="2steps", **settings(detector, folder))
    (folder / "0.png").write_bytes((folder / "2.png").read_bytes())

    with pytest.raises(UsageError, match=r"the data of .* has changed"):
        mnistctl.train(resume="interrupted", plots=False)
