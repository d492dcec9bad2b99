"""Studies in this process: their trials, what they are judged by, and what is left of them."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from safetensors.numpy import load_file

import mnistctl
from mnistctl import datasets
from mnistctl.api import train
from mnistctl.errors import DataError, DivergedError, UsageError
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.tuning import definition as definitions
from mnistctl.tuning import result as results
from mnistctl.tuning import storage, worker
from mnistctl.tuning import trial as trials
from mnistctl.tuning import tune as tuning
from mnistctl.tuning.study import Goal, Study, folder_of
from mnistctl.tuning.worker import Task
from tests.helpers import SimulatedKill
from tests.tuning.conftest import TINY, search


def finished(result: results.TuneResult) -> list[tuple[Any, ...]]:
    """What a search has found, without times."""
    return [
        (trial.number, trial.state, trial.settings, trial.objectives, trial.epochs)
        for trial in result.trials
    ]


def test_the_first_trial_has_the_settings_of_the_recipe() -> None:
    result = search("a", trials=1, search=["learning_rate=1e-4..1e-1:log", "batch_size=128,256"])

    assert result.trials[0].settings == {"learning_rate": 0.003, "batch_size": 256}


def test_a_trial_is_a_run_with_its_own_settings_and_metrics() -> None:
    result = search("a", trials=2)

    for trial in result.trials:
        (folder,) = trial.runs
        settings = json.loads((Path(folder) / "config.json").read_text())
        values = settings | settings["arch_args"]
        assert {name: values[name] for name in trial.settings} == trial.settings
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
        assert max(json.loads(line)["validation_accuracy"] for line in lines) == (
            trial.validation_accuracy
        )


def test_no_trial_reads_the_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    original = datasets.load

    def load(name: str, split: str, **options: Any) -> datasets.Split:
        loaded.append(split)
        return original(name, split, **options)

    monkeypatch.setattr(datasets, "load", load)

    search("a", trials=2)
    assert "test" not in loaded

    search("a", trials=2, confirm=1)
    assert loaded.count("test") == 1


def test_the_confirmation_has_other_seeds_and_holds_out_other_images() -> None:
    result = search("a", trials=2, confirm=2)

    settings = [
        json.loads((Path(item.run) / "config.json").read_text()) for item in result.confirmations
    ]
    (best,) = result.best_trial.runs
    searched = json.loads((Path(best) / "config.json").read_text())
    assert [item["seed"] for item in settings] == [1, 2]
    held_out = [
        {image.tobytes() for image in datasets.load("digits", "validation", split_seed=seed).images}
        for seed in (searched["split_seed"], settings[0]["split_seed"])
    ]
    assert not held_out[0] & held_out[1]
    changed = {name for name in searched if searched[name] != settings[0][name]}
    assert changed == {"seed", "split_seed"}
    accuracies = [item.validation_accuracy for item in result.confirmations]
    assert result.confirmed_accuracy == pytest.approx(sum(accuracies) / 2)
    assert result.confirmed_difference == pytest.approx(
        result.confirmed_accuracy - result.best_trial.validation_accuracy
    )


def test_only_the_best_trial_keeps_its_weights() -> None:
    result = search("a", trials=4)

    kept = [
        trial.number for trial in result.trials if (Path(trial.runs[0]) / "model.safetensors").exists()
    ]
    assert kept == [result.best]


def test_all_weights_are_kept_on_request() -> None:
    result = search("a", trials=3, keep="all")

    assert all((Path(trial.runs[0]) / "last.safetensors").exists() for trial in result.trials)


def test_the_best_of_equally_accurate_trials_has_the_lower_loss() -> None:
    result = search("a", trials=6, subset=30, epochs=1)

    best = result.best_trial
    equal = [trial for trial in result.trials if trial.objectives == best.objectives]
    assert best.validation_loss == min(trial.validation_loss for trial in equal)
    assert best.validation_accuracy == max(
        trial.validation_accuracy for trial in result.trials if trial.objectives
    )


def test_a_trial_of_several_seeds_is_their_mean() -> None:
    result = search("a", trials=2, seeds=3, pruner="none")

    for trial in result.trials:
        accuracies = [
            json.loads((Path(run) / "result.json").read_text())["validation_accuracy"]
            for run in trial.runs
        ]
        assert len(accuracies) == 3
        assert trial.objectives["accuracy"] == pytest.approx(sum(accuracies) / 3)


def test_a_bad_trial_is_pruned_before_its_last_seed() -> None:
    rates = ["learning_rate=0.003,1e-6"]

    result = search("a", trials=6, seeds=6, search=rates, sampler="random", subset=500)

    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert trial.settings["learning_rate"] == 1e-6
        assert not (Path(trial.runs[-1]) / "result.json").exists()


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_bad_trial_is_pruned_before_its_last_epoch(pruner: str) -> None:
    rates = ["learning_rate=0.003,1e-6,1e-5,1e-4"]

    result = search("a", trials=12, search=rates, sampler="random", pruner=pruner, epochs=6, hidden=[8])

    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.epochs < 6 and not trial.objectives for trial in pruned)
    assert result.best_trial.settings["learning_rate"] == 0.003


@pytest.mark.parametrize("sampler", definitions.SAMPLERS)
def test_a_search_that_was_interrupted_has_the_same_trials(
    sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "sampler": sampler,
        "trials": 12,
        "keep": "all",
        "pruner": "median",
        "epochs": 3,
    }
    if sampler == "grid":
        options["search"] = ["hidden=8,16", "batch_size=32,64,100", "learning_rate=0.001,0.01"]
    reference = search("a", **options)

    # Killed in turn after an epoch, before a trial is finished, and between trials.
    calls = dict.fromkeys(("after_epoch", "finish", "claim_trial"), 0)

    def kill_at(owner: type, name: str, moments: set[int]) -> None:
        original = getattr(owner, name)

        def call(*arguments: Any) -> Any:
            calls[name] += 1
            if calls[name] in moments:
                raise SimulatedKill
            return original(*arguments)

        monkeypatch.setattr(owner, name, call)

    kill_at(trials._Reporter, "after_epoch", {2, 9, 20})
    kill_at(Study, "finish", {3, 8})
    kill_at(Study, "claim_trial", {1, 5})
    kills = 0
    while True:
        try:
            killed = search("b", **options)
            break
        except SimulatedKill:
            kills += 1

    assert kills == 7
    assert finished(killed) == finished(reference)
    for trial in reference.trials:
        if trial.state == "complete":
            other = Path(trial.runs[0].replace("/a/", "/b/"))
            weights = [load_file(run / "last.safetensors") for run in (Path(trial.runs[0]), other)]
            assert {name: value.tobytes() for name, value in weights[0].items()} == {
                name: value.tobytes() for name, value in weights[1].items()
            }


def test_values_that_are_impossible_together_fail_their_trial_and_no_other() -> None:
    options: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9}

    result = search(
        "a", trials=6, search=["momentum=0,0.9", "nesterov=true,false"], sampler="grid", **options
    )

    failed = [trial for trial in result.trials if trial.state == "failed"]
    assert [trial.settings for trial in failed] == [{"momentum": 0, "nesterov": True}]
    assert "--nesterov requires" in failed[0].error
    assert len(result.trials) == 4


def test_a_trial_that_diverges_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = train.train_folder

    def diverge(folder: Path, settings: TrainSettings, **options: Any) -> train.TrainResult:
        if settings.learning_rate == 50:
            raise DivergedError("diverged in epoch 1")
        return original(folder, settings, **options)

    monkeypatch.setattr(train, "train_folder", diverge)

    result = search("a", trials=3, search=["learning_rate=0.003,50"], sampler="grid")

    failed = [trial for trial in result.trials if trial.state == "failed"]
    assert [trial.settings for trial in failed] == [{"learning_rate": 50}]
    assert "diverged" in failed[0].error


def test_several_objectives_give_a_pareto_front() -> None:
    result = search("a", trials=8, objective="accuracy,parameters", search=["hidden=4,8,16,32,64"])

    points = {trial.number: trial.objectives for trial in result.trials}
    for number in result.front:
        accuracy, parameters = points[number].values()
        assert not any(
            other["accuracy"] >= accuracy
            and other["parameters"] <= parameters
            and other != points[number]
            for other in points.values()
        )
    assert result.best in result.front
    assert points[result.best]["accuracy"] == max(point["accuracy"] for point in points.values())


def test_the_multiply_adds_of_a_linear_net_are_its_weights() -> None:
    result = search("a", trials=1, arch="mlp", search=["hidden=8,16"], objective="multiply_adds")

    (size,) = result.trials[0].settings["hidden"]
    assert result.trials[0].objectives == {"multiply_adds": 784 * size + size * 10}


def test_the_best_settings_are_written_as_a_file_that_train_takes() -> None:
    result = search("a", trials=3, keep="all")

    again = mnistctl.train(config=result.config, plots=False)

    (folder,) = result.best_trial.runs
    settings = [json.loads((Path(run) / "config.json").read_text()) for run in (folder, again.run)]
    assert settings[0] == settings[1]
    assert again.validation_accuracy == result.best_trial.validation_accuracy
    text = Path(result.config).read_text()
    assert tomllib.loads(text)["arch"] == "mlp"
    searched = text.split("# searched\n")[1].split("\n\n")[0]
    assert {line.split(" = ")[0] for line in searched.splitlines()} == set(result.best_trial.settings)


def test_a_run_of_a_trial_can_be_named_by_the_other_commands() -> None:
    result = search("a", trials=2)

    run = f"a/trial-{result.best}"
    assert mnistctl.evaluate(run, plots=False).accuracy > 0.1
    assert mnistctl.plot(["a/trial-0", "a/trial-1"], output=Path("both.png")).plots  # one has no model
    (export,) = mnistctl.export(run)
    assert Path(export.path).is_file()
    longer = mnistctl.train(resume=run, epochs=3, plots=False)
    assert longer.epochs == 3


def test_a_finished_study_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = search("a", trials=2, confirm=1)
    monkeypatch.setattr(train, "train_folder", lambda *args, **options: pytest.fail("trained"))

    assert finished(search("a", trials=2, confirm=1)) == finished(first)


def test_a_study_continues_to_a_larger_number_of_trials() -> None:
    first = search("a", trials=2)

    more = search("a", trials=4)

    assert len(more.trials) == 4
    assert finished(more)[:2] == finished(first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": ["learning_rate=1e-4..1e-2:log"]}, "exists and is another one: learning_rate is"),
        ({"epochs": 3}, "exists and is another one: epochs is 2, not 3"),
        ({"sampler": "random"}, "exists and is another one: sampler is tpe, not random"),
        ({"objective": "loss"}, "exists and is another one: objectives is"),
    ],
)
def test_a_study_of_another_space_is_not_joined(options: dict[str, Any], message: str) -> None:
    search("a", trials=1)

    with pytest.raises(UsageError, match=message):
        search("a", trials=2, **options)


def test_a_study_of_another_version_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    search("a", trials=1)
    monkeypatch.setattr(mnistctl, "__version__", "9.0.0")

    with pytest.raises(UsageError, match=r"was started with mnistctl 0\.1\.0; this is 9\.0\.0"):
        search("a", trials=2)


def test_a_study_with_other_data_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    search("a", trials=1)
    original = datasets.splits.Split.all_sha256
    monkeypatch.setattr(datasets.splits.Split, "all_sha256", property(lambda self: "0" * 64))

    with pytest.raises(UsageError, match="the data of 'digits' is not the same here: SHA-256 000000"):
        search("a", trials=2)
    assert original is not None


def test_a_folder_that_holds_a_run_of_another_study_is_not_overwritten() -> None:
    search("a", trials=1)
    (folder_of("a") / "study.journal").unlink()

    with pytest.raises(UsageError, match="a run with other settings; move it elsewhere or delete it"):
        search("a", trials=1, learning_rate=0.5, search=["hidden=8,16"])


def test_a_journal_that_was_cut_off_in_a_line_is_read_and_continued() -> None:
    search("a", trials=2)
    journal = folder_of("a") / storage.JOURNAL
    content = journal.read_bytes()
    journal.write_bytes(content[:-20])

    result = search("a", trials=3)

    assert len(result.trials) == 3
    assert len(search("a", trials=3).trials) == 3


def test_a_damaged_journal_is_reported() -> None:
    search("a", trials=1)
    journal = folder_of("a") / storage.JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b"nonsense\n", *lines[2:]]))

    with pytest.raises(DataError, match=r"study\.journal: damaged"):
        search("a", trials=2)


def test_a_trial_that_another_process_runs_is_left_to_it() -> None:
    definition = tuning.define("mlp", TINY, data_dir=None)
    folder_of("a").mkdir(parents=True)
    with Study.open("a", None, definition=definition) as first:
        first.set_goal(Goal(1, 0, "best"))
        trial = first.claim_trial()
        assert trial is not None

        with Study.open("a", None) as second:
            assert second.claim_trial() is None
            assert second.is_claimed(second.trials()[0])

            first.release(trial)
            assert not second.is_claimed(second.trials()[0])
            taken = second.claim_trial()
            assert taken is not None
            assert (taken.number, taken.params) == (trial.number, trial.params)
            assert first.claim_trial() is None


def test_a_killed_process_does_not_lock_the_journal() -> None:
    definition = tuning.define("mlp", TINY, data_dir=None)
    folder_of("a").mkdir(parents=True)
    with Study.open("a", None, definition=definition) as study:
        study.set_goal(Goal(1, 0, "best"))
    for file in (folder_of("a") / ".locks").iterdir():
        assert file.is_file()  # what a killed process leaves: files that nobody has locked

    worker.work(Task("a", None, None, is_search=True))

    with Study.open("a", None) as study:
        assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE]
