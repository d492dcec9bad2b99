"""Commands with plain help, plain errors, and a suggestion for a typo."""

import contextlib
import functools
import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from mnistctl.errors import UsageError, nearest, shorten, unknown_name


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters of the help."""
        return _simplify(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. `eval --model X` is the same as `eval X`."""
        parameters = self.get_params(ctx)
        flags = {flag for parameter in parameters for flag in parameter.opts}
        for parameter in parameters:
            flag = f"--{parameter.name}"
            if isinstance(parameter, TyperArgument) and parameter.nargs == 1 and flag not in flags:
                names = [flag] if flag in args[:-1] else []  # the last one lacks its value
                args = [item.removeprefix(f"{flag}=") for item in args if item not in names]
        with _plain_errors(ctx):
            return super().parse_args(ctx, args)


class Group(TyperGroup):
    """The program."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters of the help."""
        return _simplify(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. `help COMMAND` is the same as `COMMAND --help`."""
        with _plain_errors(ctx):
            return super().parse_args(ctx, [*args[1:2], "--help"] if args[:1] == ["help"] else args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise unknown_name("command", args[0], self.commands, see="mnistctl --help")
        return super().resolve_command(ctx, args)


def _simplify(parameters: Any) -> Any:
    """Show flags without a type and a default, and arguments without a type and braces."""
    for parameter in parameters:
        if isinstance(parameter, TyperArgument):
            name = parameter.display_name_raw
            usage = name if parameter.required else f"[{name}]"
            usage += "" if parameter.nargs == 1 else "..."
            parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
            parameter.get_usage_pieces = functools.partial(  # type: ignore[method-assign]
                lambda usage, ctx: [usage], usage
            )
        elif parameter.is_flag:
            parameter.metavar = ""  # Typer shows <bool>
            parameter.show_default = False
    return parameters


@contextlib.contextmanager
def _plain_errors(ctx: Any) -> Iterator[None]:
    """Raise the errors of Typer as UsageError, in plain words and with a suggestion."""
    try:
        yield
    except typer.TyperException as error:
        message = error.format_message()
        if not message.strip():  # Typer has printed the help, because there are no arguments
            raise
        if unknown := re.match("No such option: (.*)", message):
            message = f"unknown option '{shorten(unknown.group(1).split(' (Possible')[0])}'"
            message += _suggested_option(error, ctx)
        elif extra := re.match(r"Got unexpected extra argument\(?s?\)? \((.*)\)", message, re.DOTALL):
            message = f"unexpected argument '{shorten(extra.group(1))}'"
            message += _suggested_name(extra.group(1), ctx)
        message = _in_plain_words(message)
        end = "" if message.endswith("?") else "."
        raise UsageError(f"{message}{end} Try '{ctx.command_path} --help'") from None


def _suggested_option(error: Any, ctx: Any) -> str:
    """The nearest option with its usage."""
    options = {flag: parameter for parameter in ctx.command.get_params(ctx) for flag in parameter.opts}
    match = nearest(error.option_name, [flag for flag in options if flag.startswith("--")])
    if match is None:
        return ""
    usage = f"{match} {options[match].metavar or ''}".rstrip()
    return f"; did you mean '{usage}'? {(options[match].help or '').rstrip('.')}"


def _suggested_name(name: str, ctx: Any) -> str:
    """The option of `train` that takes this name."""
    from mnistctl.datasets import catalog
    from mnistctl.settings import architectures, recipes

    registries = {
        "--arch": architectures.sizes(),
        "--recipe": recipes.read_all(),
        "--dataset": catalog.DATASETS,
    }
    matches = [option for option, names in registries.items() if name in names]
    is_train = ctx.command.name == "train"
    return f"; did you mean '{matches[0]} {name}'?" if matches and is_train else ""


def _in_plain_words(message: str) -> str:
    """A message of Typer without the phrases of Pydantic, which checks the values."""
    message = message.replace("Value error, ", "").partition(", unable to parse")[0]
    message = message.replace("a valid integer", "a whole number").replace("a valid number", "a number")
    return message.replace("Input should be", "expected").rstrip(".")
