import mnistctl
from mnistctl import errors
from mnistctl.cli.app import app


def test_all_names_are_there_and_no_verb_is_missing() -> None:
    for name in mnistctl.__all__:
        assert callable(getattr(mnistctl, name))


def test_the_command_line_has_the_same_verbs() -> None:
    commands = {command.name for command in app.registered_commands}

    options = {"list_datasets", "train_seeds"}  # `download --list`, `train --seeds`
    parts_of_predict = {"open_model", "annotate"}
    verbs = set(mnistctl.__all__) - options - parts_of_predict
    assert commands == {name.replace("evaluate", "eval") for name in verbs}


def test_modules_never_hide_a_verb() -> None:
    # A module of a verb's name would take its place the moment it is imported.
    import importlib.util

    assert not [name for name in mnistctl.__all__ if importlib.util.find_spec(f"mnistctl.{name}")]


def test_every_error_is_drawn_in_the_tree_with_its_exit_code() -> None:
    drawn = errors.__doc__ or ""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]

    for kind in kinds:
        if issubclass(kind, errors.MnistctlError):
            line = next(line for line in drawn.splitlines() if f"{kind.__name__} " in line)
            if kind is not errors.InterruptedRunError:
                assert f" {kind.exit_code}  " in line
