"""Time a first session, command by command, with what it comes to.

Every figure is a whole process, from start to prompt. Writes its section of `docs/benchmarks.md`. MNIST
must be in the data folder, and the machine must do nothing else:

    python scripts/bench_session.py [--trainings 3]
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import bench
import unfamiliar_hand


def run(*arguments: str) -> tuple[float, Any]:
    """Seconds from start to prompt of a command of mnistctl, and its result."""
    done = bench.measure([*bench.MNISTCTL, *arguments, "--json", "--quiet"])
    return done.seconds, json.loads(done.stdout)


def main() -> None:
    """Run everything in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=3, help="seeds to train on each dataset")
    asked = parser.parse_args()
    rows: dict[str, list[float]] = {}
    accuracy: dict[str, list[float]] = {"mnist": [], "digits": []}
    parity: list[dict[str, float]] = []
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for seed in range(asked.trainings):
            for dataset in ("mnist", "digits"):
                name = f"{dataset}-{seed}"
                options = ("--dataset", dataset, "--seed", str(seed), "--name", name)
                seconds, _ = run("train", *options)
                rows.setdefault(f"`train --dataset {dataset}`, with its pictures", []).append(seconds)
                accuracy[dataset].append(100 * run("eval", name, "--no-plots")[1]["accuracy"])
            seconds, (exported,) = run("export", f"mnist-{seed}")
            rows.setdefault("`export`, with its check on 10,000 images", []).append(seconds)
            parity.append(exported["parity"])
        hands = []
        for seed in range(asked.trainings):
            hand, tuned = f"hand-{seed}", f"tuned-{seed}"
            unfamiliar_hand.write(Path(hand), seed=seed)
            seconds, _ = run("train", "--init", "mnist-0", "--dataset", hand, "--name", tuned)
            rows.setdefault("`train --init` on 50 pictures of an unfamiliar hand", []).append(seconds)
            before, after = (
                100 * run("eval", model, "--dataset", hand, "--no-plots")[1]["accuracy"]
                for model in ("mnist-0", tuned)
            )
            hands.append(f"| {seed} | {before:.1f} | {after:.1f} | {after - before:+.1f} |")
        os.chdir(here)
    worst = max(item["max_logit_difference"] for item in parity)
    same = all(item["reference_accuracy"] == item["exported_accuracy"] for item in parity)
    bench.write_section(
        "bench_session",
        "A first session",
        [
            "| command | median, s | range | runs |",
            "| --- | --- | --- | --- |",
            *(
                f"| {title} | {bench.spread(values)} | {len(values)} |"
                for title, values in rows.items()
            ),
            "",
            "Accuracy of `train` as it comes, on the test set, which plays no part in training.",
            "The figure of the embedded digits is not an untouched one: that the recipe augments,",
            "that a tie on validation goes to the later epoch, and how faint ink is cut away were",
            "changed after looking at it.",
            "",
            "| dataset | mean, % | range | seeds |",
            "| --- | --- | --- | --- |",
            *(
                f"| {name} | {np.mean(found):.2f} "
                f"| {min(found):.2f} to {max(found):.2f} | {len(found)} |"
                for name, found in accuracy.items()
            ),
            "",
            "`train --init` from a model of MNIST, on 50 pictures of a distorted hand",
            "(`scripts/unfamiliar_hand.py`); accuracy on 500 others of the same hand, in %:",
            "",
            "| seed of the hand | before | after | gained |",
            "| --- | --- | --- | --- |",
            *hands,
            "",
            "Exported to ONNX, on all 10,000 test images at batch sizes 1, 7 and 256: the largest "
            f"difference of a logit over {len(parity)} models is {worst:.1e}; accuracy is "
            f"{'the same in all' if same else 'not the same'}; "
            f"{sum(item['disagreements'] for item in parity)} answers differ.",
        ],
    )


if __name__ == "__main__":
    main()
