"""`mnistctl export`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

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

_DIFFERENCES = (  # key of `Parity`, title, format
    ("max_logit_difference", "max. logit difference", ".1e"),
    ("max_probability_difference", "max. probability difference", ".1e"),
    ("max_familiarity_difference", "max. familiarity difference", ".1e"),
    ("disagreements", "images with another prediction", ",.0f"),
    ("rejections_changed", "images rejected by only one model", ",.0f"),
)


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
    """Export a model to ONNX, OpenVINO, PyTorch or Triton.

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
    render.show(exported, _render, as_json=as_json)


def _render(exported: "Sequence[ExportedModel]") -> Iterator[RenderableType]:
    for model in exported:
        yield Text.assemble((model.path, "bold"), f"  {model.format}, {decimal(model.bytes)}\n")
        yield _parity(model)
        yield "\nnext:"
        for line in formats.FORMATS[model.format].usage:
            path = str(model.path)
            yield "  " + line.format(path=render.quoted(path), path_literal=repr(path))


def _parity(model: "ExportedModel") -> Table:
    """How the exported model differs from the model in PyTorch."""
    parity = model.parity
    limits = parity["limits"]
    table = render.table("compared with PyTorch", "")
    table.add_row(f"{parity['dataset']} {parity['split']} images", f"{parity['images']:,}")
    table.add_row("batch sizes", ", ".join(str(size) for size in parity["batch_sizes"]))
    for name, title, spec in _DIFFERENCES:
        limit = f" (limit {limits[name]:{spec}})" if limits.get(name) is not None else ""
        table.add_row(title, f"{parity[name]:{spec}}{limit}")
    table.add_row("accuracy in PyTorch", render.percent(parity["reference_accuracy"]))
    max_loss = limits.get("accuracy_loss")
    limit = "" if max_loss is None else f" (limit {render.percent(max_loss)} less)"
    table.add_row(f"accuracy in {model.format}", render.percent(parity["exported_accuracy"]) + limit)
    return table
