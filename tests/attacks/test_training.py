"""Attacks on training: settings files that lie, odd values, and datasets of a few pictures."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.attacks.attack import attack

LONG = "x" * 100_000
TRAIN = ("train", "--dataset", "digits", "--device", "cpu", "--no-plots")
TRAINING_CPU_S = 120


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"clip_norm = 1{'0' * 400}", "clip_norm: an integer of more than 64 bits"),
        ("learning_rate = nan", "learning_rate: a number that is not finite"),
        ("epochs = inf", "epochs: a number that is not finite"),
        ("seed = 9223372036854775808", "seed"),
        (f"seed = {'9' * 5_000}", "a.toml: not TOML"),
        (f"subset = {'[' * 100_000}", "a.toml: not TOML"),
        (f"{'a.' * 2_000}b = 1", "unknown setting 'a'"),
        (f"{LONG} = 1", "unknown setting 'xxx"),
        (f'optimizer = "{LONG}"', "unknown optimizer 'xxx"),
        (f'recipe = "{LONG}"', "unknown recipe 'xxx"),
        (f'arch = "{LONG}"', "unknown architecture 'xxx"),
        (f'arch = "{LONG}.py:Net"', "File name too long"),
        (f'dataset = "{LONG}"', "unknown dataset 'xxx"),
        (f'dataset = "/{LONG}"', "not a folder"),
        ('dataset = "\\u001b[31mred"', "dataset: a text with control characters"),
        ("arch_args = 3", "arch_args 3: expected a table"),
        (f'arch = "a.py:B"\narch_args.w = {"[" * 50}{"]" * 50}', "nested too deeply"),
        ('arch = "a.py:B"\narch_args.w = 9999999999999999999999', "an integer of more than 64 bits"),
        ('arch = "a.py:B"\narch_args.w = nan', "not finite"),
        ('arch = "a.py:B"\narch_args.w = "\\u001b[2J"', "control characters"),
    ],
)
def test_a_settings_file_that_lies_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(text)

    attack("train", "--config", "a.toml", folder=tmp_path).check_failed(2, message)


def make_hostile_files(folder: Path) -> None:
    os.mkfifo(folder / "fifo.toml")
    (folder / "folder.toml").mkdir()
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (folder / "zero.toml").symlink_to("/dev/zero")
    (folder / "loop.toml").symlink_to("loop.toml")
    with (folder / "sparse.toml").open("wb") as file:
        file.truncate(20 * 2**30)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes and devices among its files")
@pytest.mark.parametrize(
    "name", ["fifo", "folder", "binary", "zero", "loop", "sparse", "missing", LONG]
)
def test_a_settings_file_that_is_no_text_file_is_rejected(tmp_path: Path, name: str) -> None:
    make_hostile_files(tmp_path)

    attack("train", "--config", f"{name}.toml", folder=tmp_path).check_failed(2, "--config")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seeds", "999999999"), "--seeds 999999999: expected from 1 to 1,000"),
        (("--seeds", "-1"), "--seeds -1: expected from 1 to 1,000"),
        (("--seeds", "2", "--seed", "9223372036854775807"), "--seed 9223372036854775808"),
        (("--epochs", "1e308"), "--epochs"),
        (("--epochs", "nan"), "--epochs"),
        (("--batch-size", "99999999999999999999999"), "--batch-size"),
        (("--arch", "mlp", "--hidden", ",".join(["8192"] * 100)), "parameters; at most"),
        (("--arch", "mlp", "--hidden", f"1,{'9' * 5_000}"), "--hidden"),
        (("--arch-arg", "=1"), "--arch-arg =1: expected NAME=VALUE"),
        (("--arch-arg", f"hidden={'[' * 10_000}"), "--hidden"),
        (("--arch-arg", f"{LONG}=1"), "takes no argument"),
        (("--arch", LONG), "unknown architecture"),
        (("--arch", f"{LONG}.py:Net"), "File name too long"),
        (("--resume", LONG), "run not found"),
        (("--name", LONG), "--name"),
        (("--save-every", "99999999999999h"), "--save-every"),
        (("--track", LONG), "unknown tracker"),
    ],
)
def test_odd_values_are_rejected(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    dataset = () if "--resume" in options else ("--dataset", "digits")

    outcome = attack("train", *dataset, *options, folder=tmp_path)

    outcome.check_failed(2, message)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("options", [("--columns", LONG), ("--columns", ",,"), ("--sort", LONG)])
def test_odd_columns_of_runs_are_rejected(tmp_path: Path, options: tuple[str, ...]) -> None:
    attack("runs", *options, folder=tmp_path).check_failed(2, "unknown column")


def test_a_name_that_no_recipe_has_is_rejected(tmp_path: Path) -> None:
    attack("recipes", LONG, folder=tmp_path).check_failed(2, "unknown recipe")


def draw(folder: Path, *, pictures: dict[str, int]) -> None:
    """Write this many pictures of noise per class."""
    random = np.random.default_rng(0)
    for name, count in pictures.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_a_dataset_of_two_pictures_is_rejected(tmp_path: Path) -> None:
    draw(tmp_path / "own", pictures={"a": 1, "b": 1})

    outcome = attack("train", "--dataset", "own", folder=tmp_path, cpu_s=TRAINING_CPU_S)

    outcome.check_failed(3, "add more")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes among its files")
def test_a_dataset_of_a_few_pictures_and_a_pipe_is_trained_without_calibration(tmp_path: Path) -> None:
    draw(tmp_path / "own", pictures={"a": 8, "b": 8})
    os.mkfifo(tmp_path / "own" / "a" / "pipe.png")

    outcome = attack(
        *("train", "--dataset", "own", "--device", "cpu", "--no-plots", "--arch", "linear"),
        *("--epochs", "200", "--json"),
        folder=tmp_path,
        cpu_s=TRAINING_CPU_S,
    )

    outcome.check_succeeded()
    result = json.loads(outcome.out)
    assert result["validation_accuracy"] is not None
    assert result["calibrated_validation_loss"] is None
    assert "not calibrated, and no image will be rejected" in outcome.err
    assert len(outcome.err.splitlines()) < 40
