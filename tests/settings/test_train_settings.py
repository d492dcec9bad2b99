"""Training settings: checks, changes, and the options that are generated from the declarations."""

import json
from pathlib import Path
from typing import Any

import pytest

import mnistctl
from mnistctl.api.training import run_settings
from mnistctl.errors import UsageError
from mnistctl.settings import architectures, recipes
from mnistctl.settings.setting import Panel, Setting
from mnistctl.settings.train_settings import (
    OPTIMIZERS,
    OPTIONS,
    SCHEDULES,
    SETTINGS,
    TrainSettings,
)
from tests.helpers import Cli

NAMES = {"recipe": "mlp-128", "arch": "linear", "dataset": "digits", "device": "cpu"}


def other_value(setting: Setting) -> Any:
    """A valid value of a setting that is not its default; `init` needs a model and has none here."""
    defaults = setting.default.values() if isinstance(setting.default, dict) else [setting.default]
    default = [*defaults][-1]
    if setting.name == "widths":
        default = setting.default["cnn"]
    if setting.type is tuple:
        return [1 if 2 in default else 2] * len(default)
    candidates = {
        bool: (True, False),
        int: (2, 3),
        float: (0.25, 0.5),
        str: (NAMES.get(setting.name),),
    }.get(setting.type, setting.choices)
    return next(value for value in candidates if value != default)


def as_words(name: str, value: Any) -> list[str]:
    """The words that set a setting on the command line."""
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    return [f"--{option}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]


def value_in(config: dict[str, Any], name: str) -> Any:
    return {**config, **config["arch_args"]}[name]


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "init"])
def test_every_setting_reaches_the_settings_of_a_run_from_its_option(
    name: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = other_value(OPTIONS[name])
    words = () if name in ("recipe", "arch") else ("--arch", "cnn", "--optimizer", "sgd")
    calls: list[dict[str, Any]] = []

    def train(**options: Any) -> None:
        calls.append({key: options[key] for key in OPTIONS})
        raise UsageError("not trained")

    monkeypatch.setattr(mnistctl, "train", train)
    answer = cli("train", *words, *as_words(name, value))

    assert "not trained" in answer.err
    config = run_settings.resolve(None, calls[0]).settings.to_json()
    assert value_in(config, name) == value


def test_the_initial_model_reaches_the_settings_of_a_run(checkpoint_path: Path) -> None:
    settings = run_settings.resolve(None, {"init": str(checkpoint_path)}).settings

    assert settings.init == str(checkpoint_path)


def test_a_run_records_the_settings_of_all_options_in_its_config(cli: Cli) -> None:
    without = ("recipe", "init", "arch", "device", "dataset")
    values = {name: other_value(item) for name, item in OPTIONS.items() if name not in without}
    values |= {"learning_rate": 0.001, "optimizer": "sgd", "subset": 30, "validation_size": 20}
    values |= {"kernels": [3, 3]}  # odd, for --same-padding
    words = [word for name, value in values.items() for word in as_words(name, value)]

    answer = cli(
        "train", *("--arch", "cnn", "--dataset", "digits", "--device", "cpu", "--no-plots"), *words
    )

    assert answer.code == 0, answer.err
    config = json.loads(Path("runs/digits-cnn-1/config.json").read_text())
    assert {name: value_in(config, name) for name in values} == values


@pytest.mark.parametrize("setting", OPTIONS.values(), ids=OPTIONS)
def test_every_option_has_a_panel_and_a_help_sentence(setting: Setting) -> None:
    assert isinstance(setting.panel, Panel)
    assert setting.help.endswith(".")


def test_settings_without_an_option_are_those_that_the_program_fills_in() -> None:
    assert set(SETTINGS) - set(OPTIONS) == {"arch_args", "arch_sha256", "init_sha256"}


def test_every_optimizer_and_schedule_has_defaults() -> None:
    assert tuple(OPTIMIZERS) == SETTINGS["optimizer"].choices
    assert tuple(SCHEDULES) == SETTINGS["schedule"].choices


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", -1),
        ("epochs", 1e308),
        ("epochs", float("nan")),
        ("epochs", float("inf")),
        ("min_steps", -1),
        ("batch_size", 0),
        ("batch_size", 65_537),
        ("learning_rate", 0),
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("weight_decay", -1),
        ("clip_norm", float("nan")),
        ("label_smoothing", 1),
        ("rotate", -1),
        ("scale", 3),
        ("shear", -0.1),
        ("shift", 29),
        ("thickness", 1.1),
        ("seed", -1),
        ("split_seed", 2**63),
        ("validation_size", -1),
        ("subset", 0),
    ],
)
def test_a_value_out_of_range_is_rejected_with_the_name_of_its_option(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} .*: expected a .*number"):
        TrainSettings(**{name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rotate": 999}, "--rotate 999: expected a number from 0 to 180"),
        ({"rotate": 999.0}, "--rotate 999: expected a number from 0 to 180"),
        ({"rotate": 180.0000001}, "--rotate 180.0000001: expected a number from 0 to 180"),
        ({"learning_rate": 0}, "--learning-rate 0: expected a number above 0 and at most 100"),
        ({"warmup": 1}, "--warmup 1: expected a number of at least 0 and below 1"),
        ({"patience": -1}, "--patience -1: expected a whole number of at least 0"),
        ({"seed": 2**63}, "--seed 9223372036854775808: expected a whole number from 0 to 2^63 - 1"),
        ({"epochs": True}, "--epochs True: expected a number above 0 and at most 100,000"),
        ({"batch_size": 2.5}, "--batch-size 2.5: expected a whole number from 1 to 65,536"),
        ({"nesterov": 1}, "--nesterov 1: expected true or false"),
        ({"dataset": 3}, "--dataset 3: expected text"),
        ({"arch_args": 3}, "--arch-args 3: expected a table"),
        ({"optimizer": "sdg"}, "unknown optimizer 'sdg'; did you mean 'sgd'?"),
        ({"precision": "half"}, "unknown precision 'half'; available: auto, float32, bf16"),
        ({"schedule": 3}, "--schedule 3: expected one of constant, step, cosine, one-cycle"),
    ],
)
def test_an_error_states_what_was_expected(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainSettings(**values)

    assert str(caught.value) == message


def test_replace_rejects_a_wrong_value_like_the_constructor() -> None:
    with pytest.raises(UsageError, match="--schedule 3: expected one of"):
        TrainSettings().replace(schedule=3)


def test_a_whole_number_is_accepted_for_a_number_and_kept() -> None:
    assert json.dumps(TrainSettings(epochs=7).to_json()["epochs"]) == "7"


def test_an_unknown_argument_of_a_net_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"takes no argument 'depth'; available: .*hidden"):
        TrainSettings(arch="mlp", arch_args={"depth": 3})


def test_settings_contain_every_argument_of_the_net() -> None:
    settings = TrainSettings(arch="mlp", arch_args={"hidden": [32]})

    assert settings.to_json()["arch_args"] == {"hidden": [32], "dropout": 0.0, "batch_norm": False}


def test_replace_ignores_settings_that_are_none() -> None:
    settings = TrainSettings(epochs=7)

    assert settings.replace(epochs=None, seed=3) == TrainSettings(epochs=7, seed=3)


def test_a_change_of_architecture_resets_the_arguments_of_the_net() -> None:
    settings = TrainSettings(arch="cnn", arch_args={"hidden": [8]}).replace(arch="mlp")

    assert dict(settings.arch_args) == dict(architectures.ARCHITECTURES["mlp"].arguments)


def test_settings_survive_a_round_trip_through_json() -> None:
    settings = recipes.find_recipe("cnn")

    assert TrainSettings(**json.loads(json.dumps(settings.to_json()))) == settings
