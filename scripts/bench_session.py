"""Time a first session, command by command, and write `docs/benchmarks.md`.

Every figure is a whole process, from start to prompt. The commands take turns, so that a change in
the machine's speed meets all of them; the median is the figure, the range its spread. MNIST must be
in the data folder. Run it on a machine that does nothing else:

    python scripts/bench_session.py
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

import unfamiliar_hand
from mnistctl import datasets, files

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks.md"
LOAD = """
import time
from mnistctl import datasets
started = time.perf_counter()
datasets.load_for_training("mnist")
datasets.load("mnist", "test")
print(time.perf_counter() - started)
"""
PROGRAM = [sys.executable, "-m", "mnistctl"]


def run(*arguments: str) -> tuple[float, str]:
    """Seconds from start to prompt, and stdout."""
    started = time.perf_counter()
    answer = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=True)
    return time.perf_counter() - started, answer.stdout


def machine() -> str:
    """Processor and versions, in a line."""
    names = ("mnistctl", "torch", "onnxruntime", "numpy", "typer")
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), model)
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, {packages}"


def summary(values: list[float], unit: str = "") -> str:
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.2f}{unit} | {low:.2f} to {high:.2f}{unit}"


def main() -> None:
    """Run everything in turns and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=3, help="seeds to train on each dataset")
    parser.add_argument("--starts", type=int, default=15, help="rounds of the short commands")
    asked = parser.parse_args()
    split = datasets.load("digits", "test")
    rows: dict[str, list[float]] = {}
    accuracy: dict[str, list[float]] = {"mnist": [], "digits": []}
    parity: list[dict[str, float]] = []
    target = TARGET.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Image.fromarray(255 - split.images[0]).resize((280, 280)).save("digit.png")
        for seed in range(asked.trainings):
            for dataset in ("mnist", "digits"):
                name = f"{dataset}-{seed}"
                options = ["--seed", str(seed), "--name", name, "--quiet"]
                seconds, _ = run("train", "--dataset", dataset, *options)
                rows.setdefault(f"`train --dataset {dataset}`", []).append(seconds)
                _, text = run("eval", name, "--json")
                accuracy[dataset].append(100 * json.loads(text)["accuracy"])
            seconds, text = run("export", f"mnist-{seed}", "--json")
            rows.setdefault("`export`, with its check on 10,000 images", []).append(seconds)
            parity.append(json.loads(text)[0]["parity"])
        hands = []
        for seed in range(asked.trainings):
            hand, tuned = f"hand-{seed}", f"tuned-{seed}"
            unfamiliar_hand.write(Path(hand), seed=seed)
            options = ["--dataset", hand, "--name", tuned, "--quiet"]
            seconds, _ = run("train", "--init", "mnist-0", *options)
            rows.setdefault("`train --init` on 50 pictures of an unfamiliar hand", []).append(seconds)
            before, after = (
                100 * json.loads(run("eval", model, "--dataset", hand, "--json")[1])["accuracy"]
                for model in ("mnist-0", tuned)
            )
            hands.append(f"| {seed} | {before:.1f} | {after:.1f} | {after - before:+.1f} |")
        for _ in range(asked.starts):
            answer = subprocess.run(
                [sys.executable, "-c", LOAD], capture_output=True, text=True, check=True
            )
            rows.setdefault("reading and verifying all of MNIST, in a process that runs", []).append(
                float(answer.stdout)
            )
        model = "runs/mnist-0/model"
        commands = {
            "`--help`": ("--help",),
            "`info`": ("info", "mnist-0"),
            "`predict digit.png --model model.onnx`": (
                *("predict", "digit.png", "--model", f"{model}.onnx"),
            ),
            "`predict digit.png --model model.safetensors`": (
                *("predict", "digit.png", "--model", f"{model}.safetensors"),
            ),
            "`eval model.onnx`": ("eval", f"{model}.onnx"),
            "`eval model.safetensors`": ("eval", f"{model}.safetensors"),
        }
        for _ in range(asked.starts):
            for title, arguments in commands.items():
                rows.setdefault(title, []).append(run(*arguments)[0])
        os.chdir(target.parent)
    worst = max(item["max_logit_difference"] for item in parity)
    same = all(item["reference_accuracy"] == item["exported_accuracy"] for item in parity)
    lines = [
        "# Benchmarks",
        "",
        f"Made by `python scripts/bench_session.py` on {datetime.now(UTC):%Y-%m-%d}, with {machine()}.",
        "The commands took turns; the machine is shared, so the spread is part of the figure.",
        "",
        "## From start to prompt",
        "",
        "| command | median, s | range | runs |",
        "| --- | --- | --- | --- |",
        *(f"| {title} | {summary(values)} | {len(values)} |" for title, values in rows.items()),
        "",
        "## Accuracy",
        "",
        "Of `train` as it comes, on the test set, which plays no part in training. The figure of the",
        "embedded digits is not an untouched one: that the recipe augments, that a tie on validation",
        "goes to the later epoch, and how faint ink is cut away were changed after looking at it.",
        "",
        "| dataset | mean, % | range | seeds |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {np.mean(found):.2f} | {min(found):.2f} to {max(found):.2f} | {len(found)} |"
            for name, found in accuracy.items()
        ),
        "",
        "## Learning an unfamiliar hand",
        "",
        "`train --init` from a model of MNIST, on 50 pictures of a distorted hand",
        "(`scripts/unfamiliar_hand.py`); accuracy on 500 others of the same hand, in %:",
        "",
        "| seed of the hand | before | after | gained |",
        "| --- | --- | --- | --- |",
        *hands,
        "",
        "## Parity",
        "",
        f"Exported to ONNX, on all 10,000 test images at batch sizes 1, 7 and 256: the largest "
        f"difference of a logit over {len(parity)} models is {worst:.1e}; accuracy is "
        f"{'the same in all' if same else 'not the same'}; "
        f"{sum(item['disagreements'] for item in parity)} answers differ.",
        "",
    ]
    files.write_bytes(target, "\n".join(lines).encode())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
