"""Measure the bundled model in every format: `mnistctl benchmark`, and how long exports take.

Writes its section of `docs/benchmarks.md` and its chart. MNIST must be in the data folder, OpenVINO
be installed, and the machine do nothing else:

    python scripts/bench_formats.py
"""

import json
import tempfile
from pathlib import Path

import bench
from mnistctl.models import formats

CHART = Path(__file__).parents[1] / "docs" / "formats.png"


def main() -> None:
    """Measure all and write the section."""
    CHART.unlink(missing_ok=True)
    command = (*bench.MNISTCTL, "benchmark", "bundled", "--output", str(CHART), "--json", "--quiet")
    found = json.loads(bench.measure(command).stdout)
    lines = [
        "`mnistctl benchmark bundled`: each format in a process of its own, in turns; accuracy and "
        f"speed on MNIST's {found['images']:,} test images; {found['formats'][0]['threads']} threads.",
        "",
        "| format | bytes | accuracy | one image, ms: median | 99th of 100 | images/s by 256 "
        "| load, s | peak, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in found["formats"]:
        lines.append(
            f"| {row['format']} | {row['bytes']:,} | {100 * row['accuracy']:.2f}% "
            f"| {row['latency_ms']:.3f} | {row['latency_p99_ms']:.3f} "
            f"| {row['images_per_second']:,.0f} | {row['load_seconds']:.2f} | {row['peak_mb']:.0f} |"
        )
    by_name = {row["format"]: row for row in found["formats"]}
    exact, eighth, torch = (by_name[name] for name in ("onnx", "onnx-int8", "safetensors"))
    rivals = (by_name[name]["images_per_second"] for name in ("onnx", "openvino", "safetensors"))
    alone = torch["latency_ms"] / exact["latency_ms"]
    together = exact["images_per_second"] / max(rivals)
    size = eighth["bytes"] / exact["bytes"]
    speed = eighth["images_per_second"] / exact["images_per_second"]
    lines += [
        "",
        f"ONNX reads one image {alone:.1f} times as fast as PyTorch, and in batches {together:.2f} "
        "times as fast as the best of onnxruntime, OpenVINO and PyTorch. int8 has "
        f"{100 * size:.1f}% of its bytes and {speed:.2f} times its speed in batches.",
        "",
        "![latency, speed and size of each format](formats.png)",
        "",
        "| `mnistctl export bundled --format` | with its checks, s |",
        "| --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in formats.FORMATS:
            export = (*bench.MNISTCTL, "export", "bundled", "--format", name, "--quiet")
            done = bench.measure((*export, "--output", str(Path(folder) / name)))
            lines.append(f"| {name} | {done.seconds:.1f} |")
    bench.write_section("bench_formats", "Formats", lines)


if __name__ == "__main__":
    main()
