"""Fixtures: real parts, small data. No test reaches the network or the user's own folders."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import mnistctl
from mnistctl.cli import app
from mnistctl.datasets import catalog
from mnistctl.settings import recipes
from mnistctl.settings.architectures import ARCHITECTURES

MNIST = os.environ.get("MNISTCTL_TEST_MNIST")

# All of them; those that are not an architecture's own only with `-m slow`.
RECIPES = [
    pytest.param(name, marks=() if name in ARCHITECTURES else pytest.mark.slow)
    for name in recipes.RECIPES
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "mnist" in item.keywords and not MNIST:
            item.add_marker(pytest.mark.skip(reason="MNISTCTL_TEST_MNIST names no folder"))
        if "cuda" in item.keywords:
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def own_folders(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every test works in its own folder; an unmarked one that wants MNIST finds dead mirrors."""
    monkeypatch.chdir(tmp_path)
    if "mnist" in request.keywords and MNIST:
        monkeypatch.setenv("MNISTCTL_DATA_DIR", str(request.getfixturevalue("mnist_dir")))
        return
    monkeypatch.setenv("MNISTCTL_DATA_DIR", str(tmp_path / "data"))
    dead = catalog.DATASETS | {
        name: dataset_with(dataset, mirrors=("http://127.0.0.1:9/",))
        for name, dataset in catalog.DATASETS.items()
        if dataset.mirrors
    }
    monkeypatch.setattr(catalog, "DATASETS", dead)


def dataset_with(dataset: catalog.Dataset, **changes: object) -> catalog.Dataset:
    """A dataset with some fields changed."""
    return catalog.Dataset(**{**vars(dataset), **changes})


def tiny_dataset(*files: catalog.RawFile, **changes: object) -> catalog.Dataset:
    """A dataset of these files, the same for train and test, in the folder Tiny/raw."""
    made = catalog.Dataset(
        name="tiny",
        summary="",
        class_names=("a", "b", "c"),
        parts={"train": files, "test": files},
        licence="",
        citation="",
        folder="Tiny/raw",
    )
    return dataset_with(made, **changes)


def unmeasured() -> dict[str, str]:
    """An environment without coverage, for a process that may not write where it wants to."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the real MNIST in it."""
    folder = tmp_path_factory.mktemp("mnist")
    mnistctl.download("mnist", source=Path(MNIST or ""), data_dir=folder)
    return folder


@dataclass
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


Cli = Callable[..., Answer]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process."""

    def run(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        code = app.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the embedded digits, short but good enough to read them."""
    before = Path.cwd()
    folder = tmp_path_factory.mktemp("trained")
    os.chdir(folder)
    try:
        result = mnistctl.train("cnn", dataset="digits", device="cpu", epochs=6, batch_size=64)
        mnistctl.export(result.run)
    finally:
        os.chdir(before)
    return folder / result.run


@pytest.fixture
def checkpoint_path(run_folder: Path) -> Path:
    return run_folder / "model.safetensors"


@pytest.fixture
def onnx_path(run_folder: Path) -> Path:
    return run_folder / "model.onnx"


@pytest.fixture(scope="session")
def digits_test() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The embedded digits' 297 test images and labels."""

    from mnistctl import datasets

    split = datasets.load("digits", "test")
    return split.images, split.labels


@pytest.fixture
def picture(tmp_path: Path, digits_test: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]) -> Path:
    """A picture of a 3, dark on light, 280×280 pixels."""
    images, labels = digits_test
    path = tmp_path / "three.png"
    three = images[np.flatnonzero(labels == 3)[0]]
    Image.fromarray(255 - three).resize((280, 280), Image.Resampling.BICUBIC).save(path)
    return path
