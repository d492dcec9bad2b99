"""`mnistctl label`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from mnistctl.cli import display, render, terminal_art
from mnistctl.cli.options import CustomClassOption, JsonOption, ModelOption, QuietOption

if TYPE_CHECKING:
    from mnistctl.api.label import Choice, LabelResult, Question

# A name of a class is typed; what else may be done has keys that no name has.
_CHOICES = {" ": "skip", "\x7f": "undo", "\b": "undo", "\x1b": "quit"}
_ACCEPT = ("", "\r", "\n")


def label(
    folder: Annotated[Path, typer.Argument(help="A folder of pictures.")],
    output_folder: Annotated[
        Path, typer.Option("--output", "-o", help="Where copies go, a folder for each class.")
    ] = Path("labelled"),
    model: ModelOption = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into folders inside the folder.")
    ] = False,
    arch: CustomClassOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Label your own pictures, a key for each: a digit files it, Enter accepts the guess.

    The folder is then a dataset: mnistctl train --init bundled --dataset FOLDER.
    """
    import mnistctl

    with display.live(quiet=quiet):
        labelled = mnistctl.label(
            *(folder, _ask),
            output=output_folder,
            model=model,
            recursive=recursive,
            arch=arch,
        )
    render.show(labelled, lambda done: [_summary(done)], as_json=as_json)


def _ask(question: "Question") -> "str | Choice":
    """Show a picture and the guess, and wait for a key that says something."""
    from mnistctl.api.label import Choice

    screen = render.console(stderr=True)
    screen.print(_shown(question), end="")
    guess = question.reading.digits[0].prediction.label
    while True:
        key = _key(question.class_names)
        answer = guess if key in _ACCEPT else key
        if answer in question.class_names:
            screen.print(Text(answer, style="bold"))
            return answer
        choice = _CHOICES.get(key, key)
        if choice in [known.value for known in Choice]:
            screen.print(Text(choice, style="dim"))
            return Choice(choice)


def _shown(question: "Question") -> Text:
    digit = question.reading.digits[0]
    guess = digit.prediction
    if _has_keys(question.class_names):
        name, skip, undo, stop = "its key", "Space", "Backspace", "Esc"
    else:
        name, skip, undo, stop = "its name", "skip", "undo", "quit"
    back = f" · {undo} undoes" if question.can_undo else ""
    return Text.assemble(
        (f"\n{question.place + 1} of {question.count}  {question.reading.file}\n", "dim"),
        "\n".join(terminal_art.dotted(digit.image)),
        "\n",
        (f"{guess.label}? ", "bold"),
        f"{render.percent(guess.probability)}  ",
        (f"Enter accepts · {name} corrects · {skip} skips{back} · {stop} ends  ", "dim"),
    )


def _has_keys(class_names: tuple[str, ...]) -> bool:
    return all(len(name) == 1 for name in class_names)


def _key(class_names: tuple[str, ...]) -> str:
    """What was pressed, or typed where a class has no key; Ctrl-C and the end of input quit."""
    try:
        return str(typer.getchar()) if _has_keys(class_names) else input().strip()
    except (EOFError, KeyboardInterrupt):
        return "quit"


def _summary(labelled: "LabelResult") -> str:
    if not labelled.waited:
        return "nothing to label: every picture has been filed"
    counts = labelled.to_json()
    each = ", ".join(f"{name}: {count}" for name, count in counts["by_class"].items() if count)
    pictures = "picture" if counts["filed"] == 1 else "pictures"
    return f"filed {counts['filed']} {pictures} in {counts['folder']}" + (f" ({each})" if each else "")
