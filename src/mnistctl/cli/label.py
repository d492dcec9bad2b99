"""`mnistctl label`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from mnistctl.cli import drawing, output, watching
from mnistctl.cli.options import JsonOption, ModelOption, OwnClassOption, QuietOption

if TYPE_CHECKING:
    from mnistctl.workflows.labelling import Labelling
    from mnistctl.workflows.predicting import Reading

_SKIP, _UNDO, _QUIT = "s", "u", "q"
_ACCEPT = "\r\n"
_FEW = 10  # classes that one key each can name: 0 is the first


def label(
    folder: Annotated[Path, typer.Argument(help="A folder of pictures.")],
    output_folder: Annotated[
        Path, typer.Option("--output", "-o", help="Where copies go, a folder for each class.")
    ] = Path("labelled"),
    model: ModelOption = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into folders inside the folder.")
    ] = False,
    arch: OwnClassOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Label your own pictures, a key for each: a digit files it, Enter accepts the guess.

    The folder is then a dataset: mnistctl train --init bundled --dataset FOLDER.
    """
    from mnistctl import workflows

    with watching.watcher(quiet=quiet) as watcher:
        reader = workflows.open_reader(model, reject=False, arch=arch, watcher=watcher)
    labelling = workflows.Labelling(reader, output_folder, list(reader.predictor.metadata.class_names))
    waiting = labelling.waiting(folder, recursive=recursive)
    screen = output.console(stderr=True)
    if not waiting:
        screen.print("nothing to label: every picture has been filed")
    place = 0
    while place < len(waiting):
        (reading,) = labelling.read([waiting[place]])
        if reading.error is not None:
            output.complain(reading.error)
            place += 1
            continue
        screen.print(_shown(reading, labelling, place, len(waiting)), end="")
        place = _act(labelling, waiting, place, reading)
        screen.print()
    output.show(labelling, lambda done: [_summary(done)], as_json=as_json)


def _shown(reading: "Reading", labelling: "Labelling", place: int, count: int) -> Text:
    digit = reading.digits[0]
    guess = digit.prediction
    keys = "0-9" if len(labelling.class_names) <= _FEW else "class, then Enter"
    undo = f" · {_UNDO} undo" if labelling.filed else ""
    return Text.assemble(
        (f"\n{place + 1} of {count}  {reading.file}\n", "dim"),
        "\n".join(drawing.dotted(digit.image)),
        "\n",
        (f"{guess.label}? ", "bold"),
        f"{output.percent(guess.probability)}  ",
        (f"{keys} file · Enter accept · {_SKIP} skip{undo} · {_QUIT} quit  ", "dim"),
    )


def _act(labelling: "Labelling", waiting: list[Path], place: int, reading: "Reading") -> int:
    """Do what a key says; the place of the picture that is next."""
    while True:
        key = _key(labelling.class_names)
        if key == _QUIT:
            return len(waiting)
        if key == _SKIP:
            return place + 1
        if key == _UNDO and labelling.filed:
            picture = labelling.undo()
            return waiting.index(picture)
        guess = reading.digits[0].prediction.label
        wanted = guess if key in (*_ACCEPT, "") else key
        if wanted in labelling.class_names:
            labelling.file(waiting[place], wanted)
            output.console(stderr=True).print(Text(wanted, style="bold"), end="")
            return place + 1


def _key(class_names: list[str]) -> str:
    """What was pressed: a class, or one of the other keys; Ctrl-C and the end of input quit."""
    try:
        if all(len(name) == 1 for name in class_names):
            return str(typer.getchar())
        line = str(input())
    except (EOFError, KeyboardInterrupt):
        return _QUIT
    if line.isdecimal() and line not in class_names and int(line) < len(class_names):
        return class_names[int(line)]
    return line


def _summary(labelling: "Labelling") -> str:
    counts = labelling.to_json()
    each = ", ".join(f"{name}: {count}" for name, count in counts["by_class"].items() if count)
    pictures = "picture" if counts["filed"] == 1 else "pictures"
    return f"filed {counts['filed']} {pictures} in {counts['folder']}" + (f" ({each})" if each else "")
