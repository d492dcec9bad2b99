"""`doctor`: the report on this installation, and the problems it finds."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import mnistctl
from mnistctl.api import doctor
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
    assert "problem: dataset 'mnist' is damaged\n  fix: mnistctl download mnist --data-dir data\n" in answer.out
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
