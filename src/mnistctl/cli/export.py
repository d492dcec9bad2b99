"""`mnistctl export`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from mnistctl.cli import display, render
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


def _formats(incomplete: str) -> list[tuple[str, str]]:
    known = formats.FORMATS.items()
    return [(name, kind.summary) for name, kind in known if name.startswith(incomplete)]


def export(
    model: ModelArgument = None,
    format_names: Annotated[
        str,
        typer.Option(
            "--format",
            help=f"One, or several with commas: {', '.join(formats.FORMATS)}.",
            autocompletion=_formats,
        ),
    ] = formats.ONNX,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file; for several formats the folder.",
            show_default="beside the model, or here",
        ),
    ] = None,
    force: ForceOption = False,
    opset: Annotated[int, typer.Option(help="Of ONNX: 18 to 21.")] = formats.OPSET,
    input_kind: Annotated[
        str, typer.Option("--input", help="What it takes: uint8, or float32 in [0, 1].")
    ] = formats.UINT8,
    dataset: Annotated[
        str | None, dataset_option("What to check it on.", "what the model was trained on")
    ] = None,
    arch: CustomClassOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Export a model to other formats, each checked against PyTorch on all test images."""
    import mnistctl

    with display.live(quiet=quiet):
        exported = mnistctl.export(
            model,
            format=[name.strip() for name in format_names.split(",")],
            output=path,
            force=force,
            opset=opset,
            input=input_kind,
            dataset=dataset,
            arch=arch,
            data_dir=data_dir,
        )
    if as_json:
        render.show_json([file.to_json() for file in exported])
    for file in exported if not as_json else []:
        render.show_parts(_render(file))


def _render(file: "ExportedModel") -> Iterator[RenderableType]:
    about = f"  {file.format}, {render.size(file.bytes)}\n"
    yield Text.assemble((file.path, "bold"), about)
    parity = file.parity
    table = render.table("against PyTorch", "")
    table.add_row(f"{parity['dataset']} {parity['split']} images", f"{parity['images']:,}")
    table.add_row("batch sizes", ", ".join(str(size) for size in parity["batch_sizes"]))
    for name, title, shown in (
        ("max_logit_difference", "largest logit difference", "{:.1e}"),
        ("max_probability_difference", "largest probability difference", "{:.1e}"),
        ("max_familiarity_difference", "largest difference of familiarity", "{:.1e}"),
        ("disagreements", "images with another answer", "{:,.0f}"),
        ("rejections_changed", "images refused by one of them only", "{:,.0f}"),
    ):
        most = parity["limits"].get(name)
        limit = "" if most is None else f" (at most {shown.format(most)})"
        table.add_row(title, shown.format(parity[name]) + limit)
    table.add_row("accuracy in PyTorch", render.percent(parity["reference_accuracy"]))
    most = parity["limits"].get("accuracy_loss")
    limit = "" if most is None else f" (at most {render.percent(most)} less)"
    table.add_row(f"accuracy in {file.format}", render.percent(parity["exported_accuracy"]) + limit)
    yield table
    yield "\nnext:"
    if file.format == "torch":
        yield f"  torch.export.load('{file.path}').module()  # opening one can run code"
    elif file.format == "triton":
        yield f"  tritonserver --model-repository {file.path}"
    else:
        yield f"  mnistctl predict digit.png --model {file.path}"
        yield f"  mnistctl eval {file.path}"
