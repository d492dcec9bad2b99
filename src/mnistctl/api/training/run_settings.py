"""What a run is to be: from a recipe, a file of settings, a model to start from, and options."""

import logging
from pathlib import Path
from typing import Any

from mnistctl.api import models
from mnistctl.errors import ModelError, UsageError
from mnistctl.models import checkpoint, formats
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.settings import architectures, recipes, train_settings
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import files

_log = logging.getLogger(__name__)


def choose(
    file: Path | str | None,
    options: dict[str, Any],
) -> tuple[TrainSettings, Checkpoint | None, bool]:
    """The settings of a run, and the model it starts from, if any.

    A recipe comes first: the one named, else the architecture's own. What the file says replaces the
    recipe's, and the options replace the file's.

    Args:
        file: TOML, or the `config.json` of a run.
        options: fields of `TrainSettings` and arguments of the net; None: not given.

    Returns:
        The settings, the model, and whether the dataset was named by anybody.

    Raises:
        UsageError: a name or a value is wrong, or two of them contradict each other.
        ModelError: the model to start from is not there or cannot be opened.
    """
    asked = {name: value for name, value in options.items() if value is not None}
    written = {} if file is None else train_settings.read(Path(file))
    if asked.get("recipe") and written.get("recipe") not in (None, asked["recipe"]):
        raise UsageError(f"--recipe {asked['recipe']}: {file} is of recipe '{written['recipe']}'")
    if "init" in asked:
        written = {name: value for name, value in written.items() if name != "init_sha256"}
    named = {**written, **asked}
    opened = open_init(named.get("init"), named.get("arch"))
    base = _base(named.get("recipe"), named.get("arch"), opened)
    for values in (written, asked):
        kept = {name: value for name, value in values.items() if name not in ("recipe", "init")}
        if "epochs" in kept:
            # The length that was asked for is the length it gets: no floor in steps then.
            kept = {"min_steps": 0} | kept
        base = base.replace(**kept)
    if opened is not None:
        if written.get("init_sha256") not in (None, opened.sha256):
            raise UsageError(f"--init {opened.path}: not the model that {file} names (SHA-256)")
        base = base.replace(init=str(opened.path), init_sha256=opened.sha256)
    return _with_source(base, written), opened, "dataset" in named


def _base(recipe: str | None, arch: str | None, opened: Checkpoint | None) -> TrainSettings:
    """The recipe's settings; those for a model that has learned already, where it starts from one."""
    if opened is not None:
        arch = arch or opened.metadata.arch
    base = recipes.find_recipe(recipe) if recipe else recipes.for_arch(arch or "cnn")
    if opened is None:
        return base
    if recipe is None:
        base = base.replace(**recipes.FINE_TUNING)
    elif base.arch != opened.metadata.arch:
        raise UsageError(f"--recipe {recipe}: of '{base.arch}'; {opened.path} is another net")
    return base.replace(arch=arch, arch_args=opened.metadata.arch_args)


def _with_source(chosen: TrainSettings, written: dict[str, Any]) -> TrainSettings:
    """The settings with the SHA-256 of a person's own class as it is now."""
    source = architectures.custom_source(chosen.arch)
    if source is None:
        return chosen
    if not source[0].is_file():
        raise UsageError(f"--arch {chosen.arch}: {source[0]}: no such file")
    found = files.sha256(source[0].read_bytes())
    if written.get("arch_sha256") not in (None, found) and written.get("arch") == chosen.arch:
        _log.warning(f"{source[0]} has changed since those settings were written")
    return chosen.replace(arch_sha256=found)


def open_begun(begun: TrainSettings) -> Checkpoint | None:
    """The checkpoint that a run began from, if any.

    Raises:
        UsageError: it is not what it was.
    """
    opened = open_init(begun.init, begun.arch)
    if opened is not None and opened.sha256 != begun.init_sha256:
        raise UsageError(f"{opened.path}: not the model that the run began from (SHA-256)")
    return opened


def open_init(init: str | Path | None, arch: str | None) -> Checkpoint | None:
    """The checkpoint to start from, if any."""
    if init is None:
        return None
    path = models.find(init)
    if models.format_of(path) != formats.SAFETENSORS:
        raise UsageError(f"--init {path}: an exported file; name the checkpoint it was made from")
    opened = checkpoint.load(path)
    if opened.metadata.members:
        raise UsageError(f"--init {path}: an ensemble; start from one of its members")
    named = opened.named_architecture(opened.metadata.arch, arch)
    try:
        architectures.resolve(named, opened.metadata.arch_args)
    except UsageError as error:
        raise ModelError(f"{path}: {error}") from error
    models.warn_of_changed_source(opened, arch)
    return opened
