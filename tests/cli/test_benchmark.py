"""`benchmark`: a model in every format."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mnistctl.api import benchmark
from mnistctl.models import formats
from tests.helpers import Cli

FEW = "safetensors,onnx,torch"
FIGURES = (
    *("bytes", "accuracy", "latency_ms", "latency_p99_ms", "images_per_second", "load_seconds"),
    *("peak_mb", "threads"),
)


@pytest.mark.slow
def test_formats_are_measured_side_by_side(cli: Cli, checkpoint_path: Path) -> None:
    answer = cli("benchmark", checkpoint_path, "--format", FEW, "--chart", "c.png", "--json", "-q")

    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [row["format"] for row in found["formats"]] == FEW.split(",")
    for row in found["formats"]:
        assert row["status"] == "done", row
        assert all(row[name] > 0 for name in FIGURES), row
        assert row["latency_ms"] <= row["latency_p99_ms"]
    assert len({row["accuracy"] for row in found["formats"]}) == 1
    assert found["images"] == 297
    with Image.open("c.png") as chart:
        assert min(chart.size) > 200


def test_an_exported_file_is_measured_alone(cli: Cli, onnx_path: Path) -> None:
    answer = cli("benchmark", onnx_path, "-q")

    assert answer.code == 0, answer.err
    rows = [line.split() for line in answer.out.splitlines()]
    assert [row[:2] for row in rows if row and row[0] in formats.FORMATS] == [["onnx", "done"]]


def test_a_failure_is_shown_as_one_and_the_exit_code_tells(
    cli: Cli, checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnistctl.exports import parity

    monkeypatch.setattr(parity, "RELATIVE_TOLERANCE", 0.0)  # not even rounding is allowed

    answer = cli("benchmark", checkpoint_path, "--format", "safetensors,onnx", "--json", "-q")

    rows = {row["format"]: row for row in json.loads(answer.out)["formats"]}
    assert answer.code == 6
    assert "failed: onnx" in answer.err
    assert rows["safetensors"]["status"] == "done"
    assert rows["onnx"]["status"] == "failed"
    assert "not written" in rows["onnx"]["reason"]


def test_an_unknown_format_is_said_at_once(cli: Cli, checkpoint_path: Path) -> None:
    answer = cli("benchmark", checkpoint_path, "--format", "triton")

    assert answer.code == 2
    assert "unknown format 'triton'" in answer.err


def test_formats_of_an_exported_file_are_not_chosen(cli: Cli, onnx_path: Path) -> None:
    answer = cli("benchmark", onnx_path, "--format", "onnx-int8")

    assert answer.code == 2
    assert "is an exported file; name the checkpoint it was exported from" in answer.err


def test_a_format_that_was_named_and_is_not_installed_is_an_error(
    cli: Cli, checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnistctl.errors import MissingExtraError

    def missing(*_: object, **__: object) -> None:
        raise MissingExtraError("OpenVINO is not installed")

    monkeypatch.setattr(benchmark, "export", missing)

    answer = cli("benchmark", checkpoint_path, "--format", "openvino")

    assert (answer.code, answer.err.splitlines()[-1]) == (5, "mnistctl: OpenVINO is not installed")
