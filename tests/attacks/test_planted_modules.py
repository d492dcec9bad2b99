"""Files in the working folder are never run in place of installed modules."""

import json
import sys
from pathlib import Path

import pytest

from tests.attacks.attack import attack

LIST_MODULES = """
import atexit, json, sys
def write():
    names = {name.partition(".")[0] for name in sys.modules}
    open("modules.json", "w").write(json.dumps(sorted(names)))
atexit.register(write)
sys.path = [path for path in sys.path if path]
from mnistctl.cli.app import main
main(sys.argv[1:])
"""
INT8 = ("export", "model.safetensors", "--format", "onnx-int8,onnx-fp16", "-o", "exported", "--force")
BENCHMARK = ("benchmark", "model.safetensors", "--format", "safetensors,onnx", "-o", "plot.png")
TRAIN = ("train", "--dataset", "digits", "--arch", "linear", "--epochs", "1", "--device", "cpu")
PREDICT = ("predict", "three.png", "three.png", "--model", "model.safetensors", "--jobs", "2")


@pytest.fixture
def planted(tmp_path: Path, checkpoint_path: Path, picture: Path) -> Path:
    """A folder with a module of each name that an export imports; all of them leave a trace."""
    (tmp_path / "model.safetensors").write_bytes(checkpoint_path.read_bytes())
    code = (sys.executable, "-c", LIST_MODULES)
    assert attack(*INT8, folder=tmp_path, command=code, cpu_s=60).code == 0
    names = json.loads((tmp_path / "modules.json").read_text())
    assert {"torch", "numpy", "onnxruntime"} <= set(names)
    for name in {
        *names,
        "multiprocessing",
        "concurrent",
        "pickle",
        "selectors",
        "signal",
        "matplotlib",
    }:
        if name.isidentifier() and name != "__main__":
            (tmp_path / f"{name}.py").write_text(
                "open('executed', 'a').write(__name__)\nraise SystemExit(9)\n"
            )
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [INT8, BENCHMARK, TRAIN, PREDICT], ids=lambda arguments: arguments[0]
)
def test_no_planted_module_is_executed(arguments: tuple[str, ...], planted: Path) -> None:
    outcome = attack(*arguments, folder=planted, cpu_s=90)

    assert not (planted / "executed").exists(), (planted / "executed").read_text()
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("name", ["torch", "numpy", "rich", "typer"])
def test_python_dash_m_runs_no_module_of_the_working_folder(name: str, tmp_path: Path) -> None:
    """Python itself imports a few modules (`warnings`) before the program starts; `-P` avoids that."""
    (tmp_path / f"{name}.py").write_text("raise SystemExit(9)\n")

    command = (sys.executable, "-m", "mnistctl")
    outcome = attack("eval", "no-model", folder=tmp_path, command=command)

    outcome.check_failed(4, "no-model")
