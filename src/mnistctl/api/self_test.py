"""`doctor --self-test`: train a few steps on every device, compare with the CPU, check an export."""

import contextlib
import logging
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnistctl.api import export
from mnistctl.errors import MnistctlError, one_line
from mnistctl.run import progress
from mnistctl.run.epoch import Epoch
from mnistctl.run.run_folder import Run
from mnistctl.settings import recipes
from mnistctl.system import signals
from mnistctl.types import Result

if TYPE_CHECKING:
    import torch

STEPS = 20

# Largest difference of a loss from the CPU's in float32, in nats. Sums in another order change the loss
# by 1e-6, bf16 changes it by 0.04.
_TOLERANCES = {"float32": 0.02, "bf16": 0.15}

_CHANCE_LOSS = math.log(10)  # of ten classes

# The recipe `cnn` without what is drawn at random on the device, where every kind draws other numbers.
_SETTINGS = recipes.find_recipe("cnn").replace(
    dataset="digits", batch_size=64, epochs=0.01, min_steps=STEPS, rotate=0, scale=0, shear=0, shift=0
)


@dataclass(frozen=True)
class DeviceTest(Result):
    """The training steps on one device, in one way."""

    device: str  # as in --device
    precision: str  # of the training steps: float32 or bf16
    cuda_graph: bool  # whether the steps were to be replayed as a CUDA graph
    train_seconds: float | None  # of all steps; null: training failed
    train_loss: float | None  # mean cross-entropy over all steps, in nats; null: training failed
    validation_loss: float | None  # after the last step, in nats; null: training failed
    loss_difference: (
        float | None
    )  # larger difference of the two losses from the CPU's in float32, in nats
    exported: bool | None  # whether its ONNX export agrees with PyTorch; null: not tested on this row
    problem: str | None  # null: everything works


def run_self_test() -> list[DeviceTest]:
    """Test every device, the CPU first. Uses the bundled digits, and writes temporary files only."""
    from mnistctl.nn import devices  # imports torch, 1.2 s

    found = devices.find_all()
    variants = [(device, *variant) for device in found for variant in _variants(device)]
    tests: list[DeviceTest] = []
    exported_kinds: set[str] = set()
    for number, (device, precision, cuda_graph) in enumerate(variants):
        progress.current().advance(f"testing {device}", number, len(variants))
        is_last = number + 1 == len(variants) or variants[number + 1][0] != device
        with_export = is_last and device.type not in exported_kinds
        exported_kinds |= {device.type} if with_export else set()
        reference = tests[0] if tests else None
        tests.append(_test(device, precision, cuda_graph, reference, with_export=with_export))
    progress.current().advance("testing", len(variants), len(variants))
    return tests


def _variants(device: "torch.device") -> Iterator[tuple[str, bool]]:
    """The tests of a device, the default way last: precision, and whether to use a CUDA graph."""
    from mnistctl.nn import devices

    has_graphs = device.type == "cuda"
    yield "float32", False
    if has_graphs:
        yield "float32", True
    if devices.has_bf16(device):
        yield "bf16", has_graphs


def _test(
    device: "torch.device",
    precision: str,
    cuda_graph: bool,
    reference: DeviceTest | None,
    *,
    with_export: bool,
) -> DeviceTest:
    test = DeviceTest(str(device), precision, cuda_graph, None, None, None, None, None, None)
    try:
        with tempfile.TemporaryDirectory() as folder, _silence() as warnings:
            run = Run(Path(folder))
            epoch = _train(run, device, precision, cuda_graph)
            test = _with_losses(test, epoch, reference)
            if with_export and test.problem is None:
                test = replace(test, exported=False)
                export.export(run.model_path)
                test = replace(test, exported=True)
    except MnistctlError as error:
        return replace(test, problem=str(error))
    except Exception as error:  # drivers and runtimes raise errors of any type
        return replace(test, problem=f"{type(error).__name__}: {one_line(error)}")
    return replace(test, problem=test.problem or next(iter(warnings), None))


def _train(run: Run, device: "torch.device", precision: str, cuda_graph: bool) -> Epoch:
    """Train and calibrate as `train` does: the metrics of the last epoch."""
    from mnistctl.api.training import loop
    from mnistctl.api.training.session import Session, build_net, load_splits
    from mnistctl.nn import distributed

    settings = _SETTINGS.replace(precision=precision, device=str(device))
    train, validation = load_splits(settings, None, None)
    net = build_net(settings, None, train.class_names).to(device)
    with signals.deferred() as interrupt:
        session = Session(
            run,
            settings,
            train,
            validation,
            net,
            device,
            distributed.SINGLE_PROCESS,
            interrupt,
            use_graph=cuda_graph,
        )
        last, _ = loop.fit(session)
    return last


def _with_losses(test: DeviceTest, epoch: Epoch, reference: DeviceTest | None) -> DeviceTest:
    """A test with the losses of an epoch, and the problem that they show."""
    assert epoch.validation_loss is not None  # noqa: S101 - the digits have validation images
    test = replace(
        test,
        train_seconds=epoch.train_seconds,
        train_loss=epoch.train_loss,
        validation_loss=epoch.validation_loss,
    )
    if reference is None:
        return (
            test if epoch.train_loss < _CHANCE_LOSS else replace(test, problem="the net does not learn")
        )
    if reference.train_loss is None or reference.validation_loss is None:
        return test
    difference = max(
        abs(epoch.train_loss - reference.train_loss),
        abs(epoch.validation_loss - reference.validation_loss),
    )
    limit = _TOLERANCES[test.precision]
    problem = None
    if not difference <= limit:  # also if it is not a number
        problem = (
            f"the loss differs from the CPU's by {difference:.3g} nats, expected at most {limit:g}"
        )
    return replace(test, loss_difference=difference, problem=problem)


@contextlib.contextmanager
def _silence() -> Iterator[list[str]]:
    """Show no messages and no progress of the training; the warnings are collected."""
    warnings: list[str] = []
    logger = logging.getLogger("mnistctl")

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings.append(record.getMessage())

    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [Collector(logging.WARNING)], False
    try:
        with progress.shown_by(_NoProgress()):
            yield warnings
    finally:
        logger.handlers, logger.propagate = handlers, propagate


class _NoProgress(progress.Progress):
    def epoch(self, epoch: Epoch, *, best: bool) -> None:
        """Log nothing."""
