"""Measure the bundled model in every format with `mnistctl benchmark`, and time each export.

Writes a section of `docs/reference/benchmarks.md` and the plot `docs/reference/formats.png`. MNIST
must be in the data folder, OpenVINO must be installed, and the machine must be idle:

    python scripts/bench_formats.py
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import bench
from mnistctl.models import formats

PLOT = Path(__file__).parents[1] / "docs" / "reference" / "formats.png"


def format_table(rows: list[dict[str, Any]]) -> list[str]:
    """A Markdown table with a row per format."""
    return [
        "| format | bytes | accuracy | one image, ms (median) | 99th percentile "
        "| images/s, batches of 256 | load, s | peak memory, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {row['format']} | {row['bytes']:,} | {100 * row['accuracy']:.2f}% "
            f"| {row['latency_ms']:.3f} | {row['latency_p99_ms']:.3f} "
            f"| {row['images_per_second']:,.0f} | {row['load_seconds']:.2f} | {row['peak_mb']:.0f} |"
            for row in rows
        ),
    ]


def comparison(rows: list[dict[str, Any]]) -> str:
    """ONNX against PyTorch and OpenVINO, and int8 against ONNX, in two sentences."""
    by_name = {row["format"]: row for row in rows}
    onnx, int8, torch = (by_name[name] for name in ("onnx", "onnx-int8", "safetensors"))
    fastest = max(by_name[name]["images_per_second"] for name in ("onnx", "openvino", "safetensors"))
    single = torch["latency_ms"] / onnx["latency_ms"]
    batched = onnx["images_per_second"] / fastest
    size = int8["bytes"] / onnx["bytes"]
    speed = int8["images_per_second"] / onnx["images_per_second"]
    return (
        f"ONNX classifies a single image {single:.1f} times as fast as PyTorch, and batches "
        f"{batched:.2f} times as fast as the fastest of onnxruntime, OpenVINO and PyTorch. int8 has "
        f"{100 * size:.1f}% of the bytes of ONNX, and {speed:.2f} times its speed in batches."
    )


def export_table() -> list[str]:
    """A Markdown table with the time of each export."""
    lines = ["| `mnistctl export bundled --format` | with parity check, s |", "| --- | --- |"]
    with tempfile.TemporaryDirectory() as folder:
        for name in formats.FORMATS:
            export = (*bench.MNISTCTL, "export", "bundled", "--format", name, "--quiet")
            process = bench.measure((*export, "--output", str(Path(folder) / name)))
            lines.append(f"| {name} | {process.seconds:.1f} |")
    return lines


def main() -> None:
    """Measure all formats and write the section."""
    PLOT.unlink(missing_ok=True)
    command = (*bench.MNISTCTL, "benchmark", "bundled", "--output", str(PLOT), "--json", "--quiet")
    result = json.loads(bench.measure(command).stdout)
    rows = result["formats"]
    bench.write_section(
        "bench_formats",
        "Formats",
        [
            "`mnistctl benchmark bundled`: each format runs in its own process, and the formats take "
            f"turns. Accuracy and speed on MNIST's {result['images']:,} test images, with "
            f"{rows[0]['threads']} threads.",
            "",
            *format_table(rows),
            "",
            comparison(rows),
            "",
            "![latency, speed and size of each format](formats.png)",
            "",
            *export_table(),
        ],
    )


if __name__ == "__main__":
    main()
