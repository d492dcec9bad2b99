"""Runs: their settings, plots, comparison and lists."""

import csv
import json
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from mnistctl.evaluation.corruptions import CORRUPTIONS
from mnistctl.settings import recipes
from tests.helpers import Cli

TRAIN = ("train", "--dataset", "digits", "--device", "cpu", "--no-plots", "-q")
QUICK = (*TRAIN, "--arch", "linear", "--epochs", "1")
PLOTS = {"curves.png", "confusion.png", "predictions.png", "mistakes.png", "reliability.png"}


def config_of(run: str) -> dict[str, object]:
    config: dict[str, object] = json.loads((Path("runs") / run / "config.json").read_text())
    return config


def metrics_of(run: str) -> list[dict[str, float]]:
    text = (Path("runs") / run / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_options_override_the_settings_of_the_recipe(cli: Cli) -> None:
    answer = cli(*TRAIN, "--recipe", "mlp-128", "--epochs", "1", "--hidden", "16,8", "--name", "a")

    assert answer.code == 0, answer.err
    config = config_of("a")
    assert (config["recipe"], config["optimizer"], config["epochs"]) == ("mlp-128", "adam", 1)
    assert config["arch_args"] == {"hidden": [16, 8], "dropout": 0.0, "batch_norm": False}


def test_the_config_of_a_run_reproduces_it(cli: Cli) -> None:
    cli(*QUICK, "--rotate", "5", "--seed", "3", "--subset", "300", "--name", "a")

    again = cli("train", "--config", "runs/a/config.json", "--name", "b", "--no-plots")
    other = cli("train", "--config", "runs/a/config.json", "--seed", "4", "--name", "c", "--no-plots")

    assert (again.code, other.code) == (0, 0)
    assert config_of("b") == config_of("a")
    assert config_of("c") == config_of("a") | {"seed": 4}
    metrics = [[line["train_loss"] for line in metrics_of(run)] for run in "abc"]
    assert metrics[0] == metrics[1] != metrics[2]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--arch", "mlp"), {"arch": "mlp", "optimizer": "adam", "rotate": 5}),
        (("--optimizer", "sgd"), {"optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 0.0}),
        (("--epochs", "0.5"), {"epochs": 0.5, "min_steps": 0}),
        (("--schedule", "constant"), {"schedule": "constant", "warmup": 0.0}),
        (("--dataset", "digits"), {"dataset": "digits"}),
        (("--recipe", "linear"), {"recipe": "linear", "rotate": 5}),
    ],
)
def test_an_option_overrides_the_settings_file_and_resets_what_depends_on_it(
    cli: Cli, options: tuple[str, ...], expected: dict[str, object]
) -> None:
    cli(*QUICK, "--rotate", "5", "--name", "a")

    answer = cli("train", "--config", "runs/a/config.json", *options, "--name", "b", "--no-plots")

    assert answer.code == 0, answer.err
    assert config_of("b").items() >= expected.items()


def test_a_settings_file_for_another_recipe_is_rejected(cli: Cli) -> None:
    cli(*QUICK, "--name", "a")

    answer = cli("train", "--config", "runs/a/config.json", "--recipe", "mlp")

    assert answer.code == 2
    assert "is for the recipe 'linear'" in answer.err


def test_arguments_of_the_net_in_a_settings_file_are_merged_with_those_of_the_recipe(cli: Cli) -> None:
    Path("a.toml").write_text(
        'recipe = "mlp-128"\ndataset = "digits"\nepochs = 0.2\n[arch_args]\ndropout = 0.5\n'
    )

    cli("train", "--config", "a.toml", "--name", "a", "--no-plots")

    assert config_of("a")["arch_args"] == {"hidden": [128], "dropout": 0.5, "batch_norm": False}


def test_a_settings_file_can_be_toml(cli: Cli) -> None:
    Path("mine.toml").write_text(
        'recipe = "mlp-128"\ndataset = "digits"\nepochs = 1\nlearning_rate = 1e-2\nhidden = [8]\n'
    )

    answer = cli("train", "--config", "mine.toml", "--name", "a", "--no-plots")

    assert answer.code == 0, answer.err
    assert (config_of("a")["recipe"], config_of("a")["learning_rate"]) == ("mlp-128", 0.01)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "epochs = ", "--config a.toml: not TOML"),
        ("a.json", "{", "--config a.json: not JSON"),
        ("a.json", "[1]", "--config a.json: expected a table of settings"),
        ("a.json", "[" * 100_000, "--config a.json: not JSON"),
        ("a.toml", "[arch_args]\nwhen = 2020-01-01", "--config a.toml: arch_args: Object of type date"),
        (
            "a.toml",
            "min_steps = 100000000000",
            "--config a.toml: min_steps 100000000000: expected a whole number from 0 to",
        ),
        ("a.toml", "epoch = 1", "--config a.toml: unknown setting 'epoch'; did you mean 'epochs'?"),
        ("a.toml", "lr = 1", "--config a.toml: unknown setting 'lr'; did you mean 'learning_rate'?"),
        ("a.toml", "qqq = 1", "--config a.toml: unknown setting 'qqq'; see 'mnistctl train --help'"),
        ("a.toml", 'epochs = "many"', "--config a.toml: epochs many: expected a number"),
        ("a.toml", "batch_size = 1.5", "--config a.toml: batch_size 1.5: expected a whole number"),
        ("a.toml", "nesterov = 1", "--config a.toml: nesterov 1: expected true or false"),
        ("a.toml", 'optimizer = "sdg"', "unknown optimizer 'sdg'; did you mean 'sgd'?"),
        ("a.toml", 'schedule = "cos"', "unknown schedule 'cos'"),
        ("a.toml", "arch = 3", "--config a.toml: arch 3: expected text"),
        ("a.toml", "recipe = 3", "--config a.toml: recipe 3: expected text"),
        ("a.toml", "dataset = 3", "--config a.toml: dataset 3: expected text"),
        ("a.toml", "init = 3", "--config a.toml: init 3: expected text"),
        ("a.toml", "seed = true", "--config a.toml: seed True: expected a whole number"),
        ("a.toml", "nesterov = true", "--nesterov requires --optimizer sgd"),
    ],
)
def test_a_wrong_settings_file_is_rejected_in_one_line(
    cli: Cli, name: str, text: str, message: str
) -> None:
    Path(name).write_text(text)

    answer = cli("train", "--config", name, "--name", "a")

    assert (answer.code, answer.out) == (2, "")
    assert len(answer.err.splitlines()) == 1
    assert message in answer.err
    assert not Path("runs").exists()


def test_the_config_of_a_fine_tuned_run_requires_the_same_initial_model(cli: Cli) -> None:
    cli(*QUICK, "--name", "base")
    cli(*TRAIN, "--init", "base", "--epochs", "1", "--name", "tuned")
    again = cli("train", "--config", "runs/tuned/config.json", "--name", "again", "--no-plots")
    Path("runs/base").rename("runs/old")
    cli(*QUICK, "--seed", "1", "--name", "base")

    other = cli("train", "--config", "runs/tuned/config.json", "--name", "no", "--no-plots")

    assert again.code == 0, again.err
    assert config_of("again") == config_of("tuned")
    assert other.code == 2
    assert "not the model named in runs/tuned/config.json" in other.err


def test_several_seeds_have_a_mean_and_a_standard_deviation(cli: Cli) -> None:
    shown = cli(*QUICK, "--seeds", "3", "--seed", "5", "--name", "a")
    result = json.loads(cli(*QUICK, "--seeds", "2", "--json").out)

    assert shown.code == 0, shown.err
    assert "mean of 3 seeds, standard deviation" in shown.out
    assert [config_of(f"a-seed{seed}")["seed"] for seed in (5, 6, 7)] == [5, 6, 7]
    accuracies = [run["validation_accuracy"] for run in result["runs"]]
    assert result["mean_validation_accuracy"] == pytest.approx(sum(accuracies) / 2)
    assert cli(*QUICK, "--seeds", "0").code == 2
    assert cli(*QUICK, "--seeds", "2", "--seed", "6", "--name", "a").code == 2
    assert not Path("runs/a-seed8").exists()


def test_several_seeds_reject_a_folder_for_plots(cli: Cli) -> None:
    answer = cli("train", "--dataset", "digits", "--seeds", "2", "--plots", "drawn")

    assert answer.code == 2
    assert "--seeds cannot be combined with --plots DIR" in answer.err
    assert not Path("runs").exists()


def test_a_subset_is_the_train_split_of_the_model(cli: Cli) -> None:
    cli(*QUICK, "--subset", "200", "--name", "a")

    report = json.loads(cli("eval", "a", "--split", "train", "--json", "--no-plots").out)
    too_many = cli(*QUICK, "--subset", "2000")

    assert report["images"] == 200
    assert {row["images"] for row in report["per_class"]} <= {19, 20, 21}
    assert too_many.code == 2
    assert "--subset 2,000: there are only 1,375 training images" in too_many.err


def test_patience_stops_a_run_that_gets_worse(cli: Cli) -> None:
    wild = ("--optimizer", "sgd", "--learning-rate", "0.5", "--batch-size", "8", "--epochs", "60")

    answer = cli(
        *("train", "--dataset", "digits", "--arch", "linear", "--no-plots", "--name", "a"),
        *(*wild, "--patience", "1"),
    )

    accuracies = [line["validation_accuracy"] for line in metrics_of("a")]
    assert answer.code == 0, answer.err
    assert "stopped early: no improvement within --patience 1" in answer.err
    assert 2 <= len(accuracies) < 60
    assert accuracies[-1] <= accuracies[-2]
    assert all(later > earlier for earlier, later in pairwise(accuracies[:-1]))


def test_patience_stops_a_run_that_does_not_improve(cli: Cli) -> None:
    answer = cli(
        *("train", "--dataset", "digits", "--arch", "cnn", "--no-plots", "--name", "a"),
        *("--epochs", "60", "--patience", "2", "--validation-size", "10"),
    )

    assert answer.code == 0, answer.err
    assert metrics_of("a")[-1]["epoch"] < 60


def test_patience_needs_validation_images(cli: Cli) -> None:
    answer = cli(*QUICK, "--patience", "2", "--validation-size", "0")

    assert answer.code == 2
    assert "--patience 2: there are no validation images" in answer.err


def test_a_run_that_cannot_start_leaves_its_name_free(cli: Cli) -> None:
    answer = cli(*TRAIN, "--arch", "mlp", "--batch-norm", "--batch-size", "1", "--name", "a")
    again = cli(*QUICK, "--name", "a")

    assert answer.code == 2
    assert "--batch-size 1: the net has batch normalisation" in answer.err
    assert again.code == 0, again.err


def test_a_recipe_for_another_architecture_than_the_initial_model_is_rejected(cli: Cli) -> None:
    cli(*QUICK, "--name", "base")

    answer = cli(*TRAIN, "--init", "base", "--recipe", "mlp-128")

    assert answer.code == 2
    assert "--recipe mlp-128: for the architecture 'mlp'" in answer.err


def test_train_and_eval_draw_plots_into_the_run_folder(cli: Cli) -> None:
    trained = cli("train", "--dataset", "digits", "--arch", "linear", "--epochs", "2", "--name", "a")
    cli("eval", "a")
    cli("eval", "a", "--split", "validation", "--no-plots")

    assert trained.code == 0
    names = {path.name for path in Path("runs/a").glob("*.png")}
    assert names == PLOTS | {f"test-{name}" for name in PLOTS - {"curves.png"}}
    for name in names:
        with Image.open(Path("runs/a") / name) as picture:
            assert picture.size[0] > 300


def test_train_draws_plots_into_the_folder_that_is_named(cli: Cli) -> None:
    options = ("--dataset", "digits", "--arch", "linear", "--epochs", "1", "--name", "a")

    result = json.loads(cli("train", *options, "--plots", "my plots", "--json").out)

    assert {Path(path).parent for path in result["plots"]} == {Path("my plots")}
    assert {path.name for path in Path("my plots").iterdir()} == PLOTS
    assert not list(Path("runs/a").glob("*.png"))


def test_eval_draws_no_plots_for_a_file_outside_a_run_folder(cli: Cli, onnx_path: Path) -> None:
    Path("here").mkdir()
    copy = Path("here/model.onnx")
    copy.write_bytes(onnx_path.read_bytes())

    result = json.loads(cli("eval", copy, "--json").out)

    assert result["plots"] == []
    assert [path.name for path in Path("here").iterdir()] == ["model.onnx"]


def test_plot_redraws_the_plots_of_a_run_and_overlays_several_runs(cli: Cli) -> None:
    for name in "ab":
        cli(*QUICK, "--name", name)

    one = json.loads(cli("plot", "a", "--json").out)
    newest = json.loads(cli("plot", "--json", "-q").out)
    both = cli("plot", "a", "b")
    named = cli("plot", "a", "b", "--output", "mine.png")
    again = cli("plot", "a", "b", "--output", "mine.png")

    assert {Path(path).name for path in one["plots"]} == PLOTS
    assert {Path(path).parent.name for path in newest["plots"]} == {"b"}
    assert both.out.splitlines() == [str(Path("runs/curves.png"))]
    assert (named.code, again.code) == (0, 2)
    assert Path("mine.png").is_file()


def test_plot_rejects_files_that_are_not_runs(cli: Cli, onnx_path: Path) -> None:
    cli(*QUICK, "--name", "a")
    Path("runs/a/metrics.jsonl").write_text("{}\n")
    cli(*QUICK, "--name", "b")
    Path("runs/b/metrics.jsonl").write_text("")

    for arguments, code, message in (
        (("plot", onnx_path), 4, "not the model of a run"),
        (("plot", "nothing"), 4, "no such file, run folder or run"),
        (("plot", "a"), 4, "not the metrics of a run"),
        (("plot", "b"), 4, "not the metrics of a run"),
        (("plot", "a", "--output", "x.bmp"), 2, "expected a name that ends in .png, .svg or .pdf"),
        (("plot", "a", "b", "--labels", "A"), 2, "--labels: 1 for 2 runs; give one per run"),
    ):
        answer = cli(*arguments)
        assert (answer.code, answer.out) == (code, "")
        assert message in answer.err


def test_plot_draws_the_curves_of_a_run_with_a_damaged_model_and_warns(cli: Cli) -> None:
    cli(*QUICK, "--name", "a")
    Path("runs/a/model.safetensors").write_bytes(b"")

    answer = cli("plot", "a", "--json")

    assert answer.code == 0
    assert json.loads(answer.out)["plots"] == [str(Path("runs/a/curves.png"))]
    assert "warning: only the curves of runs/a" in answer.err.replace("\\", "/")


def test_a_plot_that_cannot_be_written_does_not_fail_the_command(cli: Cli) -> None:
    cli(*QUICK, "--name", "a")
    Path("runs/a/test-confusion.png").mkdir()

    answer = cli("eval", "a", "--json")

    assert answer.code == 0
    assert len(json.loads(answer.out)["plots"]) == 3
    assert "test-confusion.png: cannot be written" in answer.err


def test_compare_reports_differing_settings_and_significance(cli: Cli, run_folder: Path) -> None:
    for seed in (0, 1):
        cli(*QUICK, "--seed", str(seed), "--name", f"seed{seed}")

    result = json.loads(cli("compare", "seed0", "seed1", run_folder, "--json").out)
    shown = cli("compare", "seed0", run_folder / "model.onnx")

    assert result["images"] == 297
    assert result["differences"]["seed"] == [0, 1, 0]
    assert "weight_decay" in result["differences"]
    assert "device" not in result["differences"]
    pairs = result["pairs"]
    assert len(pairs) == 3
    right = [model["accuracy"] * 297 for model in result["models"]]
    for pair, (first, second) in zip(pairs, [(0, 1), (0, 2), (1, 2)], strict=True):
        gained = pair["only_second_right"] - pair["only_first_right"]
        assert gained == pytest.approx(right[second] - right[first])
        assert pair["significant"] == (pair["p_value"] < 0.05)
    assert "significant" in shown.out
    assert "(p < 0.05)" in shown.out


def test_in_compare_a_pattern_stands_for_the_runs_that_match(cli: Cli) -> None:
    for seed in (0, 1):
        cli(*QUICK, "--seed", str(seed), "--name", f"lr02-seed{seed}")

    shown = cli("compare", "lr02-*", "bundled", "--dataset", "digits")
    table = cli("compare", "lr02-*", "--markdown")
    rows = cli("compare", "lr02-*", "--csv")
    unmatched = cli("compare", "lr03-*", "bundled")
    contradictory = cli("compare", "lr02-*", "--csv", "--json")

    assert all(name in shown.out for name in ("lr02-seed0", "lr02-seed1", "bundled"))
    assert "runs/" not in shown.out
    assert "| [2] | lr02-seed1 | " in table.out
    assert "| seed | 0 | 1 |" in table.out
    assert [row["name"] for row in csv.DictReader(rows.out.splitlines())] == [
        "lr02-seed0",
        "lr02-seed1",
    ]
    assert unmatched.code == 4
    assert "lr03-*: matches no run; runs here: lr02-seed0, lr02-seed1" in unmatched.err
    assert contradictory.code == 2


def test_a_model_does_not_differ_from_its_export(cli: Cli, run_folder: Path, onnx_path: Path) -> None:
    result = json.loads(cli("compare", run_folder, onnx_path, "--json").out)

    (pair,) = result["pairs"]
    assert result["differences"] == {}
    assert (pair["p_value"], pair["significant"]) == (1.0, False)


def test_models_that_cannot_be_compared_are_rejected(
    cli: Cli, run_folder: Path, tmp_path: Path
) -> None:
    alone = cli("compare", run_folder)
    twice = cli("compare", run_folder, run_folder)
    under_two_names = cli("compare", run_folder, run_folder / "model.safetensors")
    unknown = cli("compare", run_folder, "nothing")

    assert (alone.code, unknown.code) == (2, 4)
    assert "compare: 1 model; name two or more" in alone.err
    assert "a model is named twice" in twice.err
    assert "a model is named twice" in under_two_names.err


def test_runs_are_listed_newest_first_and_damaged_ones_are_reported(cli: Cli) -> None:
    empty = cli("runs")
    for name in "ab":
        cli(*QUICK, "--name", name)
    Path("runs/a/config.json").write_text("no")
    cli(*QUICK, "--name", "c")
    Path("runs/c/config.json").write_text(json.dumps(config_of("c") | {"arch": 3}))

    answer = cli("runs", "--json")
    shown = cli("runs", "-q")

    assert "no runs in this folder" in empty.out
    (listed,) = json.loads(answer.out)
    assert (listed["name"], listed["status"], listed["planned_epochs"]) == ("b", "finished", 1)
    for name in "ac":
        assert f"runs/{name}/config.json" in answer.err.replace("\\", "/")
    assert shown.out.splitlines()[1].split()[:4] == ["b", "linear", "linear", "digits"]


def test_recipes_are_listed_with_their_published_results_and_settings(cli: Cli) -> None:
    listed = json.loads(cli("recipes", "--json").out)
    shown = cli("recipes").out

    assert [recipe["name"] for recipe in listed] == list(recipes.read_all())
    for recipe in listed:
        described = cli("recipes", recipe["name"])
        assert shown.count(f"{recipe['name']} ") >= 1
        assert recipe["published"] in described.out
        assert recipe["settings"] == recipes.find_recipe(recipe["name"]).to_json()
        assert json.loads(cli("recipes", recipe["name"], "--json").out) == recipe


def test_the_description_of_a_recipe_marks_settings_that_are_not_the_default(cli: Cli) -> None:
    described = cli("recipes", "mlp-128")
    rows = {line.split()[0]: line.split()[1:] for line in described.out.splitlines() if line.split()}

    assert rows["epochs"] == ["10", "*"]
    assert rows["hidden"] == ["128", "*"]
    assert rows["optimizer"] == ["adam"]
    for heading in ("system", "published", "measured", "differs"):
        assert heading in rows
    assert cli("recipes", "mlp-129").err.count("did you mean 'mlp-128'?") == 1


def test_changes_to_a_listed_recipe_or_architecture_do_not_change_the_original() -> None:
    import mnistctl

    mnistctl.archs()[1].arguments["hidden"].append(3)
    mnistctl.recipes()[0].settings["arch_args"]["hidden"].append(3)

    assert mnistctl.archs()[1].arguments["hidden"] == [128, 64]
    assert mnistctl.recipes()[0].settings["arch_args"]["hidden"] == [256]


def test_architectures_are_listed_with_their_sizes(cli: Cli) -> None:
    listed = {arch["name"]: arch for arch in json.loads(cli("archs", "--json").out)}
    shown = cli("archs").out

    assert listed["mlp"]["parameters"] == 109_386
    assert listed["mlp"]["multiply_adds"] == 784 * 128 + 128 * 64 + 64 * 10
    assert listed["torchvision:vit_b_16"]["input_size"] == 224
    assert all(name in shown for name in listed)


def test_robustness_is_printed_as_a_table_and_drawn(cli: Cli) -> None:
    cli(*QUICK, "--name", "a")

    table = cli("eval", "a", "--robustness", "--no-plots")
    drawn = cli("eval", "a", "--robustness", "--plots", "new/folder", "--json")

    assert (table.code, drawn.code) == (0, 0), drawn.err
    report = json.loads(drawn.out)
    by_name: dict[str, list[float]] = {}
    for row in report["robustness"]:
        by_name.setdefault(row["corruption"], []).append(row["accuracy"])
        assert f"{row['strength']:g}: {100 * row['accuracy']:.2f}%" in table.out
    assert set(by_name) == {how.name for how in CORRUPTIONS}
    assert by_name["shift"][0] > by_name["shift"][-1]
    assert by_name["noise"][0] > by_name["noise"][-1]
    for name in ("reliability", "robustness"):
        with Image.open(f"new/folder/test-{name}.png") as picture:
            assert picture.width > 500
    assert "plots" not in table.out


def test_eval_reports_calibration_and_rejections(cli: Cli) -> None:
    cli(*TRAIN, "--arch", "linear", "--name", "a")
    cli(*QUICK, "--validation-size", "0", "--dataset", "digits", "--name", "b")

    calibrated, bare = (json.loads(cli("eval", name, "--json").out) for name in "ab")
    info = cli("info", "b")

    assert sum(row["images"] for row in calibrated["reliability"]) == calibrated["images"]
    assert 0 < calibrated["calibration_error"] < 0.2
    assert 0 <= calibrated["rejected"] < 0.1
    assert bare["rejected"] is None
    assert "none (too few validation images); no image is rejected" in " ".join(info.out.split())
