"""The options of `train` and `tune` for the training settings, generated from their declarations."""

import copy
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args

import typer

from mnistctl.cli.completion import (
    complete_archs,
    complete_datasets,
    complete_devices,
    complete_models,
    complete_recipes,
)
from mnistctl.errors import UsageError
from mnistctl.settings.setting import Panel, Setting
from mnistctl.settings.train_settings import OPTIONS

_COMPLETIONS: dict[str, Callable[[str], Any]] = {
    "recipe": complete_recipes,
    "arch": complete_archs,
    "dataset": complete_datasets,
    "device": complete_devices,
    "init": complete_models,
}

_NAMES = {"learning_rate": ("--learning-rate", "--lr")}  # of options with more than one

_METAVARS = {int: "N", float: "VALUE", tuple: "LIST"}  # others: NAME

# The panels of options that are not settings; all others are in the command's own panel.
_PANELS: dict[str, str | None] = {
    "study": None,
    "arch_arg": Panel.MODEL.value,
    "data_dir": Panel.DATA.value,
    "config": Panel.RUN.value,
    "as_json": None,
    "as_json_lines": None,
    "quiet": None,
}


ArchArgumentOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Argument of the net, such as width=32 for a custom architecture; VALUE is TOML or text. "
        "Can be repeated.",
    ),
]


def with_settings(
    panel: str, *, settings_first: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give Typer an option per setting in place of the `**settings` of a command.

    Args:
        panel: of the options that are not settings.
        settings_first: whether `--help` shows the settings above the other options.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function)
        settings = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(setting)
            )
            for name, setting in OPTIONS.items()
        ]
        others = [
            parameter.replace(annotation=_in_panel(parameter.annotation, _PANELS.get(name, panel)))
            for name, parameter in signature.parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        parameters = [*settings, *others] if settings_first else [*others, *settings]
        parameters.sort(key=lambda parameter: parameter.kind)  # an argument is before all options
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return decorate


def _option(setting: Setting) -> Any:
    option = typer.Option(
        *_NAMES.get(setting.name, ()),
        help=_help(setting),
        metavar="MODEL" if setting.name == "init" else _METAVARS.get(setting.type, "NAME"),
        show_default=setting.default_note or False,
        autocompletion=_COMPLETIONS.get(setting.name),
    )
    kind = setting.type
    if kind is tuple:
        kind = Any
        option.parser = functools.partial(_parse_list, setting)
    return _in_panel(Annotated[kind | None, option], setting.panel and setting.panel.value)


def _help(setting: Setting) -> str:
    if setting.type is tuple:
        return f"{setting.help.removesuffix('.')}; each {setting.range_text}."
    allowed = f"one of {', '.join(setting.choices)}" if setting.choices else setting.range_text
    return f"{setting.help} {allowed[:1].upper()}{allowed[1:]}." if allowed else setting.help


def _in_panel(annotation: Any, panel: str | None) -> Any:
    kind, option = get_args(annotation)
    option = copy.copy(option)
    option.rich_help_panel = panel
    return Annotated[kind, option]


def _parse_list(setting: Setting, text: str) -> list[int]:
    try:
        return [int(item) for item in text.split(",")] if text else []
    except ValueError:
        raise UsageError(
            f"{setting.option} {text}: expected whole numbers separated by commas, such as 256,128"
        ) from None


def parse_arguments(texts: Sequence[str] | None) -> dict[str, Any] | None:
    """The arguments of the net that `--arch-arg` gives; None: none.

    Raises:
        UsageError: a text is not NAME=VALUE.
    """
    return dict(map(_parse_argument, texts)) if texts else None


def _parse_argument(text: str) -> tuple[str, Any]:
    import tomllib  # 1 ms, which `--help` does without

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--arch-arg {text}: expected NAME=VALUE, such as width=32")
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return name, value
