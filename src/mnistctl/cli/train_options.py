"""The options of `train` for the training settings, generated from their declarations."""

import copy
import functools
import inspect
from collections.abc import Callable
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

# The panels of the options that are not settings; all others are in the panel "Run".
_PANELS: dict[str, Panel | None] = {
    "arch_arg": Panel.MODEL,
    "data_dir": Panel.DATA,
    "as_json": None,
    "quiet": None,
}


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Give Typer an option per setting in place of the `**settings` of a command."""
    signature = inspect.signature(function)
    parameters = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(setting)
        )
        for name, setting in OPTIONS.items()
    ]
    parameters += [
        parameter.replace(annotation=_in_panel(parameter.annotation, _PANELS.get(name, Panel.RUN)))
        for name, parameter in signature.parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


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
    return _in_panel(Annotated[kind | None, option], setting.panel)


def _help(setting: Setting) -> str:
    if setting.type is tuple:
        return f"{setting.help.removesuffix('.')}; each {setting.range_text}."
    allowed = f"one of {', '.join(setting.choices)}" if setting.choices else setting.range_text
    return f"{setting.help} {allowed[:1].upper()}{allowed[1:]}." if allowed else setting.help


def _in_panel(annotation: Any, panel: Panel | None) -> Any:
    kind, option = get_args(annotation)
    option = copy.copy(option)
    option.rich_help_panel = panel and panel.value
    return Annotated[kind, option]


def _parse_list(setting: Setting, text: str) -> list[int]:
    try:
        return [int(item) for item in text.split(",")] if text else []
    except ValueError:
        raise UsageError(
            f"{setting.option} {text}: expected whole numbers separated by commas, such as 256,128"
        ) from None
