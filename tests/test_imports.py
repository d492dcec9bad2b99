"""Commands import only the packages that they need."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "onnx", "onnxscript", "matplotlib")
COMMANDS = ("download", "data", "train", "eval", "predict", "export", "info")
ONNX_FILE = {"numpy", "onnxruntime", "onnx"}  # onnx checks a file that is not bundled
CHECKED = {*HEAVY, "numpy", "onnxruntime"}


def imported_by(*arguments: str | Path, checked: set[str] = CHECKED) -> set[str]:
    """Which of these modules a new process has imported after a command."""
    code = f"""
import sys
from mnistctl.cli import app
code = app.main(sys.argv[1:])
print("code", code, "imported", *(set(sys.modules) & {checked}), file=sys.stderr)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    words = answer.stderr.splitlines()[-1].split()
    assert words[:3] == ["code", "0", "imported"], answer.stderr
    return set(words[3:])


def test_importing_the_package_imports_no_heavy_package() -> None:
    code = "import sys, mnistctl; print(*[name for name in sys.modules if '.' not in name])"

    imported = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {*HEAVY, "numpy", "typer", "rich"} & set(imported)


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)])
def test_help_imports_neither_numpy_nor_a_heavier_package(command: tuple[str, ...]) -> None:
    assert not imported_by(*command, "--help")


def test_predict_on_an_onnx_file_does_not_import_torch(onnx_path: Path, picture: Path) -> None:
    assert imported_by("predict", picture, "--model", onnx_path) == ONNX_FILE


def test_predict_with_the_bundled_model_does_not_import_onnx(picture: Path) -> None:
    assert imported_by("predict", picture, "--model", "bundled") == {"numpy", "onnxruntime"}


def test_predict_numbers_with_the_bundled_models_imports_neither_torch_nor_onnx(picture: Path) -> None:
    models = ("--model", "bundled", "--numbers-model", "bundled-numbers")

    assert imported_by("predict", picture, "--numbers", *models) == {"numpy", "onnxruntime"}


def test_predict_on_one_picture_imports_neither_bars_nor_processes(picture: Path) -> None:
    """Each costs 10 ms or more."""
    unused = {"rich.progress", "rich.logging", "concurrent.futures.process", "PIL.ImageFont"}

    assert not imported_by("predict", picture, "--model", "bundled", checked=unused)


def test_eval_on_an_onnx_file_does_not_import_torch(onnx_path: Path) -> None:
    assert imported_by("eval", onnx_path) == ONNX_FILE


def test_info_on_an_onnx_file_does_not_import_torch(onnx_path: Path) -> None:
    assert imported_by("info", onnx_path) == ONNX_FILE


def test_info_on_a_checkpoint_does_not_import_torch(checkpoint_path: Path) -> None:
    assert imported_by("info", checkpoint_path) == {"numpy"}
