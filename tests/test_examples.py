"""The examples of docs/using-exports.md, run as they stand there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mnistctl.api import models

TEXT = (Path(__file__).parents[1] / "docs" / "using-exports.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    return TEXT.split(f"```{language}\n")[1].split("```")[0]


@pytest.fixture
def folder(
    tmp_path: Path,
    onnx_path: Path,
    digits_test: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
) -> Path:
    """A folder with what the examples read."""
    shutil.copy(onnx_path, tmp_path / "model.onnx")
    digits_test[0][0].tofile(tmp_path / "digit.raw")
    return tmp_path


def check(answer: str, folder: Path) -> None:
    """What was printed is what the model says."""
    image = np.fromfile(folder / "digit.raw", np.uint8).reshape(1, 28, 28)
    wanted = models.open_predictor(folder / "model.onnx")(image)
    label, probability, familiarity = answer.split()

    assert int(label) == wanted.logits.argmax()
    assert float(probability) == pytest.approx(wanted.probabilities.max(), abs=1e-4)
    assert float(familiarity) == pytest.approx(wanted.familiarity[0], abs=1e-4)


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    variables = {**os.environ, **environment}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_python_in_five_lines(folder: Path) -> None:
    code = example("python")

    assert len([line for line in code.splitlines() if line]) == 5
    check(run(sys.executable, "-c", code, folder=folder), folder)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="no Node here")
def test_javascript(folder: Path) -> None:
    (folder / "package.json").write_text("{}")
    npm = shutil.which("npm") or ""
    run(npm, "install", "--ignore-scripts", "--no-audit", "onnxruntime-node", folder=folder)
    (folder / "read.js").write_text(example("javascript"))

    check(run("node", "read.js", folder=folder), folder)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
def test_cpp(folder: Path) -> None:
    openvino = Path(pytest.importorskip("openvino").__file__).parent
    (library,) = (openvino / "libs").glob("libopenvino.so.*")
    (folder / "read.cpp").write_text(example("cpp"))
    build = ("g++", "-std=c++17", "-O1", "-I", openvino / "include", "read.cpp", "-o", "read", library)
    run(*build, f"-Wl,-rpath,{library.parent}", folder=folder)

    check(run("./read", folder=folder, LD_LIBRARY_PATH=str(library.parent)), folder)
