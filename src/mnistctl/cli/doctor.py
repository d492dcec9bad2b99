"""`mnistctl doctor`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from mnistctl.cli import render
from mnistctl.cli.options import DataDirOption, JsonOption

if TYPE_CHECKING:
    from mnistctl.api.doctor import Diagnosis


def doctor(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Check this installation and print a report to attach to a bug."""
    import mnistctl

    diagnosis = mnistctl.doctor(data_dir=data_dir)
    render.show(diagnosis, _render, as_json=as_json)
    diagnosis.require()


def _render(diagnosis: "Diagnosis") -> Iterator[RenderableType]:
    yield f"{diagnosis.system}, Python {diagnosis.python}"
    yield f"{diagnosis.cores} cores, torch uses {diagnosis.threads} threads\n"
    versions = render.table("package", "version")
    for name, version in diagnosis.versions.items():
        versions.add_row(name, version or "not installed")
    yield versions
    devices = render.table("\ndevice", "\nbf16", "\nCUDA graphs", "\nmodel", left=(0, 3))
    for device in diagnosis.devices:
        answers = ("yes" if has else "no" for has in (device.bf16, device.cuda_graphs))
        devices.add_row(device.name, *answers, device.model)
    yield devices
    datasets = render.table("\ndataset", f"\nin {diagnosis.data_folder}", left=(0, 1))
    for name, state in diagnosis.datasets.items():
        datasets.add_row(name, state)
    yield datasets
    yield f"\nruns: {diagnosis.runs} in {diagnosis.runs_folder}"
    for problem in diagnosis.problems:
        yield f"\nproblem: {problem.problem}\n  fix: {problem.fix}"
    if not diagnosis.problems:
        yield "\nno problems found"
