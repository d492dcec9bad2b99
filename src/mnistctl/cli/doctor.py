"""`mnistctl doctor`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from mnistctl.cli import render
from mnistctl.cli.options import DataDirOption, JsonOption

if TYPE_CHECKING:
    from mnistctl.api.doctor import Diagnosis


def doctor(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Say what is installed, found and amiss: paste it into a bug report."""
    import mnistctl

    found = mnistctl.doctor(data_dir=data_dir)
    render.show(found, _render, as_json=as_json)
    found.require()


def _render(found: "Diagnosis") -> Iterator[RenderableType]:
    yield f"{found.system}, Python {found.python}"
    yield f"{found.cores} cores, torch on {found.threads} threads\n"
    versions = render.table("package", "version")
    for name, version in found.versions.items():
        versions.add_row(name, version or "not installed")
    yield versions
    devices = render.table("\ndevice", "\nbf16", "\nCUDA graphs", "\nmodel", left=(0, 3))
    for device in found.devices:
        answers = ("yes" if has else "no" for has in (device.bf16, device.cuda_graphs))
        devices.add_row(device.name, *answers, device.model)
    yield devices
    datasets = render.table("\ndataset", "\nin " + found.data_folder, left=(0, 1))
    for name, state in found.datasets.items():
        datasets.add_row(name, state)
    yield datasets
    yield f"\nruns: {found.runs} in {found.runs_folder}"
    for problem in found.problems:
        yield f"\namiss: {problem.what}\n  way out: {problem.way_out}"
    if not found.problems:
        yield "\nnothing amiss"
