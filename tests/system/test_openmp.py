"""Idle threads of OpenMP spin for a short time only, unless the user decides otherwise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from mnistctl.system import openmp
from tests.helpers import Cli, load_script

busy_process = load_script("bench_under_load").busy_process

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
    assert loaded == [f"torch with {openmp.SPIN_COUNT}"]


@pytest.mark.parametrize("name", VARIABLES)
def test_the_users_own_variables_are_left_alone(name: str) -> None:
    code = f"import mnistctl, os; print([os.environ.get(name) for name in {VARIABLES}])"

    out = run_python(code, **{name: "5"}).stdout

    assert out.strip() == str(["5" if variable == name else None for variable in VARIABLES])


def test_spinning_is_not_limited_when_torch_is_loaded_already() -> None:
    out = run_python("import torch, mnistctl; print(mnistctl.doctor().idle_threads)").stdout

    assert out.strip() == "IdleThreads(setting=None, from_user=False, in_force=False)"


@pytest.mark.skipif(sys.platform != "linux", reason="the load of the machine is read on Linux only")
def test_cores_that_other_programs_use_are_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = os.cpu_count() or 1

    with busy_process():
        free = openmp.LoadMeter().free_threads(cores)

    assert 1 <= free <= max(1, cores - 1)


@pytest.mark.parametrize("busy", [0.0, 0.3, 0.5, 1.3, 1.5, 9.0])
def test_a_small_load_is_ignored(busy: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(openmp, "_busy_seconds", lambda: 0.0)
    monkeypatch.setattr(openmp._Times, "cores_used_by_others", lambda _: busy)

    free = openmp.LoadMeter().free_threads(4)

    assert free == {0.0: 4, 0.3: 4, 0.5: 3, 1.3: 3, 1.5: 2, 9.0: 1}[busy]


def test_the_users_number_of_threads_is_kept_beside_other_programs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    with busy_process():
        assert openmp.LoadMeter().free_threads(2) == 2


def test_a_system_that_does_not_tell_its_load_counts_as_quiet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(openmp, "_CPU_TIMES", tmp_path / "missing")

    with busy_process():
        assert openmp.LoadMeter().free_threads(2) == 2


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a single core")
def test_a_run_resumes_with_the_threads_that_it_was_started_with(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(openmp.LoadMeter, "free_threads", lambda _, threads: 1)
    options = ("--dataset", "digits", "--arch", "linear", "--device", "cpu", "--no-plots", "--json")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = cli("train", "--epochs", "1", "--name", "busy", *options)
        monkeypatch.setattr(openmp.LoadMeter, "free_threads", lambda _, threads: threads)
        resumed = cli("train", "--epochs", "2", "--resume", "busy", "--no-plots", "--json")

        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert "training uses 1 of 2 threads" in first.err
    assert json.loads(first.out)["threads"] == json.loads(resumed.out)["threads"] == 1
    assert "bit for bit" not in resumed.err


def test_doctor_reports_whose_setting_is_in_force() -> None:
    code = "from mnistctl.cli import app; app.main(['doctor', '--json'])"

    own = json.loads(run_python(code).stdout)["idle_threads"]
    users = json.loads(run_python(code, GOMP_SPINCOUNT="7").stdout)["idle_threads"]

    assert own["setting"] == f"GOMP_SPINCOUNT={openmp.SPIN_COUNT}"
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
