"""What a command does not need, it does not load."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "onnx", "onnxscript", "matplotlib")
VERBS = ("download", "data", "train", "eval", "predict", "export", "info")
FROM_ELSEWHERE = {"numpy", "onnxruntime", "onnx"}  # the last one checks such files
WATCHED = {*HEAVY, "numpy", "onnxruntime"}


def loaded_by(*arguments: str | Path) -> set[str]:
    """The heavy packages in a fresh process after it ran a command."""
    code = f"""
import sys
from mnistctl.cli import app
code = app.main(sys.argv[1:])
print("code", code, "loaded", *(set(sys.modules) & {WATCHED}), file=sys.stderr)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    words = answer.stderr.splitlines()[-1].split()
    assert words[:3] == ["code", "0", "loaded"], answer.stderr
    return set(words[3:])


def test_importing_the_package_loads_nothing_but_itself() -> None:
    code = "import sys, mnistctl; print(*[name for name in sys.modules if '.' not in name])"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {*HEAVY, "numpy", "typer", "rich"} & set(loaded)


@pytest.mark.parametrize("command", [(), *((verb,) for verb in VERBS)])
def test_help_loads_neither_numpy_nor_anything_heavier(command: tuple[str, ...]) -> None:
    assert not loaded_by(*command, "--help")


def test_predict_on_an_onnx_file_does_without_torch(onnx_path: Path, picture: Path) -> None:
    assert loaded_by("predict", picture, "--model", onnx_path) == FROM_ELSEWHERE


def test_predict_with_the_bundled_model_loads_no_checker_either(picture: Path) -> None:
    assert loaded_by("predict", picture, "--model", "bundled") == {"numpy", "onnxruntime"}


def test_eval_on_an_onnx_file_does_without_torch(onnx_path: Path) -> None:
    assert loaded_by("eval", onnx_path) == FROM_ELSEWHERE


def test_info_on_an_onnx_file_does_without_torch(onnx_path: Path) -> None:
    assert loaded_by("info", onnx_path) == FROM_ELSEWHERE


def test_info_on_a_checkpoint_does_without_torch(checkpoint_path: Path) -> None:
    assert loaded_by("info", checkpoint_path) == {"numpy"}
