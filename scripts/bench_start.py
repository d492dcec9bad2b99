"""Measure time and memory of short commands, and compare them with `import torch` alone.

Writes a section of `docs/reference/benchmarks.md`. MNIST must be in the data folder and the machine
idle:

    python scripts/bench_start.py [--rounds 15]
"""

import argparse
import contextlib
import statistics
import sys
import tempfile

from PIL import Image

import bench
from mnistctl import datasets

LOAD = """
import time
from mnistctl import datasets
started = time.perf_counter()
datasets.load_for_training("mnist")
datasets.load("mnist", "test")
print(time.perf_counter() - started)
"""
LOAD_TITLE = "load MNIST"


def commands(safetensors: str, onnx: str) -> dict[str, tuple[str, ...]]:
    """Title -> command; the titles are the rows of the table."""
    predict = (*bench.MNISTCTL, "predict", "digit.png", "--model")
    train = (*bench.MNISTCTL, "train", "--dataset", "digits", "--epochs", "0.01", "--no-plots")
    return {
        "`python -c 'import torch'`": (sys.executable, "-c", "import torch"),
        "`--help`": (*bench.MNISTCTL, "--help"),
        "`info`": (*bench.MNISTCTL, "info", safetensors),
        "`predict digit.png`, ONNX": (*predict, onnx),
        "`predict digit.png`, safetensors": (*predict, safetensors),
        "`eval`, ONNX": (*bench.MNISTCTL, "eval", onnx),
        "`eval --no-plots`, safetensors": (*bench.MNISTCTL, "eval", safetensors, "--no-plots"),
        "`eval`, safetensors": (*bench.MNISTCTL, "eval", safetensors),
        "`train`, one step": train,
        LOAD_TITLE: (sys.executable, "-c", LOAD),
    }


def main() -> None:
    """Run all commands in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    digit = datasets.load("digits", "test").images[0]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Image.fromarray(255 - digit).resize((280, 280)).save("digit.png")
        bench.measure([*bench.MNISTCTL, "train", "--name", "model", "--epochs", "0.5", "--no-plots"])
        bench.measure([*bench.MNISTCTL, "export", "model"])
        results = bench.measure_in_turns(
            commands("runs/model/model.safetensors", "runs/model/model.onnx"), rounds=arguments.rounds
        )
    loads = [float(run.stdout) for run in results.pop(LOAD_TITLE)]
    bench.write_section(
        "bench_start",
        "Start-up time",
        [
            "Each row is a whole process, from start to exit.",
            "",
            *bench.process_table(results),
            "",
            "Reading and verifying all of MNIST in a running process takes "
            f"{statistics.median(loads):.2f} s (range {min(loads):.2f} to {max(loads):.2f} s).",
            "",
            f"{arguments.rounds} rounds.",
        ],
    )


if __name__ == "__main__":
    main()
