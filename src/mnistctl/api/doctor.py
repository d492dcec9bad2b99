"""`doctor`: check this installation."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mnistctl import datasets
from mnistctl.api.self_test import DeviceTest, run_self_test
from mnistctl.datasets import catalog, verify
from mnistctl.errors import CheckFailedError, ModelError
from mnistctl.run import run_folder
from mnistctl.system import openmp, processes, provenance
from mnistctl.types import Result

_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Device(Result):
    """A device that nets can be trained on."""

    name: str  # as in --device
    model: str  # of the processor or the GPU
    bf16: bool  # whether the hardware computes in bfloat16
    cuda_graphs: bool  # whether CUDA graphs can be used


@dataclass(frozen=True)
class ExtraPackage(Result):
    """An installed package that an extra of mnistctl asks for."""

    extra: str  # as in pip install 'mnistctl[EXTRA]'
    package: str  # its name
    version: str  # its version


@dataclass(frozen=True)
class IdleThreads(Result):
    """How long idle threads of GNU OpenMP spin before they sleep, which others on the machine feel."""

    setting: str | None  # environment variables, such as GOMP_SPINCOUNT=10000; null: none
    from_user: bool  # whether the user set them; if not, mnistctl did
    in_force: bool  # whether torch uses GNU OpenMP and was loaded after they were set


@dataclass(frozen=True)
class Problem(Result):
    """A problem of this installation, and how to fix it."""

    problem: str  # what is wrong
    fix: str  # a command or an instruction


@dataclass(frozen=True)
class Diagnosis(Result):
    """The state of this installation."""

    versions: dict[str, str | None]  # mnistctl and its requirements; null: not installed
    extras: list[ExtraPackage]  # installed packages of the extras
    python: str  # version
    system: str  # operating system
    cores: int  # processor cores that this process may use
    threads: int  # threads that torch uses
    idle_threads: IdleThreads  # how long they spin
    devices: list[Device]  # that nets can be trained on
    cuda: str | None  # version of CUDA that torch was built for; null: built without CUDA
    nvidia_driver: str | None  # version of the driver on Linux; null: none found
    data_folder: str  # where datasets are stored
    datasets: dict[str, str]  # name -> verified, unverified, damaged or not downloaded
    runs_folder: str  # where runs are stored
    runs: int  # runs with a model
    self_test: list[DeviceTest]  # training on every device; empty: not asked for
    problems: list[Problem]  # empty: no problems found

    def require(self) -> None:
        """Check that there are no problems.

        Raises:
            CheckFailedError: there are.
        """
        if self.problems:
            count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
            raise CheckFailedError(f"{count}: {self.problems[0].problem}")


def doctor(*, data_dir: Path | None = None, self_test: bool = False) -> Diagnosis:
    """Check versions, devices, datasets and runs. Nothing is downloaded.

    Args:
        data_dir: the data folder; None: the default.
        self_test: also train a few steps on every device, and check the result; half a minute.
    """
    versions = _versions()
    problems = [
        Problem(f"{name} is not installed", f"pip install {name}")
        for name, version in versions.items()
        if version is None
    ]
    devices: list[Device] = []
    threads = 0
    cuda = None
    tests: list[DeviceTest] = []
    try:
        devices, threads, cuda = _devices()
    except (ImportError, OSError, RuntimeError) as error:
        problems.append(
            Problem(f"torch does not import ({error})", "pip install --force-reinstall torch")
        )
    else:
        problems += _torch_problems(devices, threads)
        tests = run_self_test() if self_test else []
        problems += _test_problems(tests)
    states = {name: _state(dataset, data_dir) for name, dataset in catalog.DATASETS.items()}
    problems += [
        Problem(
            f"dataset '{name}' is damaged",
            datasets.repair_command(catalog.DATASETS[name], data_dir),
        )
        for name, state in states.items()
        if state == "damaged"
    ]
    folder = datasets.data_folder(data_dir)
    problems += _folder_problems(folder)
    return Diagnosis(
        versions=versions,
        extras=list(_extras()),
        python=platform.python_version(),
        system=platform.platform(),
        cores=processes.usable_cores(),
        threads=threads,
        idle_threads=_idle_threads(),
        devices=devices,
        cuda=cuda,
        nvidia_driver=_nvidia_driver(),
        data_folder=str(folder),
        datasets=states,
        runs_folder=str(run_folder.ROOT.resolve()),
        runs=_runs(problems),
        self_test=tests,
        problems=problems,
    )


def _versions() -> dict[str, str | None]:
    """The versions of mnistctl and its requirements, without extras; None: not installed."""
    names = ["mnistctl", *(name for name, extra in _requirements() if extra is None)]
    return {name: _version(name) for name in names}


def _extras() -> Iterator[ExtraPackage]:
    for name, extra in _requirements():
        if extra is not None and (version := _version(name)) is not None:
            yield ExtraPackage(extra, name, version)


def _requirements() -> Iterator[tuple[str, str | None]]:
    """The packages that mnistctl requires, with the extra of each; None: always required."""
    for line in importlib.metadata.requires("mnistctl") or []:
        requirement, _, marker = line.partition(";")
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)", marker)
        if name:
            yield name.group(), extra.group(1) if extra else None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> tuple[list[Device], int, str | None]:
    """The devices, the number of threads that torch uses, and the version of CUDA in torch."""
    import torch  # 1.2 s

    from mnistctl.nn import devices

    descriptions = []
    for device in devices.find_all():
        on_cuda = device.type == "cuda"
        model = torch.cuda.get_device_name(device) if on_cuda else provenance.processor()
        has_bf16, has_graphs = devices.has_bf16(device), devices.has_graphs(device)
        descriptions.append(Device(str(device), model, has_bf16, has_graphs))
    return descriptions, torch.get_num_threads(), torch.version.cuda


def _nvidia_driver() -> str | None:
    """The version of the NVIDIA driver; None: there is none, or the system is not Linux."""
    try:
        text = _NVIDIA_DRIVER.read_text(encoding="utf-8")
    except OSError:
        return None
    version = re.search(r"\d+\.\d[\d.]*", text)
    return version.group() if version else "unknown"


def _torch_problems(devices: list[Device], threads: int) -> Iterator[Problem]:
    try:
        import torchvision  # noqa: F401 - 1 s; its import fails with another build of torch
    except (ImportError, RuntimeError) as error:
        yield Problem(
            f"torchvision does not import ({error})",
            "pip install --force-reinstall torch torchvision, both from the same package index",
        )
    if _NVIDIA_DRIVER.exists() and not any(device.name.startswith("cuda") for device in devices):
        yield Problem(
            "an NVIDIA driver is installed, but torch finds no CUDA device",
            "update the driver, or install the torch build for its CUDA version (pytorch.org)",
        )
    if threads > processes.usable_cores():
        yield Problem(
            f"torch uses {threads} threads on {processes.usable_cores()} cores, which slows it down",
            f"set OMP_NUM_THREADS={processes.usable_cores()}",
        )


def _test_problems(tests: list[DeviceTest]) -> Iterator[Problem]:
    for test in tests:
        if test.problem is not None:
            way = f"{test.device}, {test.precision}{', CUDA graph' if test.cuda_graph else ''}"
            fix = "pip install --force-reinstall torch onnx onnxruntime onnxscript"
            if test.device != "cpu":
                fix = "update the driver and torch; until then train with --device cpu"
            yield Problem(f"self-test on {way}: {test.problem}", fix)


def _idle_threads() -> IdleThreads:
    maps = Path("/proc/self/maps")  # Linux only, as GNU OpenMP in torch is
    has_gnu = maps.exists() and "libgomp" in maps.read_text(encoding="utf-8", errors="replace")
    from_user = openmp.user_setting()
    setting = from_user or openmp.own_setting()
    return IdleThreads(setting, from_user is not None, has_gnu and setting is not None)


def _state(dataset: catalog.Dataset, data_dir: Path | None) -> str:
    """The state of a dataset's files, which are read and verified."""
    if not datasets.is_on_disk(dataset, data_dir):
        return "not downloaded"
    folder = datasets.raw_folder(dataset, data_dir)
    states = {verify.status(folder / file.name, file) for file in dataset.files}
    if None in states:
        return "damaged"
    return "unverified" if "unverified" in states else "verified"


def _folder_problems(folder: Path) -> Iterator[Problem]:
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        yield Problem(
            f"the data folder {folder} cannot be written",
            "set MNISTCTL_DATA_DIR to a writable folder",
        )


def _runs(problems: list[Problem]) -> int:
    try:
        return len(run_folder.find_all())
    except ModelError as error:
        problems.append(Problem(str(error), "run mnistctl in a folder that you may read"))
        return 0
