"""Time the short commands from start to prompt, and their memory, against bare `import torch`.

Writes its section of `docs/benchmarks.md`. MNIST must be in the data folder, and the machine must do
nothing else:

    python scripts/bench_start.py [--rounds 15]
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

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


def main() -> None:
    """Run all in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    digit = datasets.load("digits", "test").images[0]
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Image.fromarray(255 - digit).resize((280, 280)).save("digit.png")
        bench.measure([*bench.MNISTCTL, "train", "--name", "model", "--epochs", "0.5", "--no-plots"])
        bench.measure([*bench.MNISTCTL, "export", "model"])
        safetensors, onnx = "runs/model/model.safetensors", "runs/model/model.onnx"
        short = ("train", "--dataset", "digits", "--epochs", "0.01", "--no-plots")
        commands: dict[str, tuple[str, ...]] = {
            "`python -c 'import torch'`": (sys.executable, "-c", "import torch"),
            "`--help`": (*bench.MNISTCTL, "--help"),
            "`info`": (*bench.MNISTCTL, "info", safetensors),
            "`predict digit.png`, ONNX": (*(*bench.MNISTCTL, "predict", "digit.png", "--model", onnx),),
            "`predict digit.png`, safetensors": (
                *(*bench.MNISTCTL, "predict", "digit.png", "--model", safetensors),
            ),
            "`eval`, ONNX": (*bench.MNISTCTL, "eval", onnx),
            "`eval`, safetensors, without pictures": (
                *(*bench.MNISTCTL, "eval", safetensors, "--no-plots"),
            ),
            "`eval`, safetensors": (*bench.MNISTCTL, "eval", safetensors),
            "`train`, one step": (*bench.MNISTCTL, *short),
        }
        found: dict[str, list[bench.Measured]] = {title: [] for title in commands}
        loads = []
        for _ in range(asked.rounds):
            for title, command in commands.items():
                found[title].append(bench.measure(command))
            loads.append(float(bench.measure([sys.executable, "-c", LOAD]).stdout))
        os.chdir(here)
    rows = [
        f"| {title} | {bench.spread([run.seconds for run in runs])} "
        f"| {max(run.peak_mb for run in runs):.0f} |"
        for title, runs in found.items()
    ]
    bench.write_section(
        "bench_start",
        "From start to prompt",
        [
            "Whole processes.",
            "",
            "| command | median, s | range | peak memory, MB |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "Reading and verifying all of MNIST, in a process that runs: "
            f"{bench.spread(loads).replace(' | ', ' s median, ')} s.",
            "",
            f"{asked.rounds} rounds.",
        ],
    )


if __name__ == "__main__":
    main()
