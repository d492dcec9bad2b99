"""`mnistctl doctor`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import RenderableType

from mnistctl.cli import display, render
from mnistctl.cli.options import DataDirOption, JsonOption

if TYPE_CHECKING:
    from mnistctl.api.doctor import Diagnosis, IdleThreads
    from mnistctl.api.self_test import DeviceTest


def doctor(
    data_dir: DataDirOption = None,
    self_test: Annotated[
        bool,
        typer.Option(
            "--self-test",
            help="Also train twenty steps on every device, compare with the CPU, and check an export. "
            "Takes about half a minute.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check this installation and print a report to attach to a bug."""
    import mnistctl

    with display.live(quiet=False):
        diagnosis = mnistctl.doctor(data_dir=data_dir, self_test=self_test)
    render.show(diagnosis, _render, as_json=as_json)
    diagnosis.require()


def _render(diagnosis: "Diagnosis") -> Iterator[RenderableType]:
    yield f"{diagnosis.system}, Python {diagnosis.python}"
    yield f"{diagnosis.cores} cores, torch uses {diagnosis.threads} threads"
    yield _describe(diagnosis.idle_threads)
    build = f"built for CUDA {diagnosis.cuda}" if diagnosis.cuda else "built without CUDA"
    yield f"torch {build}, NVIDIA driver: {diagnosis.nvidia_driver or 'none'}\n"
    versions = render.table("package", "version")
    for name, version in diagnosis.versions.items():
        versions.add_row(name, version or "not installed")
    yield versions
    if diagnosis.extras:
        extras = render.table("\nextra", "\npackage", "\nversion", left=(0, 1))
        for item in diagnosis.extras:
            extras.add_row(item.extra, item.package, item.version)
        yield extras
    devices = render.table("\ndevice", "\nbf16", "\nCUDA graphs", "\nmodel", left=(0, 3))
    for device in diagnosis.devices:
        answers = ("yes" if has else "no" for has in (device.bf16, device.cuda_graphs))
        devices.add_row(device.name, *answers, device.model)
    yield devices
    if diagnosis.self_test:
        yield _tests_table(diagnosis.self_test)
    datasets = render.table("\ndataset", f"\nin {diagnosis.data_folder}", left=(0, 1))
    for name, state in diagnosis.datasets.items():
        datasets.add_row(name, state)
    yield datasets
    yield f"\nruns: {diagnosis.runs} in {diagnosis.runs_folder}"
    for problem in diagnosis.problems:
        yield f"\nproblem: {problem.problem}"
        yield f"  fix: {problem.fix}"
    if not diagnosis.problems:
        yield "\nno problems found"


def _describe(idle: "IdleThreads") -> str:
    if idle.setting is None:
        return "idle threads: the default of OpenMP"
    origin = "set by you" if idle.from_user else "set by mnistctl"
    return f"idle threads: {idle.setting} ({origin}{'' if idle.in_force else ', not in force'})"


def _tests_table(tests: "list[DeviceTest]") -> RenderableType:
    table = render.table(
        "\nself-test", "\nprecision", "CUDA\ngraph", "\nseconds", "train\nloss", "validation\nloss",
        "difference\nfrom CPU", "\nexport", "\nresult", left=(0, 1, 2, 7, 8)
    )  # fmt: skip
    for test in tests:
        table.add_row(
            test.device,
            test.precision,
            "yes" if test.cuda_graph else "no",
            render.number(test.train_seconds, ".2f"),
            render.number(test.train_loss, ".4f"),
            render.number(test.validation_loss, ".4f"),
            render.number(test.loss_difference, ".4f"),
            {None: "–", True: "agrees", False: "failed"}[test.exported],
            "works" if test.problem is None else "problem",
        )
    return table
