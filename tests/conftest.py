"""Shared fixtures: real models and small data. No test reaches the network or the user's folders."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import typer.main
from PIL import Image

import mnistctl
from mnistctl.cli import app
from mnistctl.datasets import catalog
from tests.helpers import Answer, Cli

MNIST = os.environ.get("MNISTCTL_TEST_MNIST")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "mnist" in item.keywords and not MNIST:
            item.add_marker(pytest.mark.skip(reason="MNISTCTL_TEST_MNIST is not set"))
        if "cuda" in item.keywords:
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def default_signals() -> None:
    """Ctrl-C and a closed terminal have their usual effect, even below `nohup` or in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.name != "nt":
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def isolated_folders(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run every test in its own folder. Only tests marked "mnist" get MNIST: all mirrors are dead."""
    monkeypatch.chdir(tmp_path)
    if "mnist" in request.keywords and MNIST:
        monkeypatch.setenv("MNISTCTL_DATA_DIR", str(request.getfixturevalue("mnist_dir")))
        return
    monkeypatch.setenv("MNISTCTL_DATA_DIR", str(tmp_path / "data"))
    dead = catalog.DATASETS | {
        name: replace(dataset, mirrors=("http://127.0.0.1:9/",))
        for name, dataset in catalog.DATASETS.items()
        if dataset.mirrors
    }
    monkeypatch.setattr(catalog, "DATASETS", dead)


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that contains MNIST."""
    folder = tmp_path_factory.mktemp("mnist")
    mnistctl.download("mnist", source=Path(MNIST or ""), data_dir=folder)
    return folder


@pytest.fixture(scope="session")
def built_commands() -> Any:
    """The commands as Typer builds them: once, as in a process of their own, not for every call."""
    return typer.main.get_command(app.app)


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, built_commands: Any
) -> Cli:
    """Run a command in this process."""
    monkeypatch.setattr(typer.main, "get_command", lambda _: built_commands)

    def run(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        code = app.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on the bundled digits, whose model recognises them."""
    working_folder = Path.cwd()
    folder = tmp_path_factory.mktemp("trained")
    os.chdir(folder)
    try:
        result = mnistctl.train("cnn", dataset="digits", device="cpu", epochs=6, batch_size=64)
        mnistctl.export(result.run)
    finally:
        os.chdir(working_folder)
    return folder / result.run


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, if it and Playwright are installed."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        # Chromium's sandbox does not run as root.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def checkpoint_path(run_folder: Path) -> Path:
    return run_folder / "model.safetensors"


@pytest.fixture
def onnx_path(run_folder: Path) -> Path:
    return run_folder / "model.onnx"


@pytest.fixture(scope="session")
def digits_test() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The 297 test images of the bundled digits, and their labels."""
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
