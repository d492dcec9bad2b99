"""Measure the commands of a first session: their time and their results.

Each time is that of a whole process, from start to exit. Writes a section of
`docs/reference/benchmarks.md`. MNIST must be in the data folder and the machine idle:

    python scripts/bench_session.py [--trainings 3]
"""

import argparse
import contextlib
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import bench
import unfamiliar_hand


class Measurements(NamedTuple):
    """All that the section shows."""

    seconds: dict[str, list[float]]  # command -> seconds of each run
    accuracies: dict[str, list[float]]  # dataset -> test accuracy of each seed, in %
    parities: list[dict[str, Any]]  # of each ONNX export
    hands: list[tuple[float, float]]  # accuracy on an unfamiliar hand before and after tuning, in %


def run(*arguments: str) -> tuple[float, Any]:
    """Run a command of mnistctl.

    Returns:
        The seconds from start to exit, and the result.
    """
    process = bench.measure([*bench.MNISTCTL, *arguments, "--json", "--quiet"])
    return process.seconds, json.loads(process.stdout)


def accuracy(model: str, *options: str) -> float:
    """Accuracy of a model on a test set, in %."""
    return 100 * float(run("eval", model, "--no-plots", *options)[1]["accuracy"])


def measure(trainings: int) -> Measurements:
    """Train, export and fine-tune models in the working folder."""
    results = Measurements(defaultdict(list), defaultdict(list), [], [])
    for seed in range(trainings):
        for dataset in ("mnist", "digits"):
            name = f"{dataset}-{seed}"
            options = ("--dataset", dataset, "--seed", str(seed), "--name", name)
            seconds, _ = run("train", *options)
            results.seconds[f"`train --dataset {dataset}`, with plots"].append(seconds)
            results.accuracies[dataset].append(accuracy(name))
        seconds, (exported,) = run("export", f"mnist-{seed}")
        results.seconds["`export`, with the parity check on 10,000 images"].append(seconds)
        results.parities.append(exported["parity"])
    for seed in range(trainings):
        hand, tuned = f"hand-{seed}", f"tuned-{seed}"
        unfamiliar_hand.write(Path(hand), seed=seed)
        seconds, _ = run("train", "--init", "mnist-0", "--dataset", hand, "--name", tuned)
        results.seconds["`train --init` on 50 pictures of an unfamiliar hand"].append(seconds)
        before, after = (accuracy(model, "--dataset", hand) for model in ("mnist-0", tuned))
        results.hands.append((before, after))
    return results


def section(results: Measurements) -> list[str]:
    """The lines of the section."""
    worst = max(parity["max_logit_difference"] for parity in results.parities)
    is_same = all(
        parity["reference_accuracy"] == parity["exported_accuracy"] for parity in results.parities
    )
    disagreements = sum(parity["disagreements"] for parity in results.parities)
    return [
        "| command | median, s | range | runs |",
        "| --- | --- | --- | --- |",
        *(
            f"| {title} | {bench.median_and_range(values)} | {len(values)} |"
            for title, values in results.seconds.items()
        ),
        "",
        "Test accuracy of `train` with default settings. The test set is not used in training. For the "
        "bundled digits, however, three decisions were made after looking at their test accuracy: that "
        "the recipe augments, that a tie on validation goes to the later epoch, and how faint ink is "
        "removed.",
        "",
        "| dataset | mean, % | range | seeds |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {statistics.fmean(values):.2f} "
            f"| {min(values):.2f} to {max(values):.2f} | {len(values)} |"
            for name, values in results.accuracies.items()
        ),
        "",
        "`train --init` from a model of MNIST, on 50 pictures of a distorted hand "
        "(`scripts/unfamiliar_hand.py`). Accuracy on 500 other pictures of the same hand, in %:",
        "",
        "| seed of the hand | before | after | gain |",
        "| --- | --- | --- | --- |",
        *(
            f"| {seed} | {before:.1f} | {after:.1f} | {after - before:+.1f} |"
            for seed, (before, after) in enumerate(results.hands)
        ),
        "",
        f"ONNX exports of {len(results.parities)} models, compared on all 10,000 test images at batch "
        f"sizes 1, 7 and 256: the largest difference between logits is {worst:.1e}, "
        f"{disagreements} predictions differ, and accuracy is "
        f"{'identical' if is_same else 'not identical'}.",
    ]


def main() -> None:
    """Measure everything and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainings", type=int, default=3, help="seeds per dataset")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        results = measure(arguments.trainings)
    bench.write_section("bench_session", "A first session", section(results))


if __name__ == "__main__":
    main()
