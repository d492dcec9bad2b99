"""The tasks that a net can be trained for; the trainer is the same for all of them."""

import torch

from mnistctl.datasets import Split
from mnistctl.nn import distributed
from mnistctl.nn.tasks.digit import DigitTask
from mnistctl.nn.tasks.numbers import NumbersTask
from mnistctl.nn.tasks.task import StepLoss, Task
from mnistctl.settings import architectures
from mnistctl.settings.train_settings import TrainSettings

__all__ = ["DigitTask", "NumbersTask", "StepLoss", "Task", "build"]


def build(
    settings: TrainSettings,
    train: Split,
    validation: Split,
    *,
    device: torch.device,
    group: distributed.ProcessGroup = distributed.SINGLE_PROCESS,
) -> Task:
    """The task of the architecture in the settings.

    Args:
        settings: of the run.
        train: at least one image.
        validation: may be empty.
        device: where to train.
        group: the processes that train together.

    Raises:
        UsageError: the task cannot be trained with these images.
    """
    task = NumbersTask if architectures.task_of(settings.arch) == architectures.NUMBERS else DigitTask
    return task(settings, train, validation, device=device, group=group)
