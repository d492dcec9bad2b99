"""Train every recipe on MNIST with several seeds, and write the results.

    python scripts/measure_recipes.py [--seeds 3] [--robustness] [--runs FOLDER] [RECIPE ...]
    python scripts/measure_recipes.py --ensemble 3 --runs FOLDER RECIPE
    python scripts/measure_recipes.py --seeds 0  # write the pages only

Each run adds a row to `src/mnistctl/settings/measured.jsonl` as soon as it has finished. A recipe and
seed with a timed row of the same settings is not trained again, so the script can be interrupted and
started again. From the rows it writes the table of recipes in `docs/reference/recipes.md`, and
`docs/reference/results.md`.

The test set is read after the run. MNIST must be in the data folder. --runs keeps the runs in a folder;
ensembles are made of the runs there.
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
from mnistctl.settings import architectures, recipes
from mnistctl.system import files
from mnistctl.system.provenance import versions

ROWS = Path(recipes.__file__).parent / "measured.jsonl"
REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
OVERVIEW, RESULTS = REFERENCE / "recipes.md", REFERENCE / "results.md"
RECIPES = recipes.of_task(architectures.DIGIT)  # the others have no test accuracy of this kind
BEGIN = "<!-- recipes: made by scripts/measure_recipes.py -->\n"
END = "<!-- /recipes -->\n"


def run(*arguments: str) -> Any:
    """Run a command of mnistctl; its result, from JSON."""
    command = [*bench.MNISTCTL, *arguments, "--json", "--quiet"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def environment() -> dict[str, Any]:
    """The machine and the versions, for a row."""
    return {
        "machine": f"{os.cpu_count()} cores of {platform.machine()}",
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "versions": versions(),
    }


def evaluate_on_test(model: str, *options: str) -> dict[str, Any]:
    """The metrics of a model on the test set, for a row."""
    report = run("eval", model, "--no-plots", *options)
    names = ("accuracy", "loss", "calibration_error", "rejected")
    metrics = {f"test_{name}": report[name] for name in names}
    return metrics | ({"robustness": report["robustness"]} if report["robustness"] else {})


def measure(recipe: str, seed: int, *, robustness: bool) -> dict[str, Any]:
    """Train a recipe with a seed, then evaluate it on test and train; the row."""
    options = ("--seed", str(seed), "--dataset", "mnist", "--no-plots", "--name", f"{recipe}-{seed}")
    trained = run("train", "--recipe", recipe, *options)
    on_train = run("eval", trained["run"], "--split", "train", "--no-plots")
    kept = ("validation_accuracy", "epochs", "best_epoch", "parameters", "train_seconds")
    return {
        "recipe": recipe,
        "seed": seed,
        "config": recipes.find_recipe(recipe).to_json(),
        **evaluate_on_test(trained["run"], *(["--robustness"] if robustness else [])),
        "train_accuracy": on_train["accuracy"],
        **{name: trained[name] for name in (*kept, "device", "precision")},
        **environment(),
    }


def join(recipe: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Combine the kept runs of a recipe with these seeds, and evaluate the ensemble; the row."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "ensemble.safetensors")
        ensemble = run("ensemble", *(f"{recipe}-{seed}" for seed in seeds), "--output", path)
        return {
            "ensemble": recipe,
            "seeds": list(seeds),
            "config": recipes.find_recipe(recipe).to_json(),
            **evaluate_on_test(path),
            "validation_accuracy": ensemble["validation_accuracy"],
            "parameters": ensemble["parameters"],
            **environment(),
        }


def add(row: dict[str, Any]) -> None:
    """Add a row, in place of one with the same recipe, seeds and settings."""
    identity = ("recipe", "seed", "ensemble", "seeds", "config")
    kept = [
        other
        for other in recipes.read_measured()
        if any(other.get(name) != row.get(name) for name in identity)
    ]
    lines = [json.dumps(item) for item in (*kept, row)]
    files.write_bytes(ROWS, ("\n".join(lines) + "\n").encode())
    recipes.read_measured.cache_clear()
    name = row.get("recipe") or f"ensemble of {row['ensemble']}"
    seeds = row.get("seed", row.get("seeds"))
    print(f"{name}, {seeds}: {row['test_accuracy']:.4f} on test", flush=True)


def measure_ensembles(recipe: str, members: int) -> None:
    """Measure every ensemble of this many kept runs that has no row yet."""
    measured = {tuple(row["seeds"]) for row in recipes.measured_ensembles(recipe)}
    kept = [seed for seed in range(100) if Path(f"runs/{recipe}-{seed}").is_dir()]
    for seeds in itertools.combinations(kept, members):
        if seeds not in measured:
            add(join(recipe, seeds))


def table() -> str:
    """The table of recipes in `docs/reference/recipes.md`."""
    lines = [
        "| recipe | summary | published | test, mean ± std | validation | train | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for recipe in map(mnistctl.recipe, RECIPES):
        means = (
            recipe.mean_test_accuracy,
            recipe.mean_validation_accuracy,
            recipe.mean_train_accuracy,
        )
        accuracies = ["–" if mean is None else f"{100 * mean:.2f}%" for mean in means]
        if recipe.std_test_accuracy is not None:
            accuracies[0] += f" ± {100 * recipe.std_test_accuracy:.2f}"
        cells = [f"`{recipe.name}`", recipe.summary, recipe.published or "–", *accuracies]
        lines.append(f"| {' | '.join(cells)} | {recipe.seeds} |")
    return "\n".join(lines) + "\n"


def percent(values: Sequence[float], *, digits: int = 2) -> str:
    """Mean and standard deviation of shares, in percent; a dash if there are none."""
    if not values:
        return "–"
    deviation = f" ± {100 * statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.{digits}f}{deviation}"


def column(rows: Sequence[dict[str, Any]], name: str) -> list[float]:
    """The values under a key, of the rows that have it."""
    return [row[name] for row in rows if row.get(name) is not None]


def results() -> Iterator[str]:
    """The lines of `docs/reference/results.md`."""
    yield from (
        "# Results",
        "",
        "`python scripts/measure_recipes.py` generates this page from the rows of "
        "`src/mnistctl/settings/measured.jsonl`, one per recipe and seed. Each row comes "
        "from these commands:",
        "",
        "```bash",
        "mnistctl train --recipe RECIPE --seed SEED --dataset mnist",
        "mnistctl eval RUN",
        "```",
        "",
        "Each run keeps the epoch with the best accuracy on 5,000 validation images. The 10,000 test "
        "images are used once, after the run.",
        "",
        "- Accuracies are percentages: mean ± standard deviation over the seeds. “lowest” is the "
        "lowest test accuracy.",
        "- “accepted” is the percentage of test images that the model does not reject.",
        "- The training time starts when the images are on the device and ends with the last step: "
        "median and range over the seeds that were timed.",
        "",
        "| recipe | seeds | test | lowest | validation | train | calibration error | accepted "
        "| parameters | multiply-adds | training, s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    )
    for name in RECIPES:
        yield result_row(name)
    yield from ensembles()
    yield from robustness()
    yield from machines()


def result_row(name: str) -> str:
    """The table row of a recipe."""
    rows, settings = recipes.measured_runs(name), recipes.find_recipe(name)
    net = nets.build_shapes(settings.arch, arch_args=dict(settings.arch_args), classes=10)
    parameters, multiply_adds = count(net)
    size = f"{parameters:,} | {multiply_adds / 1e6:.2f} million"
    if not rows:
        return f"| `{name}` | – | not measured | – | – | – | – | – | {size} | not measured |"
    accuracies = column(rows, "test_accuracy")
    seconds = column(rows, "train_seconds")
    time = "–"
    if seconds:
        time = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
    accepted = [1 - share for share in column(rows, "test_rejected")]
    cells = (
        f"`{name}`",
        str(len(rows)),
        percent(accuracies),
        f"{100 * min(accuracies):.2f}",
        percent(column(rows, "validation_accuracy")),
        percent(column(rows, "train_accuracy")),
        percent(column(rows, "test_calibration_error")),
        percent(accepted),
        size,
        time,
    )
    return f"| {' | '.join(cells)} |"


def ensembles() -> Iterator[str]:
    """The section on ensembles."""
    rows = [row for name in RECIPES for row in recipes.measured_ensembles(name)]
    if not rows:
        return
    yield from (
        "",
        "## Ensembles",
        "",
        "`mnistctl ensemble RUN RUN RUN` with runs of the table above.",
        "",
        "| recipe | seeds | test | validation | calibration error | parameters |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    for row in rows:
        shares = [
            f"{100 * row[name]:.2f}"
            for name in ("test_accuracy", "validation_accuracy", "test_calibration_error")
        ]
        seeds = ", ".join(map(str, row["seeds"]))
        yield f"| `{row['ensemble']}` | {seeds} | {' | '.join(shares)} | {row['parameters']:,} |"
    mean = percent([row["test_accuracy"] for row in rows])
    yield from ("", f"Mean test accuracy of these {len(rows)}, which share members: {mean}.")


def robustness() -> Iterator[str]:
    """The section on corrupted test images, with the recipes that were evaluated on them."""
    by_recipe = {
        name: [row["robustness"] for row in recipes.measured_runs(name) if "robustness" in row]
        for name in RECIPES
    }
    measured = {name: runs for name, runs in by_recipe.items() if runs}
    if not measured:
        return
    yield from (
        "",
        "## Robustness",
        "",
        "Accuracy on corrupted test images (`mnistctl eval RUN --robustness`), mean over the seeds "
        f"({', '.join(f'`{name}`: {len(runs)}' for name, runs in measured.items())}).",
        "",
        f"| corruption | strength | {' | '.join(f'`{name}`' for name in measured)} |",
        f"| --- | --- |{' --- |' * len(measured)}",
    )
    for number, trial in enumerate(next(iter(measured.values()))[0]):
        shares = [
            percent([statistics.fmean(trials[number]["accuracy"] for trials in runs)])
            for runs in measured.values()
        ]
        strength = f"{trial['strength']:g} {trial['unit']}".strip()
        yield f"| {trial['corruption']} | {strength} | {' | '.join(shares)} |"


def machines() -> Iterator[str]:
    """The section on machines and versions."""
    rows = [row for name in RECIPES for row in recipes.measured_runs(name)]
    lines = {
        f"- {row['machine']}, {row['device']}, threads: {row['threads']}, "
        f"torch {row['versions']['torch']}": None
        for row in rows
        if "train_seconds" in row
    }
    yield from ("", "## Machines", "", *lines)


def write_pages() -> None:
    """Write the table of recipes and the page of results."""
    before, rest = OVERVIEW.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    files.write_bytes(OVERVIEW, f"{before}{BEGIN}\n{table()}\n{END}{after}".encode())
    files.write_bytes(RESULTS, ("\n".join(results()) + "\n").encode())


def main() -> None:
    """Train each recipe and seed that has no timed row, and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds per recipe, from 0")
    parser.add_argument("--robustness", action="store_true", help="also evaluate on corrupted images")
    parser.add_argument("--ensemble", type=int, default=0, help="combine this many of the kept runs")
    parser.add_argument("--runs", type=Path, help="keep the runs in this folder")
    parser.add_argument("recipes", nargs="*", help="recipes; default: all")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.runs or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        files.make_folder(folder)
        stack.enter_context(contextlib.chdir(folder))
        for recipe in arguments.recipes or RECIPES:
            measured = {
                row["seed"] for row in recipes.measured_runs(recipe) if row.get("train_seconds")
            }
            for seed in sorted(set(range(arguments.seeds)) - measured):
                add(measure(recipe, seed, robustness=arguments.robustness))
            if arguments.ensemble:
                measure_ensembles(recipe, arguments.ensemble)
    write_pages()


if __name__ == "__main__":
    main()
