"""`mnistctl info`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mnistctl.cli import display, render
from mnistctl.cli.options import JsonOption, ModelArgument, QuietOption
from mnistctl.errors import UsageError
from mnistctl.models import formats

if TYPE_CHECKING:
    from mnistctl.api.info import ModelInfo
    from mnistctl.models.metadata import Metadata


def info(
    model: ModelArgument = None,
    card: Annotated[bool, typer.Option("--card", help="Print its model card.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what a model file is: net, data, figures, versions, signature."""
    import mnistctl

    if card and as_json:
        raise UsageError("--card and --json: choose one; the card is in the JSON too")
    with display.live(quiet=quiet):
        found = mnistctl.info(model)
    if card and not found.metadata.card:
        raise UsageError(f"{found.model}: has no model card")
    render.show(found, _render_card if card else _render, as_json=as_json)


def _render_card(info: "ModelInfo") -> Iterator[RenderableType]:
    yield info.metadata.card


def _render(info: "ModelInfo") -> Iterator[RenderableType]:
    about = info.metadata
    table = Table(box=None, pad_edge=False, show_header=False)
    net = [about.arch, *(f"{name} {value}" for name, value in about.arch_args.items())]
    if about.members:
        net.append(f"the mean of {', '.join(member['arch'] for member in about.members)}")
    rows = {
        "file": f"{info.model} ({info.format}, {render.size(info.bytes)})",
        "net": f"{', '.join(net)}; {about.parameters:,} parameters",
        "trained on": f"{about.dataset['name']} (SHA-256 {about.dataset['sha256'][:12]}…)",
        "classes": ", ".join(about.class_names),
        "figures": ", ".join(_figures(about.metrics)),
        "calibration": _calibration(about),
        "made": f"{about.created} by "
        + ", ".join(f"{name} {version}" for name, version in about.versions.items()),
        "git commit": about.git_commit or "–",
        "takes": f"images: {', '.join(formats.INPUTS[about.export.get('input', formats.UINT8)])}",
        "gives": ", ".join(
            f"{name}: {kind}" for name, kind in info.signature.items() if name != "images"
        ),
    }
    if about.export:
        rows["export"] = ", ".join(_export(about.export))
    if about.card:
        rows["model card"] = f"mnistctl info {info.model} --card"
    for name, value in rows.items():
        table.add_row(Text(name, "dim"), value)
    yield table


def _calibration(about: "Metadata") -> str:
    if not about.calibration_images:
        return "none: there were no validation images; nothing is refused"
    temperature = "" if about.members else f"temperature {about.temperature:.4g}; "
    return (
        f"{temperature}refuses what is known less than {about.threshold:.4g}; on "
        f"{about.calibration_images:,} validation images"
    )


def _figures(metrics: dict[str, Any]) -> Iterator[str]:
    for name, value in metrics.items():
        if value is not None and name.endswith(("_accuracy", "_loss", "_seconds")):
            shown = render.percent(value) if name.endswith("_accuracy") else f"{value:.4g}"
            yield f"{name.replace('_', ' ')} {shown}"


def _export(export: dict[str, Any]) -> Iterator[str]:
    for name in ("opset", "ir_version", "openvino"):
        if name in export:
            yield f"{name.replace('_', ' ')} {export[name]}"
    parity = export.get("parity")
    if parity:
        yield f"graph SHA-256 {export.get('graph_sha256', '–')[:12]}…"
        yield (
            f"checked against PyTorch on {parity['images']:,} {parity['dataset']} {parity['split']} "
            f"images: {parity['disagreements']} with another answer"
        )
