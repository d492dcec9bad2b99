"""Resolve the settings of a run from a recipe, a settings file, an initial model and options."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.api.training import own_pictures
from mnistctl.api.training.state_file import SavedState
from mnistctl.errors import ModelError, UsageError
from mnistctl.models import checkpoint, formats
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.run.run_folder import Run
from mnistctl.settings import architectures, recipes, train_settings
from mnistctl.settings.architectures import Architecture
from mnistctl.settings.train_settings import TrainSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What training starts from: the settings of a new run, or the folder of an existing one."""

    settings: TrainSettings
    initial_model: Checkpoint | None = None  # None: random weights, or those of `saved`
    is_dataset_named: bool = True  # otherwise the bundled digits may replace MNIST
    run: Run | None = None  # to resume; None: a new run
    saved: SavedState | None = None  # of that run; None: it was interrupted before it saved any
    is_finished: bool = False  # nothing is left to train


def resolve(
    file: Path | str | None, options: dict[str, Any], *, without: Collection[str] = ()
) -> Start:
    """The settings of a new run.

    They start as those of the recipe: the one named, otherwise the architecture's own. The file
    overrides the recipe, and the options override the file.

    Args:
        file: TOML, or the `config.json` of a run.
        options: fields of `TrainSettings` and arguments of the net; None: not given.
        without: keys of the file that are no settings, and are ignored.

    Raises:
        UsageError: a name or a value is wrong, or two of them contradict each other.
        ModelError: the initial model is not found or cannot be opened.
    """
    options = {name: value for name, value in options.items() if value is not None}
    file_settings = {} if file is None else train_settings.read(Path(file), without=without)
    if options.get("recipe") and file_settings.get("recipe") not in (None, options["recipe"]):
        raise UsageError(
            f"--recipe {options['recipe']}: {file} is for the recipe '{file_settings['recipe']}'"
        )
    named = {**file_settings, **options}
    model = open_initial_model(named.get("init"), named.get("arch"))
    settings = _base_settings(named.get("recipe"), named.get("arch"), model)
    if own_pictures.are_in(named.get("dataset"), arch=settings.arch):
        if model is None:
            raise UsageError(
                f"--dataset {named['dataset']}: labels.csv does not say where the digits are; add the "
                f"model that finds them: --init {models.BUNDLED_NUMBERS}"
            )
        settings = settings.replace(**recipes.NUMBERS_FINE_TUNING)
    settings = _override(_override(settings, file_settings), options)
    for reason in train_settings.without_effect(settings, options):
        _log.warning(reason)
    if model is not None:
        expected = None if "init" in options else file_settings.get("init_sha256")
        if expected not in (None, model.sha256):
            raise UsageError(f"--init {model.path}: not the model named in {file}: another SHA-256")
        settings = settings.replace(init=str(model.path), init_sha256=model.sha256)
    settings = _with_custom_file(settings, file_settings)
    if "dataset" in named:
        settings = settings.replace(dataset=datasets.canonical_name(settings.dataset))
    return Start(settings, model, is_dataset_named="dataset" in named)


def _base_settings(recipe: str | None, arch: str | None, model: Checkpoint | None) -> TrainSettings:
    """The settings of the recipe, adapted to an initial model."""
    if model is None:
        return recipes.find_recipe(recipe) if recipe else recipes.for_arch(arch or "cnn")
    arch = arch or model.metadata.arch
    if recipe is None:
        base = recipes.for_arch(arch).replace(**recipes.FINE_TUNING)
    else:
        base = recipes.find_recipe(recipe)
        if base.arch != model.metadata.arch:
            raise UsageError(
                f"--recipe {recipe}: for the architecture '{base.arch}', but {model.path} is a "
                f"'{model.metadata.arch}'"
            )
    return base.replace(arch=arch, arch_args=model.metadata.arch_args)


def _override(settings: TrainSettings, values: dict[str, Any]) -> TrainSettings:
    omitted = ("recipe", "init", "init_sha256")
    values = {name: value for name, value in values.items() if name not in omitted}
    if "epochs" in values:  # the length that the user asks for, without the recipe's minimum
        values = {"min_steps": 0} | values
    return settings.replace(**values)


def _with_custom_file(settings: TrainSettings, file_settings: dict[str, Any]) -> TrainSettings:
    """The settings with the SHA-256 of a custom architecture's file as it is now."""
    architecture = Architecture.parse(settings.arch)
    if not architecture.is_custom:
        return settings
    if architecture.sha256 is None:
        raise UsageError(f"--arch {settings.arch}: {architecture.file} not found")
    expected = file_settings.get("arch_sha256")
    if expected not in (None, architecture.sha256) and file_settings.get("arch") == settings.arch:
        _log.warning(f"{architecture.file} has changed since the settings file was written")
    return settings.replace(arch_sha256=architecture.sha256)


def reopen_initial_model(settings: TrainSettings, *, is_resumed: bool) -> Checkpoint | None:
    """The initial model of an existing run, if it has one and needs it.

    Args:
        settings: of the run.
        is_resumed: whether the weights come from a saved state. Then the model is needed only to find
            the digits of the user's pictures.

    Raises:
        UsageError: the file is another model now.
    """
    if is_resumed and not own_pictures.are_in(settings.dataset, arch=settings.arch):
        return None
    model = open_initial_model(settings.init, settings.arch)
    if model is not None and model.sha256 != settings.init_sha256:
        raise UsageError(f"{model.path}: not the model that the run started from: another SHA-256")
    return model


def open_initial_model(init: str | Path | None, arch: str | None) -> Checkpoint | None:
    """Open the checkpoint to start from; None: random weights.

    Args:
        init: a checkpoint, a run folder or a run's name; None: random weights.
        arch: the architecture that the user named; required for a custom one.

    Raises:
        ModelError: the model is not found, or cannot be opened.
        UsageError: not a checkpoint of a single net, or not of this architecture.
    """
    if init is None:
        return None
    path = models.find_model(init)
    if models.format_of(path) != formats.SAFETENSORS:
        raise UsageError(f"--init {path}: an exported file; name the checkpoint that it was made from")
    model = checkpoint.load(path)
    if model.metadata.members:
        raise UsageError(f"--init {path}: an ensemble; name one of its members")
    name = model.named_architecture(model.metadata.arch, arch)
    try:
        architectures.resolve(name, model.metadata.arch_args)
    except UsageError as error:
        raise ModelError(f"{path}: {error}") from error
    models.warn_if_source_changed(model, arch)
    return model
