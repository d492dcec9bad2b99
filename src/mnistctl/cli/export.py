"""`mnistctl export`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from mnistctl.cli import output, watching
from mnistctl.cli.options import (
    DataDirOption,
    ForceOption,
    JsonOption,
    ModelArgument,
    OwnClassOption,
    QuietOption,
    dataset_option,
)

if TYPE_CHECKING:
    from mnistctl.workflows.exporting import Exported


def export(
    model: ModelArgument = None,
    format_name: Annotated[str, typer.Option("--format", help="onnx.")] = "onnx",
    path: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file.", show_default="beside the model, or here"),
    ] = None,
    force: ForceOption = False,
    dataset: Annotated[
        str | None, dataset_option("What to check it on.", "what the model was trained on")
    ] = None,
    arch: OwnClassOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Export a model, and check that the file says what the model says."""
    from mnistctl import workflows

    with watching.watcher(quiet=quiet) as watcher:
        exported = workflows.export(
            model,
            format=format_name,
            output=path,
            force=force,
            dataset=dataset,
            arch=arch,
            data_dir=data_dir,
            watcher=watcher,
        )
    if as_json:
        output.show_json([file.to_json() for file in exported])
    for file in exported if not as_json else []:
        output.show_parts(_render(file))


def _render(file: "Exported") -> Iterator[RenderableType]:
    about = f"  {file.format}, {output.size(file.bytes)}\n"
    yield Text.assemble((file.path, "bold"), about)
    parity = file.parity
    table = output.table("against PyTorch", "")
    table.add_row(f"{parity['dataset']} {parity['split']} images", f"{parity['images']:,}")
    table.add_row("batch sizes", ", ".join(str(size) for size in parity["batch_sizes"]))
    table.add_row(
        "largest logit difference",
        f"{parity['max_logit_difference']:.1e} (at most {parity['tolerance']:.1e})",
    )
    table.add_row("largest probability difference", f"{parity['max_probability_difference']:.1e}")
    table.add_row("same answer", output.percent(parity["argmax_agreement"], digits=3))
    table.add_row("accuracy in PyTorch", output.percent(parity["reference_accuracy"]))
    table.add_row(f"accuracy in {file.format}", output.percent(parity["exported_accuracy"]))
    yield table
    yield "\nnext:"
    yield f"  mnistctl predict digit.png --model {file.path}"
    yield f"  mnistctl eval {file.path}"
