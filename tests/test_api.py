import importlib.util

import mnistctl
from mnistctl import errors
from mnistctl.cli.app import app


def test_every_public_name_is_a_function() -> None:
    for name in mnistctl.__all__:
        assert callable(getattr(mnistctl, name))


def test_every_public_function_has_a_command_and_the_reverse() -> None:
    commands = {command.name for command in app.registered_commands}

    # `download --list`, `train --seeds`, `recipes NAME`, `data --recipe`, `tune STUDY --show`
    flags = {"list_datasets", "train_seeds", "recipe", "data_pages", "read_study"}
    parts_of_predict = {"open_model", "open_server", "annotate"}
    functions = set(mnistctl.__all__) - flags - parts_of_predict
    assert commands == {name.replace("evaluate", "eval") for name in functions}


def test_no_module_hides_a_public_function() -> None:
    # Importing a module `mnistctl.train` would replace the function `mnistctl.train`.
    assert not [name for name in mnistctl.__all__ if importlib.util.find_spec(f"mnistctl.{name}")]


def test_every_error_is_in_the_tree_with_its_exit_code() -> None:
    tree = errors.__doc__ or ""
    classes = [item for item in vars(errors).values() if isinstance(item, type)]

    for error_class in classes:
        if issubclass(error_class, errors.MnistctlError):
            line = next(line for line in tree.splitlines() if f"{error_class.__name__} " in line)
            if error_class is not errors.InterruptedRunError:
                assert f" {error_class.exit_code}  " in line
