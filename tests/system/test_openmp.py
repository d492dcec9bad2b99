"""Idle threads of OpenMP spin for a short time only, unless the user decides otherwise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from mnistctl.system import openmp

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")

# Reports the setting at the moment when torch is loaded.
WATCH = """
import importlib.abc, os, sys

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            print("torch with", os.environ.get("GOMP_SPINCOUNT"), file=sys.stderr)

sys.meta_path.insert(0, Watch())
"""


def environment(**variables: str) -> dict[str, str]:
    """The variables of this process without those that control spinning, and with these."""
    others = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return others | {"OMP_NUM_THREADS": "2"} | variables


def run_python(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize(
    "code",
    [
        "from mnistctl.cli import app; app.main(['doctor'])",
        "import mnistctl.nn.trainer",
        "import mnistctl.exports",
        "import mnistctl; mnistctl.doctor()",
    ],
)
def test_spinning_is_limited_before_torch_is_loaded(code: str) -> None:
    err = run_python(WATCH + code).stderr

    loaded = [line for line in err.splitlines() if line.startswith("torch with")]
    assert loaded in (["torch with 0"], ["torch with 1000"])


@pytest.mark.parametrize("name", VARIABLES)
def test_the_users_own_variables_are_left_alone(name: str) -> None:
    code = f"import mnistctl, os; print([os.environ.get(name) for name in {VARIABLES}])"

    out = run_python(code, **{name: "5"}).stdout

    assert out.strip() == str(["5" if variable == name else None for variable in VARIABLES])


def test_spinning_is_not_limited_when_torch_is_loaded_already() -> None:
    out = run_python("import torch, mnistctl; print(mnistctl.doctor().idle_threads)").stdout

    assert out.strip() == "IdleThreads(setting=None, from_user=False, in_force=False)"


@pytest.mark.parametrize(
    ("load", "is_busy"),
    [
        ("0.1 0.1 0.1 1/90 7\n", False),
        ("0.1 0.1 0.1 3/90 7\n", True),
        ("nonsense", False),
        (None, False),
    ],
    ids=["quiet", "busy", "nonsense", "not Linux"],
)
def test_a_machine_is_busy_if_other_processes_compute(
    load: str | None, is_busy: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "loadavg"
    if load is not None:
        path.write_text(load)
    monkeypatch.setattr(openmp, "_LOAD", path)
    monkeypatch.setattr(openmp, "_own_setting", None)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # restored after the test
    monkeypatch.delenv("GOMP_SPINCOUNT")

    openmp.limit_spinning()

    assert os.environ["GOMP_SPINCOUNT"] == ("0" if is_busy else "1000")
    assert openmp.user_setting() is None
    assert openmp.own_setting() == f"GOMP_SPINCOUNT={os.environ['GOMP_SPINCOUNT']}"


def test_doctor_reports_whose_setting_is_in_force() -> None:
    code = "from mnistctl.cli import app; app.main(['doctor', '--json'])"

    own = json.loads(run_python(code).stdout)["idle_threads"]
    users = json.loads(run_python(code, GOMP_SPINCOUNT="7").stdout)["idle_threads"]

    assert own["setting"] in ("GOMP_SPINCOUNT=0", "GOMP_SPINCOUNT=1000")
    assert not own["from_user"]
    assert users == {"setting": "GOMP_SPINCOUNT=7", "from_user": True, "in_force": own["in_force"]}
    assert own["in_force"] or sys.platform != "linux"


def test_spinning_does_not_change_the_weights() -> None:
    options = [
        "train",
        "--dataset",
        "digits",
        "--device",
        "cpu",
        "--arch",
        "mlp",
        "--epochs",
        "1",
        "--no-plots",
        "-q",
        "--name",
    ]
    code = "import sys; from mnistctl.cli import app; sys.exit(app.main(sys.argv[1:]))"
    for name, count in (("spinning", "2000"), ("passive", "0")):
        run_python(code, *options, "--no-plots", "--name", name, GOMP_SPINCOUNT=count)

    spinning, passive = (load_file(f"runs/{name}/last.safetensors") for name in ("spinning", "passive"))
    for name, array in spinning.items():
        np.testing.assert_array_equal(array, passive[name], err_msg=name)
