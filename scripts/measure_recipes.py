"""Train every recipe on MNIST with several seeds, and write what they came to.

A row for each (recipe, seed) goes to `src/mnistctl/measured.jsonl` as soon as it is finished, and the
table of recipes into the README; what is there already, for the same settings, is not done again, so
that this can be stopped and started at will:

    python scripts/measure_recipes.py [--seeds 3] [RECIPE ...]

The test set is read once the run has ended. MNIST must be in the data folder.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mnistctl import files, recipe_table, workflows
from mnistctl.provenance import versions

ROWS = Path(recipe_table.__file__).parent / "measured.jsonl"
README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- recipes: made by scripts/measure_recipes.py -->\n"
END = "<!-- /recipes -->\n"


def run(*arguments: str) -> Any:
    """What a command of mnistctl says, as JSON."""
    command = [sys.executable, "-m", "mnistctl", *arguments, "--json", "--quiet"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(recipe: str, seed: int) -> dict[str, Any]:
    """Train a recipe with a seed, and only then ask how it does on train and test."""
    options = ("--dataset", "mnist", "--no-plots")
    trained = run("train", "--recipe", recipe, "--seed", str(seed), *options)
    reports = {
        split: run("eval", trained["run"], "--split", split, "--no-plots")
        for split in ("train", "test")
    }
    return {
        "recipe": recipe,
        "seed": seed,
        "config": recipe_table.find(recipe).to_json(),
        "test_accuracy": reports["test"]["accuracy"],
        "train_accuracy": reports["train"]["accuracy"],
        "validation_accuracy": trained["validation_accuracy"],
        "epochs": trained["epochs"],
        "best_epoch": trained["best_epoch"],
        "parameters": trained["parameters"],
        "device": trained["device"],
        "precision": trained["precision"],
        "machine": f"{os.cpu_count()} cores of {platform.machine()}",
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "versions": versions(),
    }


def table() -> str:
    """The README's table of recipes."""
    lines = [
        "| recipe | what it is | published | test, mean ± deviation | validation | train | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for recipe in workflows.recipes():
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


def main() -> None:
    """Measure what has not been measured, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="of each recipe, from 0 on")
    parser.add_argument("recipes", nargs="*", help="which; without any: all")
    asked = parser.parse_args()
    here = Path.cwd()
    for recipe in asked.recipes or recipe_table.RECIPES:
        done = {row["seed"] for row in recipe_table.measured(recipe)}
        for seed in sorted(set(range(asked.seeds)) - done):
            with tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
                row = measure(recipe, seed)
                os.chdir(here)
            files.append_line(ROWS, json.dumps(row))
            print(f"{recipe}, seed {seed}: {row['test_accuracy']:.4f} on test", flush=True)
    recipe_table.read_measured.cache_clear()
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    files.write_bytes(README, f"{before}{BEGIN}\n{table()}\n{END}{after}".encode())


if __name__ == "__main__":
    main()
