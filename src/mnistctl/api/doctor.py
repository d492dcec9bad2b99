"""`doctor`: what there is to know about this installation, and what is amiss."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnistctl import datasets
from mnistctl.datasets import catalog, verify
from mnistctl.errors import CheckFailedError, ModelError
from mnistctl.run import run_folder
from mnistctl.system import provenance

_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Device:
    """A device that nets can be trained on."""

    name: str
    model: str
    bf16: bool  # computes in bfloat16 itself
    cuda_graphs: bool  # replays recorded steps


@dataclass(frozen=True)
class Problem:
    """Something amiss, and the way out."""

    what: str
    way_out: str


@dataclass(frozen=True)
class Diagnosis:
    """What there is to know about this installation."""

    versions: dict[str, str | None]  # of mnistctl and all that it needs; None: not installed
    python: str
    system: str
    cores: int  # that this process may use
    threads: int  # that torch uses
    devices: list[Device]
    data_folder: str
    datasets: dict[str, str]  # name -> "verified", "unverified", "damaged" or "not here"
    runs_folder: str
    runs: int  # with a model
    problems: list[Problem]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def require(self) -> None:
        """Insist that nothing is amiss.

        Raises:
            CheckFailedError: something is.
        """
        if self.problems:
            raise CheckFailedError(f"{len(self.problems)} amiss: {self.problems[0].what}")


def doctor(*, data_dir: Path | None = None) -> Diagnosis:
    """Look at versions, devices, data and runs, and say what is amiss. Nothing is downloaded.

    Args:
        data_dir: the data folder, if not the usual one.
    """
    versions = _versions()
    problems = [
        Problem(f"{name} is not installed", f"pip install {name}")
        for name, version in versions.items()
        if version is None
    ]
    devices: list[Device] = []
    threads = 0
    try:
        devices, threads = _devices()
    except (ImportError, OSError, RuntimeError) as error:
        problems.append(
            Problem(f"torch does not import ({error})", "pip install --force-reinstall torch")
        )
    else:
        problems += _torch_problems(devices, threads)
    states = {name: _state(dataset, data_dir) for name, dataset in catalog.DATASETS.items()}
    problems += [
        Problem(f"dataset '{name}' is damaged", f"mnistctl download {name}")
        for name, state in states.items()
        if state == "damaged"
    ]
    folder = datasets.data_folder(data_dir)
    problems += _folder_problems(folder)
    return Diagnosis(
        versions=versions,
        python=platform.python_version(),
        system=platform.platform(),
        cores=_cores(),
        threads=threads,
        devices=devices,
        data_folder=str(folder),
        datasets=states,
        runs_folder=str(run_folder.ROOT.resolve()),
        runs=_runs(problems),
        problems=problems,
    )


def _versions() -> dict[str, str | None]:
    """The versions of mnistctl and its requirements, extras left out."""
    required = importlib.metadata.requires("mnistctl") or []
    names = [re.match(r"[\w.-]+", line) for line in required if "extra ==" not in line]
    found: dict[str, str | None] = {}
    for name in ("mnistctl", *(match.group() for match in names if match)):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _devices() -> tuple[list[Device], int]:
    import torch  # 1.2 s

    from mnistctl.nn import devices

    found = []
    for device in devices.find_all():
        on_cuda = device.type == "cuda"
        model = torch.cuda.get_device_name(device) if on_cuda else provenance.processor()
        has_bf16, has_graphs = devices.has_bf16(device), devices.has_graphs(device)
        found.append(Device(str(device), model, has_bf16, has_graphs))
    return found, torch.get_num_threads()


def _torch_problems(devices: list[Device], threads: int) -> Iterator[Problem]:
    try:
        import torchvision  # noqa: F401 - 1 s; it does not import beside another build of torch
    except (ImportError, RuntimeError) as error:
        yield Problem(
            f"torchvision does not import ({error})",
            "pip install --force-reinstall torch torchvision, both from the same place",
        )
    if _NVIDIA_DRIVER.exists() and not any(device.name.startswith("cuda") for device in devices):
        yield Problem(
            "there is an NVIDIA driver, but torch finds no CUDA device",
            "update the driver, or install the build of torch that fits it (pytorch.org)",
        )
    if threads > _cores():
        yield Problem(
            f"torch uses {threads} threads on {_cores()} cores, which is slower",
            f"set OMP_NUM_THREADS={_cores()}",
        )


def _state(dataset: catalog.Dataset, data_dir: Path | None) -> str:
    """How a dataset's files are; they are read and verified, not downloaded."""
    if not datasets.is_on_disk(dataset, data_dir):
        return "not here"
    folder = datasets.raw_folder(dataset, data_dir)
    raw = {file for files in dataset.parts.values() for file in files}
    states = {verify.status(folder / file.name, file) for file in raw}
    if None in states:
        return "damaged"
    return "unverified" if "unverified" in states else "verified"


def _folder_problems(folder: Path) -> Iterator[Problem]:
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        yield Problem(
            f"the data folder {folder} cannot be written",
            "set MNISTCTL_DATA_DIR to one that can",
        )


def _runs(problems: list[Problem]) -> int:
    try:
        return len(run_folder.find_all())
    except ModelError as error:
        problems.append(Problem(str(error), "mnistctl works in a folder that may be read"))
        return 0


def _cores() -> int:
    usable = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(usable(0)) if usable else os.cpu_count() or 1
