"""The examples of docs/how-to/use-exports.md run as they are written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.models import formats
from mnistctl.models.onnx_page_predictor import OnnxPagePredictor
from mnistctl.pages import compose, glyphs
from mnistctl.settings import architectures
from tests.helpers import ROOT

TEXT = (ROOT / "docs" / "how-to" / "use-exports.md").read_text(encoding="utf-8")


def example(language: str, *, number: int = 1) -> str:
    return TEXT.split(f"```{language}\n")[number].split("```")[0]


@pytest.fixture
def folder(
    tmp_path: Path,
    onnx_path: Path,
    digits_test: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
) -> Path:
    """A folder with the model and the image that the examples use."""
    shutil.copy(onnx_path, tmp_path / "model.onnx")
    digits_test[0][0].tofile(tmp_path / "digit.raw")
    return tmp_path


def check(answer: str, folder: Path) -> None:
    """Check that an example printed the outputs of the model."""
    image = np.fromfile(folder / "digit.raw", np.uint8).reshape(1, 28, 28)
    outputs = models.open_predictor(folder / "model.onnx")(image)
    label, probability, familiarity = answer.split()

    assert int(label) == outputs.logits.argmax()
    assert float(probability) == pytest.approx(outputs.probabilities.max(), abs=1e-4)
    assert float(familiarity) == pytest.approx(outputs.familiarity[0], abs=1e-4)


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    variables = {**os.environ, **environment}
    process = subprocess.run(
        [str(part) for part in command], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_python_example_has_five_lines_and_runs(folder: Path) -> None:
    code = example("python")

    assert len([line for line in code.splitlines() if line]) == 5
    check(run(sys.executable, "-c", code, folder=folder), folder)


def test_the_example_for_numbers_prints_the_digits_of_the_page(tmp_path: Path) -> None:
    model = models.bundled(formats.ONNX, task=architectures.NUMBERS)
    train = datasets.load("digits", "train")
    bank = glyphs.build_bank(train.images, train.labels, size=100, seed=0)
    page = compose.compose(bank, (0, 1)).image
    page.tofile(tmp_path / "page.raw")
    shutil.copy(model, tmp_path / "numbers.onnx")

    lines = run(sys.executable, "-c", example("python", number=2), folder=tmp_path).splitlines()

    outputs = OnnxPagePredictor(model)(page[None])
    likely = outputs.scores[0].max(axis=0) > 0.3
    assert len(lines) == likely.sum() > 0
    assert [int(line.split()[0]) for line in lines] == outputs.scores[0].argmax(axis=0)[likely].tolist()
    boxes = [[float(side) for side in line.split()[2:]] for line in lines]
    np.testing.assert_allclose(boxes, outputs.boxes[0][:, likely].T, atol=1e-2)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="Node.js is not installed")
def test_the_javascript_example_runs(folder: Path) -> None:
    (folder / "package.json").write_text("{}")
    npm = shutil.which("npm") or ""
    run(npm, "install", "--ignore-scripts", "--no-audit", "onnxruntime-node", folder=folder)
    (folder / "read.js").write_text(example("javascript"))

    check(run("node", "read.js", folder=folder), folder)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler is installed")
def test_the_cpp_example_runs(folder: Path) -> None:
    openvino = Path(pytest.importorskip("openvino").__file__).parent
    (library,) = (openvino / "libs").glob("libopenvino.so.*")
    (folder / "read.cpp").write_text(example("cpp"))
    build = ("g++", "-std=c++17", "-O1", "-I", openvino / "include", "read.cpp", "-o", "read", library)
    run(*build, f"-Wl,-rpath,{library.parent}", folder=folder)

    check(run("./read", folder=folder, LD_LIBRARY_PATH=str(library.parent)), folder)
