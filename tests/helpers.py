"""Helpers that several test modules share; the fixtures are in conftest.py."""

import importlib.util
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mnistctl.datasets import catalog
from mnistctl.settings import recipes
from mnistctl.settings.architectures import ARCHITECTURES, DIGIT

ROOT = Path(__file__).parents[1]

# All recipes for single digits. Those that are not the default recipe of an architecture run with
# `-m slow` only.
RECIPES = [
    pytest.param(name, marks=() if name in ARCHITECTURES else pytest.mark.slow)
    for name in recipes.of_task(DIGIT)
]

TINY_TRAINING: dict[str, Any] = {
    "dataset": "digits",
    "device": "cpu",
    "subset": 300,
    "batch_size": 50,
    "epochs": 3,
    "arch": "mlp",
    "hidden": [16],
    "plots": False,
}  # 6 steps per epoch


@dataclass
class Answer:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


Cli = Callable[..., Answer]  # the fixture `cli`


class SimulatedKill(BaseException):
    """Raised where the process would be killed: nothing in the program catches it."""


def load_script(name: str) -> ModuleType:
    """Import `scripts/NAME.py`."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tiny_dataset(*files: catalog.RawFile, **changes: Any) -> catalog.Dataset:
    """A dataset of these files, the same for train and test, in the folder Tiny/raw."""
    dataset = catalog.Dataset(
        name="tiny",
        summary="",
        class_names=("a", "b", "c"),
        split_files={"train": files, "test": files},
        licence="",
        citation="",
        folder="Tiny/raw",
    )
    return replace(dataset, **changes)


def environment_without_coverage() -> dict[str, str]:
    """For a subprocess that cannot write where coverage would store its data."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def let_others_enter(folder: Path) -> None:
    """Open the temporary folders around this one to other users, with pytest-xdist or without."""
    for parent in (folder, *folder.parents):
        if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
            parent.chmod(parent.stat().st_mode | 0o055)
