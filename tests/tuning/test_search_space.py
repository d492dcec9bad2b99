import math
import re
from pathlib import Path
from typing import Any

import pytest

from mnistctl.errors import UsageError
from mnistctl.settings import architectures, recipes
from mnistctl.settings.setting import Setting
from mnistctl.settings.train_settings import OPTIONS, TrainSettings
from mnistctl.tuning import search_space
from mnistctl.tuning.search_space import Dimension

MLP = recipes.for_arch("mlp")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=1e-4..1e-1:log", Dimension("learning_rate", (), 1e-4, 1e-1, is_log=True)),
        ("dropout=0..0.5", Dimension("dropout", (), 0, 0.5)),
        ("dropout=0..0.5:0.1", Dimension("dropout", (), 0, 0.5, step=0.1)),
        ("batch-size=16..512:log", Dimension("batch_size", (), 16, 512, True, is_log=True)),
        ("epochs=1..9:2", Dimension("epochs", (), 1, 9, step=2)),
        ("optimizer=adam,adamw", Dimension("optimizer", ("adam", "adamw"))),
        ("batch_norm=true,false", Dimension("batch_norm", (True, False))),
        ("hidden=64,256-128,none", Dimension("hidden", ((64,), (256, 128), ()))),
        ("learning_rate=0.1,0.01", Dimension("learning_rate", (0.1, 0.01))),
    ],
)
def test_a_search_is_a_range_or_a_list(text: str, expected: Dimension) -> None:
    (dimension,) = search_space.resolve([text], MLP)

    assert dimension == expected
    stored = {dimension.name: dimension.to_json()}
    assert search_space.resolve(stored, MLP) == (dimension,)


def test_a_dictionary_takes_texts_and_lists() -> None:
    space = search_space.resolve({"hidden": [[64], [256, 128]], "dropout": "0..0.5"}, MLP)

    assert space == (Dimension("hidden", ((64,), (256, 128))), Dimension("dropout", (), 0, 0.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate", "expected NAME=VALUES, such as"),
        ("=1..2", "expected NAME=VALUES"),
        ("dropout=", "expected NAME=VALUES"),
        ("learningrate=1e-4..1e-1", "unknown setting 'learningrate'; did you mean 'learning_rate'?"),
        ("learning_rate=..1", "expected LOW..HIGH, LOW..HIGH:log or LOW..HIGH:STEP"),
        ("learning_rate=a..b", "expected LOW..HIGH"),
        ("learning_rate=1..2..3", "expected LOW..HIGH"),
        ("learning_rate=1e-2..1e-4", "an empty range; expected the lower number first"),
        ("dropout=0.1..0.1", "an empty range"),
        ("dropout=0..0.5:log", "a logarithmic range needs numbers above 0"),
        ("dropout=0..0.5:lin", "expected 'log' or a step up to 0.5 after the colon"),
        ("dropout=0..0.5:2", "expected 'log' or a step up to 0.5"),
        ("dropout=0..0.5:0", "expected 'log' or a step up to 0.5"),
        ("dropout=0..1.5", "--search dropout=1.5: expected a number of at least 0 and below 1"),
        ("learning_rate=1e-4..inf", "expected LOW..HIGH"),
        ("learning_rate=nan,0.1", "'nan': expected a number"),
        ("batch_size=16..64:0.5", "takes whole numbers"),
        ("batch_size=1.5..8", "--search batch_size=1.5: expected a whole number"),
        ("optimizer=adam", "expected two or more values"),
        ("optimizer=adam,adam", "expected two or more values, all different"),
        ("optimizer=adam,admaw", "unknown optimizer 'admaw'; did you mean 'adamw'?"),
        ("optimizer=1..3", "optimizer takes text: list values, as in A,B,C"),
        ("batch_norm=yes,no", "'yes': expected true or false"),
        ("hidden=64..128", "hidden takes whole numbers: list values"),
        ("hidden=64,a-b", "'a-b': expected whole numbers, such as 128 or 128-64"),
        ("hidden=64,100000", "--search hidden=100000: expected whole numbers from 1 to 8,192"),
        ("widths=16,32", "architecture 'mlp' takes no argument 'widths'; available: hidden, dropout"),
        ("nesterov=true,false", "--nesterov requires --optimizer sgd"),
    ],
)
def test_a_bad_search_is_one_line_that_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        search_space.resolve([text], MLP)

    assert "\n" not in str(caught.value)


def test_a_setting_that_is_searched_twice_is_rejected() -> None:
    with pytest.raises(UsageError, match="a setting is given twice"):
        search_space.resolve(["dropout=0..0.5", "dropout=0..0.2"], MLP)


@pytest.mark.parametrize("name", sorted(architectures.ARCHITECTURES))
def test_every_architecture_has_a_default_space_around_its_recipe(name: str) -> None:
    settings = recipes.for_arch(name)

    space = search_space.resolve([], settings)

    assert len(space) >= 3
    values = search_space.values_in(settings, space)
    assert set(values) == {dimension.name for dimension in space}
    assert search_space.apply(settings, values) == settings


def test_a_net_of_torchvision_has_a_default_space() -> None:
    space = search_space.resolve([], recipes.for_arch("torchvision:resnet18"))

    assert [dimension.name for dimension in space][:2] == ["learning_rate", "batch_size"]


def choices_of(setting: Setting) -> str:
    """Two values of a setting, as in --search."""
    if setting.choices:
        return ",".join(setting.choices[:2])
    texts = {bool: "true,false", int: "1,2", float: "0.25,0.5"}
    return {"widths": "8-8,16-16", "strides": "1,2", "pools": "1,2"}.get(setting.name) or texts.get(
        setting.type, "3,5"
    )


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - search_space.FIXED))
def test_every_setting_that_is_not_fixed_can_be_searched(name: str) -> None:
    settings = MLP if name in MLP.arch_args else recipes.for_arch("cnn")
    if name == "nesterov":
        settings = settings.replace(optimizer="sgd")

    (dimension,) = search_space.resolve([f"{name}={choices_of(OPTIONS[name])}"], settings)

    first, second = (search_space.apply(settings, {name: choice}) for choice in dimension.choices)
    assert first != second


@pytest.mark.parametrize("name", sorted(search_space.FIXED))
def test_what_trials_are_judged_by_cannot_be_searched(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: this setting is the same for all trials"):
        search_space.resolve([f"{name}=1,2"], MLP)


def test_an_argument_of_a_custom_architecture_is_searched(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("class Net: ...")
    settings = TrainSettings(arch=f"{tmp_path}/net.py:Net")

    space = search_space.resolve(["width=16,32", "activation=relu,gelu", "slope=0.1..0.3"], settings)

    assert [dimension.choices for dimension in space] == [(16, 32), ("relu", "gelu"), ()]
    values = {"width": 32, "activation": "gelu", "slope": 0.2}
    assert dict(search_space.apply(settings, values).arch_args) == values


def test_a_length_in_epochs_takes_the_place_of_the_recipes_minimum() -> None:
    settings = recipes.find_recipe("fast")
    assert settings.min_steps

    assert search_space.apply(settings, {"epochs": 3}).min_steps == 0


@pytest.mark.parametrize(
    ("text", "grid"),
    [
        ("dropout=0..0.5:0.25", [0, 0.25, 0.5]),
        ("batch_size=1..4", [1, 2, 3, 4]),
        ("hidden=8,16-8", ["8", "16-8"]),
    ],
)
def test_a_grid_has_all_values(text: str, grid: list[Any]) -> None:
    (dimension,) = search_space.resolve([text], MLP)

    assert dimension.grid() == grid
    assert all(math.isfinite(value) for value in dimension.grid() if not isinstance(value, str))


def test_a_range_without_a_step_has_no_grid() -> None:
    (dimension,) = search_space.resolve(["dropout=0..0.5"], MLP)

    with pytest.raises(UsageError, match="--sampler grid needs lists of values or a step"):
        dimension.grid()


def test_a_settings_file_has_a_table_of_searches(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text('arch = "mlp"\nepochs = 2\n[search]\ndropout = "0..0.5"\nhidden = [[8], [16, 8]]\n')

    assert search_space.read(path) == {"dropout": "0..0.5", "hidden": [[8], [16, 8]]}

    path.write_text("search = 3\n")
    with pytest.raises(UsageError, match=r"search: expected a table, \[search\]"):
        search_space.read(path)
