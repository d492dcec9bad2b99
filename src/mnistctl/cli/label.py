"""`mnistctl label`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from mnistctl.cli import display, render, terminal_art
from mnistctl.cli.options import CustomClassOption, JsonOption, ModelOption, QuietOption

if TYPE_CHECKING:
    from mnistctl.api.label import Choice, LabelResult, Question

# Class names are typed, so other actions have keys that no class name contains.
_ACTIONS = {" ": "skip", "\x7f": "undo", "\b": "undo", "\x1b": "quit"}
_ACCEPT = ("", "\r", "\n")


def label(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with the pictures.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder for the copies, with a sub-folder per class.",
        ),
    ] = Path("labelled"),
    model: ModelOption = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Search sub-folders too.")
    ] = False,
    arch: CustomClassOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Label your own pictures by key press.

    The model suggests a label. Enter accepts it, a digit key corrects it. Each picture is copied to the
    sub-folder of its class, so the output folder is a dataset that 'mnistctl train' accepts.
    """
    import mnistctl

    with display.live(quiet=quiet):
        result = mnistctl.label(
            folder, _ask, output=output, model=model, recursive=recursive, arch=arch
        )
    render.show(result, _render, as_json=as_json)


def _ask(question: "Question") -> "str | Choice":
    """Show a picture and the suggested label, and wait for a key with a meaning."""
    from mnistctl.api.label import Choice

    screen = render.console(stderr=True)
    screen.print(_prompt(question), end="")
    suggestion = question.result.digits[0].prediction.label
    choices = {choice.value for choice in Choice}
    while True:
        key = _read_key(question.class_names)
        answer = suggestion if key in _ACCEPT else key
        if answer in question.class_names:
            screen.print(Text(answer, style="bold"))
            return answer
        action = _ACTIONS.get(key, key)
        if action in choices:
            screen.print(Text(action, style="dim"))
            return Choice(action)


def _prompt(question: "Question") -> Text:
    digit = question.result.digits[0]
    suggestion = digit.prediction
    if _have_keys(question.class_names):
        name, skip, undo, stop = "its key", "Space", "Backspace", "Esc"
    else:
        name, skip, undo, stop = "its name", "skip", "undo", "quit"
    undo_help = f"{undo}: undo · " if question.can_undo else ""
    return Text.assemble(
        (f"\n{question.index + 1} of {question.count}  {question.result.file}\n", "dim"),
        "\n".join(terminal_art.braille_art(digit.image)),
        "\n",
        (f"{suggestion.label}? ", "bold"),
        f"{render.percent(suggestion.probability)}  ",
        (f"Enter: accept · {name}: another class · {skip}: skip · {undo_help}{stop}: quit  ", "dim"),
    )


def _have_keys(class_names: tuple[str, ...]) -> bool:
    return all(len(name) == 1 for name in class_names)


def _read_key(class_names: tuple[str, ...]) -> str:
    """One key, or one line where class names are longer; Ctrl-C and the end of input quit."""
    try:
        return str(typer.getchar()) if _have_keys(class_names) else input().strip()
    except (EOFError, KeyboardInterrupt):
        return "quit"


def _render(result: "LabelResult") -> Iterator[str]:
    if not result.unlabelled:
        yield "nothing to label: all pictures have a label"
        return
    counts = result.to_json()
    noun = "picture" if counts["filed"] == 1 else "pictures"
    classes = ", ".join(f"{name}: {count}" for name, count in counts["by_class"].items() if count)
    details = f" ({classes})" if classes else ""
    yield f"labelled {counts['filed']} {noun} in {counts['folder']}{details}"
