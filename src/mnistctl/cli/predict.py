"""`mnistctl predict`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from mnistctl.cli import drawing, output, watching
from mnistctl.cli.options import JsonOption, ModelOption, OwnClassOption, QuietOption
from mnistctl.errors import PictureError, UsageError

if TYPE_CHECKING:
    from mnistctl.workflows.predicting import Reading


def predict(
    pictures: Annotated[
        list[str], typer.Argument(help="Pictures, folders of pictures, or - for standard input.")
    ],
    model: ModelOption = None,
    top: Annotated[int, typer.Option(help="How many of the likeliest classes to show.")] = 3,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Refuse what looks less familiar than this.",
            min=0,
            max=1,
            show_default="the model's own",
        ),
    ] = None,
    reject: Annotated[
        bool, typer.Option("--reject/--no-reject", help="Refuse what is blank or no digit.")
    ] = True,
    preview: Annotated[bool, typer.Option(help="Draw what the model sees.")] = False,
    arch: OwnClassOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as CSV.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Read pictures of digits: PNG, JPEG or WebP, dark on light or light on dark."""
    from mnistctl import workflows

    if as_json and as_csv:
        raise UsageError("--json and --csv: choose one")
    with watching.watcher(quiet=quiet) as watcher:
        readings = workflows.predict(
            pictures,
            model=model,
            top=top,
            threshold=threshold,
            reject=reject,
            arch=arch,
            watcher=watcher,
        )
    if as_json:
        output.show_json([reading.to_json() for reading in readings])
    elif as_csv:
        _show_csv(readings, top=top)
    else:
        output.show_parts(_render(readings, preview=preview))
    failed = [reading for reading in readings if reading.error]
    for reading in failed:
        output.complain(str(reading.error))
    if failed and len(readings) > 1:
        raise PictureError(f"{len(failed)} of {len(readings)} pictures could not be read")
    if failed:
        raise typer.Exit(PictureError.exit_code)


def _show_csv(readings: "list[Reading]", *, top: int) -> None:
    header = ["file", "label", "probability"]
    header += [f"{name}_{rank}" for rank in range(2, top + 1) for name in ("label", "probability")]
    rows = []
    for reading in readings:
        answers = reading.prediction.top if reading.prediction else ()
        cells = [cell for answer in answers for cell in answer]
        blanks = [""] * (len(header) - 1 - len(cells))
        known = (
            [reading.prediction.known, reading.prediction.reason] if reading.prediction else ["", ""]
        )
        rows.append([reading.file, *cells, *blanks, *known, reading.error])
    output.show_csv([*header, "known", "reason", "error"], rows)


def _render(readings: "list[Reading]", *, preview: bool) -> Iterator[RenderableType]:
    table = output.table("file", "label", "probability", "then", left=(0, 3))
    for reading in readings:
        if reading.prediction is None:
            continue
        if preview and reading.image is not None:
            yield f"{reading.file}\n{drawing.shaded(reading.image)}"
        guess = reading.prediction
        if guess.reason is None:
            then = ", ".join(f"{name} {output.percent(share)}" for name, share in guess.top[1:])
            table.add_row(
                reading.file, output.bold(guess.label), output.percent(guess.probability), then
            )
        else:
            best = f"{guess.reason}; at best a {guess.label}, {output.percent(guess.probability)}"
            table.add_row(reading.file, output.bold("–"), "–", best)
    if table.row_count:
        yield table
