"""The JSON of every command has exactly the keys that are listed here."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from mnistctl.api import doctor
from mnistctl.cli.app import app
from mnistctl.datasets import catalog
from mnistctl.system import files
from tests.helpers import Cli, tiny_dataset

# The keys of these objects are data, such as the names of classes and packages.
DATA = {
    *("arch_args", "arguments", "by_class", "config", "datasets", "differences", "images", "settings"),
    "versions",
}

TRAIN = "train --dataset digits --device cpu --arch linear"
COMMANDS = {
    "train": f"{TRAIN} --epochs 1",
    "train --seeds": f"{TRAIN} --epochs 0.1 --seeds 2 --no-plots",
    "eval": "eval {run} --robustness --plots plots",
    "predict": "predict 3_digit.png --model {onnx} --labels-from-names",
    "predict --split": "predict 3_digit.png --model {onnx} --split",
    "predict, damaged picture": "predict damaged.png --model {onnx}",
    "label": "label photos --model {onnx}",
    "export": "export {run} --output new.onnx",
    "benchmark": "benchmark {onnx} --output plot.png",
    "ensemble": "ensemble a.safetensors b.safetensors",
    "info, checkpoint": "info {run}",
    "info, ONNX": "info {onnx}",
    "compare": "compare a.safetensors {onnx}",
    "plot": "plot runs/a",
    "runs": "runs",
    "data": "data --dataset digits",
    "download": "download tiny --from source",
    "download --list": "download --list",
    "recipes": "recipes",
    "archs": "archs",
    "doctor": "doctor",
}

KEYS: dict[str, str] = {}


@pytest.fixture
def inputs(
    run_folder: Path, onnx_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Path]:
    """The files that the commands use, in the working folder; the keys are placeholders."""
    Path("photos").mkdir()
    for name in ("3_digit.png", "photos/3_digit.png"):
        shutil.copy(picture, name)
    Path("damaged.png").write_bytes(b"\x89PNG")
    shutil.copytree(run_folder, "runs/a")
    for name in ("a.safetensors", "b.safetensors"):
        shutil.copy(run_folder / "model.safetensors", name)
    content = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 3])
    Path("source").mkdir()
    Path("source/labels-idx1-ubyte").write_bytes(content)
    file = catalog.RawFile("labels-idx1-ubyte", len(content), files.sha256(content))
    digits = catalog.DATASETS["digits"]
    monkeypatch.setattr(catalog, "DATASETS", {"tiny": tiny_dataset(file), "digits": digits})
    monkeypatch.setattr(typer, "getchar", lambda: "\r")
    monkeypatch.setattr(doctor, "_versions", lambda: {"rich": None})  # a problem on every machine
    return {"run": run_folder, "onnx": onnx_path}


def key_paths(value: Any, path: str = "") -> set[str]:
    """The paths to all values: a dot before a key, [] for the items of a list, * for keys in DATA."""
    if isinstance(value, list):
        nested = [key_paths(item, f"{path}[]") for item in value]
        return set().union(*nested) or {f"{path}[]"}
    if not isinstance(value, dict):
        return {path}
    if path.rpartition(".")[2] in DATA:
        return {f"{path}.*"}
    nested = [key_paths(item, f"{path}.{key}".removeprefix(".")) for key, item in value.items()]
    return set().union(*nested) or {path}


@pytest.mark.parametrize("case", COMMANDS)
def test_json_has_exactly_the_listed_keys(case: str, cli: Cli, inputs: dict[str, Path]) -> None:
    arguments = [word.format(**inputs) for word in COMMANDS[case].split()]

    answer = cli(*arguments, "--json")

    assert key_paths(json.loads(answer.out)) == set(KEYS[case].split())


def test_every_command_with_json_is_listed() -> None:
    names = {command.name for command in app.registered_commands}

    assert {case.split()[0].strip(",") for case in COMMANDS} == names
    assert set(KEYS) == set(COMMANDS)
