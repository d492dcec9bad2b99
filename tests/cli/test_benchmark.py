"""`benchmark`: one model in every format."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mnistctl.api import export
from mnistctl.models import formats
from tests.helpers import Cli

FORMATS = "safetensors,onnx,torch"
METRICS = (
    *("bytes", "accuracy", "latency_ms", "latency_p99_ms", "images_per_second", "load_seconds"),
    *("peak_mb", "threads"),
)


@pytest.mark.slow
def test_benchmark_measures_every_named_format(cli: Cli, checkpoint_path: Path) -> None:
    answer = cli(
        "benchmark", checkpoint_path, "--format", FORMATS, "--output", "plot.png", "--json", "-q"
    )

    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert [row["format"] for row in result["formats"]] == FORMATS.split(",")
    for row in result["formats"]:
        assert row["status"] == "done", row
        assert all(row[name] > 0 for name in METRICS), row
        assert row["latency_ms"] <= row["latency_p99_ms"]
    assert len({row["accuracy"] for row in result["formats"]}) == 1
    assert result["images"] == 297
    assert result["plots"] == ["plot.png"]
    with Image.open("plot.png") as plot:
        assert min(plot.size) > 200


def test_benchmark_measures_only_the_format_of_an_exported_file(cli: Cli, onnx_path: Path) -> None:
    answer = cli("benchmark", onnx_path, "-q")

    assert answer.code == 0, answer.err
    rows = [line.split() for line in answer.out.splitlines()]
    assert [row[:2] for row in rows if row and row[0] in formats.FORMATS] == [["onnx", "done"]]


def test_benchmark_reports_a_failed_format_and_exits_with_6(
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


def test_benchmark_rejects_an_unknown_format(cli: Cli, checkpoint_path: Path) -> None:
    answer = cli("benchmark", checkpoint_path, "--format", "triton")

    assert answer.code == 2
    assert "unknown format 'triton'" in answer.err


def test_benchmark_rejects_a_format_option_for_an_exported_file(cli: Cli, onnx_path: Path) -> None:
    answer = cli("benchmark", onnx_path, "--format", "onnx-int8")

    assert answer.code == 2
    assert "is an exported file; name the checkpoint it was exported from" in answer.err


def test_benchmark_fails_if_the_package_for_a_named_format_is_missing(
    cli: Cli, checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnistctl.errors import MissingExtraError

    def missing(*_: object, **__: object) -> None:
        raise MissingExtraError("OpenVINO is not installed")

    monkeypatch.setattr(export, "write_checked", missing)

    answer = cli("benchmark", checkpoint_path, "--format", "openvino")

    assert (answer.code, answer.err.splitlines()[-1]) == (5, "mnistctl: OpenVINO is not installed")
