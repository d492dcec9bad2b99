"""`mnistctl info`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from mnistctl.cli import display, render
from mnistctl.cli.options import JsonOption, ModelArgument, QuietOption
from mnistctl.errors import UsageError
from mnistctl.models import formats
from mnistctl.settings.architectures import DIGIT, NUMBERS

if TYPE_CHECKING:
    from mnistctl.api.info import ModelInfo
    from mnistctl.models.metadata import Metadata

_TASKS = {DIGIT: "classify images of single digits", NUMBERS: "find the digits of numbers on pages"}


def info(
    model: ModelArgument = None,
    card: Annotated[bool, typer.Option("--card", help="Print only the model card.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show the metadata of a model file."""
    import mnistctl

    if card and as_json:
        raise UsageError("--card and --json: choose one; the JSON includes the card")
    with display.live(quiet=quiet):
        model_info = mnistctl.info(model)
    if card and not model_info.metadata.card:
        raise UsageError(f"{model_info.model}: has no model card")
    render.show(model_info, _render_card if card else _render, as_json=as_json)


def _render_card(info: "ModelInfo") -> Iterator[RenderableType]:
    yield info.metadata.card


def _render(info: "ModelInfo") -> Iterator[RenderableType]:
    metadata = info.metadata
    is_for_numbers = metadata.task == NUMBERS
    inputs = formats.INPUTS[metadata.export.get("input", formats.UINT8)]
    input_name, *outputs = info.signature
    versions = ", ".join(f"{name} {version}" for name, version in metadata.versions.items())
    rows = {
        "file": f"{info.model} ({info.format}, {decimal(info.bytes)})",
        "task": _TASKS.get(metadata.task, metadata.task),
        "architecture": f"{_architecture(metadata)}; {_parameters(metadata)}",
        "trained on": f"{metadata.dataset['name']} (SHA-256 {metadata.dataset['sha256'][:12]}…)",
        "classes": ", ".join(metadata.class_names),
        "metrics": ", ".join(_metrics(metadata.metrics)),
        "calibration": _numbers_calibration(metadata) if is_for_numbers else _calibration(metadata),
        "created": f"{metadata.created} with {versions}",
        "git commit": metadata.git_commit or "–",
        "input": f"{input_name}: {', '.join(formats.PAGES if is_for_numbers else inputs)}",
        "outputs": ", ".join(f"{name}: {info.signature[name]}" for name in outputs),
    }
    if metadata.export:
        rows["export"] = ", ".join(_export(metadata.export))
    if metadata.card:
        rows["model card"] = f"mnistctl info {render.quoted(info.name)} --card"
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        table.add_row(Text(name, "dim"), value)
    yield table


def _architecture(metadata: "Metadata") -> str:
    parts = [metadata.arch, *(f"{name} {value}" for name, value in metadata.arch_args.items())]
    if metadata.members:
        parts.append(f"the mean of {', '.join(member['arch'] for member in metadata.members)}")
    return ", ".join(parts)


def _parameters(metadata: "Metadata") -> str:
    more = metadata.familiarity_parameters
    others = f", and {more:,} for the familiarity" if more else ""
    return f"{metadata.parameters:,} parameters{others}"


def _calibration(metadata: "Metadata") -> str:
    if metadata.threshold is None:
        return f"none ({metadata.not_calibrated}); no image is rejected"
    temperature = "" if metadata.members else f"temperature {metadata.temperature:.4g}; "
    return (
        f"{temperature}rejects images with a familiarity below {metadata.threshold:.4g}; fitted on "
        f"{metadata.calibration_images:,} validation images"
    )


def _numbers_calibration(metadata: "Metadata") -> str:
    if metadata.threshold is None:
        return f"none ({metadata.not_calibrated})"
    return (
        f"temperature {metadata.temperature:.4g}; ignores digits with a score below "
        f"{metadata.threshold:.4g}; fitted on {metadata.calibration_images:,} validation pages"
    )


def _metrics(metrics: dict[str, Any]) -> Iterator[str]:
    for name, value in metrics.items():
        if value is not None and name.endswith(("_accuracy", "_loss", "_seconds")):
            text = render.percent(value) if name.endswith("_accuracy") else f"{value:.4g}"
            yield f"{name.replace('_', ' ')} {text}"


def _export(export: dict[str, Any]) -> Iterator[str]:
    for name in ("precision", "opset", "ir_version", "openvino"):
        if name in export:
            yield f"{name.replace('_', ' ')} {export[name]}"
    parity = export.get("parity")
    if parity:
        yield f"graph SHA-256 {export.get('graph_sha256', '–')[:12]}…"
        is_for_numbers = "digits" in parity
        inputs, answers = ("pages of ", "pages") if is_for_numbers else ("", "predictions")
        yield (
            f"verified against PyTorch on {parity['images']:,} {inputs}{parity['split']} images of "
            f"{parity['dataset']}: {parity['disagreements']} {answers} differ"
        )
