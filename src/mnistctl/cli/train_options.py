"""The options of `train` that are fields of `TrainSettings` or arguments of the net."""

from typing import Annotated, Any

import typer

from mnistctl.errors import UsageError
from mnistctl.settings import architectures
from mnistctl.settings.train_settings import OPTIMIZERS, SCHEDULES

NET, TRAINING, AUGMENTATION, DATA = "The net", "Training", "Augmentation (each image's own)", "Data"


def _option(panel: str, text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False)


def _lists(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel=NET, show_default=False, metavar="<n,n,…>")


Hidden = Annotated[str | None, _lists("Sizes of the fully connected layers: 256,128.")]
Widths = Annotated[str | None, _lists("Channels of each convolution.")]
Kernels = Annotated[str | None, _lists("Sizes of their kernels, or one for all.")]
Strides = Annotated[str | None, _lists("Their strides, or one for all.")]
Pools = Annotated[str | None, _lists("Max pooling after each, or one for all; 1: none.")]
SamePadding = Annotated[bool | None, _option(NET, "Convolutions keep the size.")]
BatchNorm = Annotated[bool | None, _option(NET, "Batch normalisation.")]
Dropout = Annotated[float | None, _option(NET, "After each hidden fully connected layer.")]
ConvDropout = Annotated[float | None, _option(NET, "After each pooling.")]

Precision = Annotated[
    str | None, _option(TRAINING, "Of the steps: float32, bf16, or auto: bf16 where it is faster.")
]
Epochs = Annotated[float | None, _option(TRAINING, "Passes over the images; a fraction is fine.")]
MinSteps = Annotated[int | None, _option(TRAINING, "At least so many steps.")]
Patience = Annotated[int | None, _option(TRAINING, "Stop after so many epochs without a better one.")]
BatchSize = Annotated[int | None, _option(TRAINING, "Images a step.")]
Optimizer = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(OPTIMIZERS)}.",
        rich_help_panel=TRAINING,
        show_default=False,
        autocompletion=lambda incomplete: [item for item in OPTIMIZERS if item.startswith(incomplete)],
    ),
]
LearningRate = Annotated[float | None, _option(TRAINING, "The schedule's highest.")]
Momentum = Annotated[float | None, _option(TRAINING, "Of SGD and RMSprop; Adam's β1.")]
Nesterov = Annotated[bool | None, _option(TRAINING, "SGD looks ahead.")]
Beta2 = Annotated[float | None, _option(TRAINING, "Adam's β2, RMSprop's α, Adadelta's ρ.")]
WeightDecay = Annotated[float | None, _option(TRAINING, "Pull of the weights towards 0.")]
ClipNorm = Annotated[float | None, _option(TRAINING, "Scale gradients down to this norm; 0: never.")]
Schedule = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(SCHEDULES)}.",
        rich_help_panel=TRAINING,
        show_default=False,
        autocompletion=lambda incomplete: [item for item in SCHEDULES if item.startswith(incomplete)],
    ),
]
Warmup = Annotated[float | None, _option(TRAINING, "Share of the steps in which the rate rises.")]
StepEpochs = Annotated[float | None, _option(TRAINING, "Of step: epochs between two falls.")]
Gamma = Annotated[float | None, _option(TRAINING, "Of step: the factor of each fall.")]
LabelSmoothing = Annotated[float | None, _option(TRAINING, "Probability spread over all classes.")]
Ema = Annotated[float | None, _option(TRAINING, "Decay a step of averaged weights; 0: none.")]
Seed = Annotated[int | None, _option(TRAINING, "Of weights, order, augmentation and dropout.")]

Rotate = Annotated[float | None, _option(AUGMENTATION, "Degrees either way.")]
Scale = Annotated[float | None, _option(AUGMENTATION, "By a factor of up to e^±scale.")]
Shear = Annotated[float | None, _option(AUGMENTATION, "Pixels sideways a pixel of height.")]
Shift = Annotated[float | None, _option(AUGMENTATION, "Pixels either way.")]
Elastic = Annotated[float | None, _option(AUGMENTATION, "Pixels of smooth displacement.")]
Thickness = Annotated[float | None, _option(AUGMENTATION, "Pixels that strokes grow or shrink by.")]
Noise = Annotated[float | None, _option(AUGMENTATION, "Its most deviation, of black to white.")]
Erase = Annotated[float | None, _option(AUGMENTATION, "Probability of a blanked rectangle.")]

Subset = Annotated[int | None, _option(DATA, "Train on so many of the training images.")]
ValidationSize = Annotated[
    int | None,
    typer.Option(help="Images held out of train.", rich_help_panel=DATA, show_default="1 in 12"),
]
SplitSeed = Annotated[int | None, _option(DATA, "Of which images those are.")]


def given(parameters: dict[str, Any]) -> dict[str, Any]:
    """The settings among a command's parameters, lists of numbers read.

    Raises:
        UsageError: a list is not one of whole numbers.
    """
    return {
        name: _numbers(name, value)
        if isinstance(architectures.ARGUMENTS.get(name), tuple) and value is not None
        else value
        for name, value in parameters.items()
    }


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(item) for item in text.split(",")] if text else []
    except ValueError:
        raise UsageError(f"--{name} {text}: expected whole numbers with commas: 256,128") from None
