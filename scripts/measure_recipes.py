"""Train every recipe on MNIST with several seeds, and write what they came to.

A row for each (recipe, seed) goes to `src/mnistctl/settings/measured.jsonl` as soon as it is finished; what is
there already, for the same settings and timed, is not done again, so that this can be stopped and
started at will. The README's table of recipes and `docs/results.md` are made of the rows.

    python scripts/measure_recipes.py [--seeds 3] [--robustness] [--runs FOLDER] [RECIPE ...]
    python scripts/measure_recipes.py --ensemble 3 --runs FOLDER RECIPE
    python scripts/measure_recipes.py --seeds 0  # only the pages

The test set is read once the run has ended. MNIST must be in the data folder. With --runs the runs are
kept in a folder; ensembles are made of the runs kept there.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bench
import mnistctl
from build_sizes import count
from mnistctl.nn import nets
from mnistctl.settings import recipes
from mnistctl.system import files
from mnistctl.system.provenance import versions

ROWS = Path(recipes.__file__).parent / "measured.jsonl"
ROOT = Path(__file__).parents[1]
README, RESULTS = ROOT / "README.md", ROOT / "docs" / "results.md"
BEGIN = "<!-- recipes: made by scripts/measure_recipes.py -->\n"
END = "<!-- /recipes -->\n"


def run(*arguments: str) -> Any:
    """What a command of mnistctl says, as JSON."""
    command = [*bench.MNISTCTL, *arguments, "--json", "--quiet"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def here() -> dict[str, Any]:
    """Where a row was made."""
    return {
        "machine": f"{os.cpu_count()} cores of {platform.machine()}",
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "versions": versions(),
    }


def of_test(model: str, *options: str) -> dict[str, Any]:
    """What a model comes to on the test set."""
    report = run("eval", model, "--no-plots", *options)
    found = {
        f"test_{name}": report[name] for name in ("accuracy", "loss", "calibration_error", "refused")
    }
    return found | ({"robustness": report["robustness"]} if report["robustness"] else {})


def measure(recipe: str, seed: int, *, robustness: bool) -> dict[str, Any]:
    """Train a recipe with a seed, and only then ask how it does on train and test."""
    name = ("--name", f"{recipe}-{seed}")
    trained = run(
        "train", "--recipe", recipe, "--seed", str(seed), "--dataset", "mnist", "--no-plots", *name
    )
    on_train = run("eval", trained["run"], "--split", "train", "--no-plots")
    return {
        "recipe": recipe,
        "seed": seed,
        "config": recipes.find_recipe(recipe).to_json(),
        **of_test(trained["run"], *(["--robustness"] if robustness else [])),
        "train_accuracy": on_train["accuracy"],
        **{
            name: trained[name]
            for name in (
                *("validation_accuracy", "epochs", "best_epoch", "parameters"),
                *("train_seconds", "device", "precision"),
            )
        },
        **here(),
    }


def join(recipe: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Join the kept runs of a recipe with these seeds, and measure the ensemble."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "ensemble.safetensors")
        joined = run("ensemble", *(f"{recipe}-{seed}" for seed in seeds), "--output", path)
        return {
            "ensemble": recipe,
            "seeds": list(seeds),
            "config": recipes.find_recipe(recipe).to_json(),
            **of_test(path),
            "validation_accuracy": joined["validation_accuracy"],
            "parameters": joined["parameters"],
            **here(),
        }


def add(row: dict[str, Any]) -> None:
    """Keep a row, in place of one of the same recipe, seed and settings."""
    what = ("recipe", "seed", "ensemble", "seeds", "config")
    kept = [
        other
        for other in recipes.read_measured()
        if any(other.get(name) != row.get(name) for name in what)
    ]
    lines = [json.dumps(item) for item in (*kept, row)]
    files.write_bytes(ROWS, ("\n".join(lines) + "\n").encode())
    recipes.read_measured.cache_clear()
    who = row.get("recipe") or f"ensemble of {row['ensemble']}"
    print(f"{who}, {row.get('seed', row.get('seeds'))}: {row['test_accuracy']:.4f} on test", flush=True)


def table() -> str:
    """The README's table of recipes."""
    lines = [
        "| recipe | what it is | published | test, mean ± deviation | validation | train | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for recipe in mnistctl.recipes():
        means = (
            recipe.mean_test_accuracy,
            recipe.mean_validation_accuracy,
            recipe.mean_train_accuracy,
        )
        figures = ["–" if mean is None else f"{100 * mean:.2f}%" for mean in means]
        if recipe.std_test_accuracy is not None:
            figures[0] += f" ± {100 * recipe.std_test_accuracy:.2f}"
        cells = [f"`{recipe.name}`", recipe.summary, recipe.published or "–", *figures]
        lines.append(f"| {' | '.join(cells)} | {recipe.seeds} |")
    return "\n".join(lines) + "\n"


def percent(values: Sequence[float], *, digits: int = 2) -> str:
    """Mean and deviation of shares, in per cent; a dash without any."""
    if not values:
        return "–"
    deviation = f" ± {100 * statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.{digits}f}{deviation}"


def column(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    """A figure of the rows that have it."""
    return [row[name] for row in rows if row.get(name) is not None]


def results() -> Iterator[str]:
    """The lines of `docs/results.md`."""
    yield from (
        "# Results",
        "",
        "Made by `python scripts/measure_recipes.py` of the rows in `src/mnistctl/settings/measured.jsonl`, one "
        "for each recipe and seed: nothing here is typed in. Every row is",
        "",
        "```",
        "mnistctl train --recipe RECIPE --seed SEED --dataset mnist",
        "mnistctl eval RUN",
        "```",
        "",
        "The model of a run is the best of its epochs on 5,000 validation images; the 10,000 test "
        "images are read once, after that. Accuracies are percentages, mean ± standard deviation over "
        "the seeds. Training runs from the moment the images lie on the device to the last step done, "
        "median and range of the seeds that were timed. “seen as known” is the share of test images "
        "that the model does not refuse.",
        "",
        "| recipe | seeds | test | lowest | validation | train | calibration error | seen as known "
        "| parameters | multiply-adds | training, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    )
    for name in recipes.RECIPES:
        yield line_of(name)
    yield from ensembles()
    yield from robustness()
    yield from made_with()


def line_of(name: str) -> str:
    """A recipe's line."""
    rows, config = recipes.measured_runs(name), recipes.find_recipe(name)
    net = nets.build_shapes(config.arch, arch_args=dict(config.arch_args), classes=10)
    parameters, multiply_adds = count(net)
    size = f"{parameters:,} | {multiply_adds / 1e6:.2f} million"
    if not rows:
        return f"| `{name}` | – | not measured | – | – | – | – | – | {size} | not measured |"
    accuracies = column(rows, "test_accuracy")
    seconds = column(rows, "train_seconds")
    time = "–"
    if seconds:
        time = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
    known = [1 - share for share in column(rows, "test_rejected")]
    cells = (
        f"`{name}`",
        str(len(rows)),
        percent(accuracies),
        f"{100 * min(accuracies):.2f}",
        percent(column(rows, "validation_accuracy")),
        percent(column(rows, "train_accuracy")),
        percent(column(rows, "test_calibration_error")),
        percent(known),
        size,
        time,
    )
    return f"| {' | '.join(cells)} |"


def ensembles() -> Iterator[str]:
    """What several runs come to together."""
    rows = [row for name in recipes.RECIPES for row in recipes.measured_ensembles(name)]
    if not rows:
        return
    yield from (
        "",
        "## Ensembles",
        "",
        "`mnistctl ensemble RUN RUN RUN`, of the runs above.",
        "",
        "| of | seeds | test | validation | calibration error | parameters |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    for row in rows:
        figures = [
            f"{100 * row[name]:.2f}"
            for name in ("test_accuracy", "validation_accuracy", "test_calibration_error")
        ]
        seeds = ", ".join(map(str, row["seeds"]))
        yield f"| `{row['ensemble']}` | {seeds} | {' | '.join(figures)} | {row['parameters']:,} |"
    mean = percent([row["test_accuracy"] for row in rows])
    yield from ("", f"Mean of these {len(rows)}, which share members: {mean}.")


def robustness() -> Iterator[str]:
    """Accuracy on spoilt test images, of the recipes that it was measured of."""
    by_recipe = {
        name: [row["robustness"] for row in recipes.measured_runs(name) if "robustness" in row]
        for name in recipes.RECIPES
    }
    measured = {name: rows for name, rows in by_recipe.items() if rows}
    if not measured:
        return
    yield from (
        "",
        "## Robustness",
        "",
        "`mnistctl eval RUN --robustness`: accuracy on spoilt test images, mean over the seeds "
        f"({', '.join(f'`{name}`: {len(rows)}' for name, rows in measured.items())}).",
        "",
        f"| corruption | strength | {' | '.join(f'`{name}`' for name in measured)} |",
        f"| --- | --- |{' --- |' * len(measured)}",
    )
    for number, trial in enumerate(next(iter(measured.values()))[0]):
        shares = [
            percent([statistics.fmean(rows[number]["accuracy"] for rows in found)])
            for found in measured.values()
        ]
        strength = f"{trial['strength']:g} {trial['unit']}".strip()
        yield f"| {trial['corruption']} | {strength} | {' | '.join(shares)} |"


def made_with() -> Iterator[str]:
    """Machines and versions of the rows."""
    rows = [row for name in recipes.RECIPES for row in recipes.measured_runs(name)]
    kinds = {
        f"{row['machine']}, {row['device']}, threads: {row['threads']}, "
        f"torch {row['versions']['torch']}": None
        for row in rows
        if "train_seconds" in row
    }
    yield from ("", "## Machines", "", *(f"- {kind}" for kind in kinds))


def write_pages() -> None:
    """The README's table, and the page of results."""
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    files.write_bytes(README, f"{before}{BEGIN}\n{table()}\n{END}{after}".encode())
    files.write_bytes(RESULTS, ("\n".join(results()) + "\n").encode())


def main() -> None:
    """Measure what has not been measured, and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="of each recipe, from 0 on")
    parser.add_argument("--robustness", action="store_true", help="on spoilt images too")
    parser.add_argument("--ensemble", type=int, default=0, help="join so many of the kept runs")
    parser.add_argument("--runs", type=Path, help="keep the runs in this folder")
    parser.add_argument("recipes", nargs="*", help="which; without any: all")
    asked = parser.parse_args()
    names = asked.recipes or list(recipes.RECIPES)
    with contextlib.ExitStack() as stack:
        folder = asked.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files.make_folder(folder)
        stack.enter_context(contextlib.chdir(folder))
        for recipe in names:
            done = {row["seed"] for row in recipes.measured_runs(recipe) if row.get("train_seconds")}
            for seed in sorted(set(range(asked.seeds)) - done):
                add(measure(recipe, seed, robustness=asked.robustness))
            if asked.ensemble:
                joined = {tuple(row["seeds"]) for row in recipes.measured_ensembles(recipe)}
                kept = [seed for seed in range(100) if Path(f"runs/{recipe}-{seed}").is_dir()]
                for seeds in itertools.combinations(kept, asked.ensemble):
                    if seeds not in joined:
                        add(join(recipe, seeds))
    write_pages()


if __name__ == "__main__":
    main()
