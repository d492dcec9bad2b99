"""`mnistctl export`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table

from mnistctl.cli import display, render
from mnistctl.cli.completion import complete_formats
from mnistctl.cli.options import (
    CustomClassOption,
    DataDirOption,
    ForceOption,
    JsonOption,
    ModelArgument,
    QuietOption,
    dataset_option,
)
from mnistctl.models import formats

if TYPE_CHECKING:
    from mnistctl.api.export import ExportedModel

_HEADINGS = (
    "\nformat",
    "\nsize",
    "\naccuracy",
    "largest difference\nof logits",
    "other\npredictions",
    "other\nrejections",
)
_NUMBERS_HEADINGS = (
    "\nformat",
    "\nsize",
    "digits\nfound",
    "largest difference\nof scores",
    "of boxes,\npixels",
    "pages with\nother digits",
)
_NUMBERS_USAGE = (
    "mnistctl predict numbers.png --numbers --numbers-model {path}",
    "mnistctl eval {path}",
)
_NUMBERS_DIFFERENCES = {  # key of `PageParity` -> format
    "max_score_difference": ".1e",
    "max_box_difference": ".1e",
    "disagreements": ",",
}
_DIFFERENCES = {  # key of `Parity` -> format
    "max_logit_difference": ".1e",
    "disagreements": ",",
    "rejections_changed": ",",
}


def export(
    model: ModelArgument = None,
    format_names: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="LIST",
            help=f"Formats to write, separated by commas: {', '.join(formats.FORMATS)}.",
            autocompletion=complete_formats,
        ),
    ] = formats.ONNX,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File to write; for several formats, the folder for the files.",
            show_default="next to the model",
        ),
    ] = None,
    force: ForceOption = False,
    opset: Annotated[
        Literal[18, 19, 20, 21], typer.Option(metavar="N", help="ONNX opset: 18, 19, 20 or 21.")
    ] = 18,
    input_type: Annotated[
        Literal["uint8", "float32"],
        typer.Option(
            "--input",
            metavar="TYPE",
            help="Input of the exported model: uint8, or float32 in [0, 1].",
        ),
    ] = "uint8",
    dataset: Annotated[
        str | None,
        dataset_option(
            "Dataset whose test images verify the export.", "the dataset the model was trained on"
        ),
    ] = None,
    arch: CustomClassOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Export a model to ONNX, OpenVINO, PyTorch, Triton, or an HTML page that reads drawings.

    Each export is verified against PyTorch on all test images before it is written.
    """
    import mnistctl

    with display.live(quiet=quiet):
        exported = mnistctl.export(
            model,
            format=[name.strip() for name in format_names.split(",")],
            output=output,
            force=force,
            opset=opset,
            input=input_type,
            dataset=dataset,
            arch=arch,
            data_dir=data_dir,
        )
    render.show(exported, _render, as_json=as_json, quiet=quiet)


def _render(exported: "Sequence[ExportedModel]") -> Iterator[RenderableType]:
    parity = exported[0].parity
    is_for_numbers = "digits" in parity
    all_sizes = {", ".join(map(str, model.parity["batch_sizes"])) for model in exported}
    batches = f", in batches of {all_sizes.pop()}" if len(all_sizes) == 1 else ""
    pages = "pages composed of " if is_for_numbers else ""
    yield (
        f"compared with PyTorch on {parity['images']:,} {pages}{parity['split']} images of "
        f"{parity['dataset']}{batches}:\n"
    )
    yield _numbers_table(exported) if is_for_numbers else _table(exported)
    yield render.NEXT
    for model in exported:
        usage = _NUMBERS_USAGE if is_for_numbers else formats.FORMATS[model.format].usage
        for line in usage:
            yield "  " + line.format(path=render.quoted(model.path), path_literal=repr(model.path))


def _table(exported: "Sequence[ExportedModel]") -> Table:
    table = render.table(*_HEADINGS, left=(0,))
    table.add_row("PyTorch", "", render.percent(exported[0].parity["reference_accuracy"]))
    for model in exported:
        values = (f"{model.parity[name]:{spec}}" for name, spec in _DIFFERENCES.items())
        accuracy = render.percent(model.parity["exported_accuracy"])
        table.add_row(model.format, decimal(model.bytes), accuracy, *values)
    return table


def _numbers_table(exported: "Sequence[ExportedModel]") -> Table:
    table = render.table(*_NUMBERS_HEADINGS, left=(0,))
    table.add_row("PyTorch", "", f"{exported[0].parity['digits']:,}")
    for model in exported:
        values = (f"{model.parity[name]:{spec}}" for name, spec in _NUMBERS_DIFFERENCES.items())
        digits = f"{model.parity['exported_digits']:,}"
        table.add_row(model.format, decimal(model.bytes), digits, *values)
    return table
