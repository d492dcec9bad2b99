"""`mnistctl label`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from mnistctl.cli import display, render, terminal_art
from mnistctl.cli.options import CustomClassOption, JsonOption, ModelOption, QuietOption
from mnistctl.errors import UsageError, printable

if TYPE_CHECKING:
    from mnistctl.api.label import Choice, LabelResult, Question

# Class names may be typed, so other actions have keys that no class name contains.
_ACTIONS = {" ": "skip", "\x7f": "undo", "\b": "undo", "\x1b": "quit"}
_ACCEPT = ("", "\r", "\n")
_ADD = "+"
_MAX_NAMES = 20  # class names in a message


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
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="The only possible classes.",
            show_default="those of the model, and new ones after the key +",
        ),
    ] = None,
    model: ModelOption = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Search sub-folders too.")
    ] = False,
    arch: CustomClassOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Label your own pictures by key press.

    The model suggests a label. Enter accepts it, the key of another class corrects it. Each picture is
    copied to the sub-folder of its class, so the output folder is a dataset that 'mnistctl train'
    accepts.
    """
    if not _is_terminal():
        raise UsageError("label needs a terminal")
    import mnistctl

    keyboard = _Keyboard()
    with display.live(quiet=quiet):
        result = mnistctl.label(
            folder,
            keyboard.ask,
            output=output,
            classes=[name.strip() for name in classes.split(",")] if classes else None,
            model=model,
            recursive=recursive,
            arch=arch,
        )
    render.show(result, _render, as_json=as_json)
    if keyboard.interrupted:
        raise KeyboardInterrupt


def _is_terminal() -> bool:
    """Whether keys can be read, and pictures be shown; a closed stream is None."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


class _Keyboard:
    """Asks for labels on the terminal: one key, or one line where class names are longer."""

    def __init__(self) -> None:
        self.interrupted = False  # by Ctrl-C

    def ask(self, question: "Question") -> "str | Choice":
        """Show a picture and the suggested label, and wait for an answer."""
        from mnistctl.api.label import Choice

        screen = render.console(stderr=True)
        screen.print(_prompt(question), end="  ")
        try:
            while True:
                try:
                    answer = _answer(question)
                except UsageError as error:
                    screen.print(Text(f"\n{error}", style="yellow"), end="  ")
                    continue
                if isinstance(answer, str):
                    screen.print(Text(answer, style="bold"))
                else:
                    screen.print(Text(answer.value, style="dim"))
                return answer
        except KeyboardInterrupt:
            self.interrupted = True
        except (EOFError, OSError):  # Ctrl-D, or the terminal is gone
            pass
        return Choice.QUIT


def _answer(question: "Question") -> "str | Choice":
    """Read one answer.

    Raises:
        UsageError: it has no meaning.
    """
    from mnistctl.api.label import Choice, check_class

    names = question.class_names
    text = str(typer.getchar()) if _have_keys(names) else _read_line()
    if "\x03" in text:  # Ctrl-C between other keys
        raise KeyboardInterrupt
    if text in _ACCEPT and question.suggestion is not None:
        return question.suggestion
    if text in names:
        return text
    other_case = [name for name in names if name.casefold() == text.casefold()]
    if len(other_case) == 1:
        return other_case[0]
    action = _ACTIONS.get(text, text)
    if action in {choice.value for choice in Choice}:
        return Choice(action)
    if text.startswith(_ADD) and question.can_add:
        name = text.removeprefix(_ADD).strip()
        if not name:
            render.console(stderr=True).print("new class:", end="  ")
            name = _read_line()
        check_class(name)
        return name
    listed = ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")
    raise UsageError(f"'{printable(text)}' is not a class; classes: {listed}")


def _read_line() -> str:
    try:
        return input().strip()
    except UnicodeDecodeError:
        return "\ufffd"


def _prompt(question: "Question") -> Text:
    digit = question.result.digits[0]
    if _have_keys(question.class_names):
        name, skip, undo, stop = "its key", "Space", "Backspace", "Esc"
    else:
        name, skip, undo, stop = "its name", "skip", "undo", "quit"
    actions = [f"{name}: another class", f"{skip}: skip", f"{undo}: undo", f"{stop}: quit"]
    if not question.can_undo:
        del actions[2]
    suggestion: list[tuple[str, str]] = []
    if question.suggestion is not None:
        actions.insert(0, "Enter: accept")
        suggestion = [
            (f"{question.suggestion}? ", "bold"),
            (f"{render.percent(digit.prediction.probability)}  ", ""),
        ]
    if question.can_add:
        actions.insert(-1, f"{_ADD}: new class")
    return Text.assemble(
        (f"\n{question.index + 1} of {question.count}  {printable(question.result.file)}\n", "dim"),
        "\n".join(terminal_art.braille_art(digit.image)),
        "\n",
        *suggestion,
        (" · ".join(actions), "dim"),
    )


def _have_keys(class_names: tuple[str, ...]) -> bool:
    return all(len(name) == 1 for name in class_names)


def _render(result: "LabelResult") -> Iterator[str]:
    if not result.unlabelled:
        yield "nothing to label: all pictures have a label"
        return
    counts = result.to_json()
    noun = "picture" if counts["filed"] == 1 else "pictures"
    classes = ", ".join(f"{name}: {count}" for name, count in counts["by_class"].items() if count)
    details = f" ({classes})" if classes else ""
    yield f"labelled {counts['filed']} {noun} in {counts['folder']}{details}"
