"""`doctor`: what it says of this machine, and what it finds amiss."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import mnistctl
from mnistctl.api import doctor
from tests.helpers import Cli


def found(cli: Cli, *arguments: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(cli("doctor", "--json", *arguments).out)
    return result


def test_it_says_what_a_bug_report_needs(cli: Cli) -> None:
    answer = cli("doctor")
    result = found(cli)

    assert answer.code == 0, answer.out
    assert result["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert result["versions"]["mnistctl"]
    assert result["threads"] == torch.get_num_threads()
    assert result["devices"][0]["name"] == "cpu"
    assert result["datasets"]["mnist"] == "not downloaded"
    assert result["datasets"]["digits"] == "verified"
    assert result["runs"] == 0
    assert result["problems"] == []
    for word in ("torch", "bf16", "digits", "nothing amiss"):
        assert word in answer.out


@pytest.mark.mnist
def test_data_that_is_there_is_verified(cli: Cli) -> None:
    assert found(cli)["datasets"]["mnist"] == "verified"


def test_damaged_data_is_amiss_and_has_a_way_out(cli: Cli) -> None:
    folder = Path("data/MNIST/raw")
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").write_bytes(b"nonsense")

    answer = cli("doctor", "--data-dir", "data")

    assert answer.code == 6
    assert "amiss: dataset 'mnist' is damaged\n  way out: mnistctl download mnist" in answer.out
    assert answer.err == "mnistctl: 1 amiss: dataset 'mnist' is damaged\n"


def test_too_many_threads_are_amiss(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 999)

    (problem,) = found(cli)["problems"]

    assert "torch uses 999 threads" in problem["what"]
    assert problem["way_out"].startswith("set OMP_NUM_THREADS=")


def test_a_package_that_is_missing_is_amiss(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(doctor, "_versions", lambda: {"mnistctl": "1", "rich": None})

    (problem,) = found(cli)["problems"]

    assert problem == {"what": "rich is not installed", "way_out": "pip install rich"}


def test_a_torch_that_does_not_import_is_amiss(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:

    def fail() -> None:
        raise ImportError("libcudart.so.99: cannot open shared object file")

    monkeypatch.setattr(doctor, "_devices", fail)

    result = found(cli)

    assert result["devices"] == []
    assert "torch does not import (libcudart" in result["problems"][0]["what"]


def test_a_driver_without_a_device_is_amiss(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:

    Path("version").touch()
    monkeypatch.setattr(doctor, "_NVIDIA_DRIVER", Path("version"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    (problem,) = found(cli)["problems"]

    assert "an NVIDIA driver is installed, but torch finds no CUDA device" in problem["what"]


def test_a_data_folder_that_cannot_be_written_is_amiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    (problem,) = mnistctl.doctor(data_dir=Path("somewhere")).problems

    assert problem.way_out.startswith("set MNISTCTL_DATA_DIR")
