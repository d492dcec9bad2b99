"""`doctor`: the report on this installation, and the problems it finds."""

import importlib.metadata
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import mnistctl
from mnistctl.api import doctor, self_test
from mnistctl.errors import CheckFailedError
from mnistctl.run.epoch import Epoch
from tests.helpers import Cli


def diagnose(cli: Cli, *arguments: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(cli("doctor", "--json", *arguments).out)
    return result


def test_doctor_reports_versions_devices_data_and_runs(cli: Cli) -> None:
    answer = cli("doctor")
    result = diagnose(cli)

    assert answer.code == 0, answer.out
    assert result["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert result["versions"]["mnistctl"]
    assert result["threads"] == torch.get_num_threads()
    assert result["devices"][0]["name"] == "cpu"
    assert result["datasets"]["mnist"] == "not downloaded"
    assert result["datasets"]["digits"] == "verified"
    assert result["runs"] == 0
    assert result["problems"] == []
    for word in ("torch", "bf16", "digits", "no problems found"):
        assert word in answer.out


def test_doctor_names_the_installed_packages_of_the_extras(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["rich>=13.9", 'pypdfium2>=5; extra == "pdf"', "not-installed[all]>=1; extra == 'tune'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: lines)

    result, answer = diagnose(cli), cli("doctor")

    version = importlib.metadata.version("pypdfium2")
    assert set(result["versions"]) == {"mnistctl", "rich"}
    assert result["extras"] == [{"extra": "pdf", "package": "pypdfium2", "version": version}]
    assert re.search(rf"^pdf +pypdfium2 +{re.escape(version)}$", answer.out, flags=re.MULTILINE)
    assert result["problems"] == []


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56", "550.54.15"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86  Release Build", "570.86"),
        ("GCC", "unknown"),
        (None, None),
    ],
)
def test_doctor_names_the_versions_of_cuda_and_the_driver(
    text: str | None, version: str | None, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_NVIDIA_DRIVER", Path("version"))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    if text is not None:
        Path("version").write_text(text)

    result, answer = diagnose(cli), cli("doctor")

    assert (result["cuda"], result["nvidia_driver"]) == ("13.0", version)
    assert f"torch built for CUDA 13.0, NVIDIA driver: {version or 'none'}" in answer.out


@pytest.mark.mnist
def test_doctor_verifies_downloaded_data(cli: Cli) -> None:
    assert diagnose(cli)["datasets"]["mnist"] == "verified"


def test_doctor_reports_damaged_data_with_a_fix(cli: Cli) -> None:
    folder = Path("data/MNIST/raw")
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").write_bytes(b"nonsense")

    answer = cli("doctor", "--data-dir", "data")

    assert answer.code == 6
    assert (
        "problem: dataset 'mnist' is damaged\n  fix: mnistctl download mnist --data-dir data\n"
        in answer.out
    )
    assert answer.err == "mnistctl: 1 problem: dataset 'mnist' is damaged\n"


def test_doctor_reports_too_many_threads(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 999)

    (problem,) = diagnose(cli)["problems"]

    assert "torch uses 999 threads" in problem["problem"]
    assert problem["fix"].startswith("set OMP_NUM_THREADS=")


def test_doctor_reports_a_missing_package(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_versions", lambda: {"mnistctl": "1", "rich": None})

    (problem,) = diagnose(cli)["problems"]

    assert problem == {"problem": "rich is not installed", "fix": "pip install rich"}


def test_doctor_reports_that_torch_cannot_be_imported(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ImportError("libcudart.so.99: cannot open shared object file")

    monkeypatch.setattr(doctor, "_devices", fail)

    result = diagnose(cli)

    assert result["devices"] == []
    assert "torch does not import (libcudart" in result["problems"][0]["problem"]


def test_doctor_reports_a_driver_without_a_device(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("version").touch()
    monkeypatch.setattr(doctor, "_NVIDIA_DRIVER", Path("version"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    (problem,) = diagnose(cli)["problems"]

    assert "an NVIDIA driver is installed, but torch finds no CUDA device" in problem["problem"]


def test_doctor_reports_a_data_folder_that_is_not_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    (problem,) = mnistctl.doctor(data_dir=Path("somewhere")).problems

    assert problem.fix.startswith("set MNISTCTL_DATA_DIR")


def test_the_self_test_trains_on_the_cpu_and_checks_an_export(cli: Cli, tmp_path: Path) -> None:
    answer = cli("doctor", "--self-test")

    assert answer.code == 0, answer.out
    (row,) = (line.split() for line in answer.out.splitlines() if line.startswith("cpu        float32"))
    assert row[-1] == "works"
    assert " agrees " in answer.out
    assert "epoch" not in answer.err  # the training itself shows nothing
    assert not list(tmp_path.rglob("*.safetensors"))


class FakeTraining:
    """Takes the place of the training of a self-test: the losses by precision, or an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, results: dict[str, float | Exception]) -> None:
        self.results = results
        monkeypatch.setattr(self_test, "_train", self.train)
        monkeypatch.setattr(self_test, "_variants", lambda device: [(name, False) for name in results])
        monkeypatch.setattr("mnistctl.api.export.export", lambda path: [])

    def train(self, run: object, device: object, precision: str, cuda_graph: bool) -> Epoch:
        result = self.results[precision]
        if isinstance(result, Exception):
            raise result
        return Epoch(
            epoch=1,
            steps=self_test.STEPS,
            train_loss=result,
            train_accuracy=0.5,
            validation_loss=result,
            validation_accuracy=0.5,
            learning_rate=0.01,
            train_seconds=1.0,
            finished=False,
        )


@pytest.mark.parametrize(
    ("results", "problems"),
    [
        ({"float32": 1.0, "bf16": 1.1}, [None, None]),
        ({"float32": 1.0, "bf16": 1.2}, [None, "the loss differs from the CPU's by 0.2 nats"]),
        ({"float32": 1.0, "bf16": float("nan")}, [None, "the loss differs from the CPU's by nan"]),
        ({"float32": 2.4, "bf16": 2.4}, ["the net does not learn", None]),
        ({"float32": RuntimeError("no kernel"), "bf16": 1.0}, ["RuntimeError: no kernel", None]),
    ],
    ids=["works", "differs", "not a number", "learns nothing", "raises"],
)
def test_the_self_test_says_what_does_not_work(
    results: dict[str, float | Exception], problems: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeTraining(monkeypatch, results)

    diagnosis = mnistctl.doctor(self_test=True)

    for test, problem in zip(diagnosis.self_test, problems, strict=True):
        assert (test.problem or "").startswith(problem or ""), test
        assert (test.problem is None) == (problem is None)
    assert len(diagnosis.problems) == len([problem for problem in problems if problem])


def test_a_failed_self_test_has_exit_code_6(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeTraining(monkeypatch, {"float32": 1.0})

    def fail(path: Path) -> None:
        raise CheckFailedError("the export differs")

    monkeypatch.setattr("mnistctl.api.export.export", fail)

    answer = cli("doctor", "--self-test")

    assert answer.code == 6
    assert "problem: self-test on cpu, float32: the export differs" in answer.out
    assert "failed" in answer.out
    assert "1 problem: self-test on cpu" in answer.err
