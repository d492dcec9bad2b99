"""`ensemble`: combine models into one file that averages their probabilities."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnistctl.api import models
from mnistctl.errors import ModelError, UsageError
from mnistctl.evaluation.report import Report, measure
from mnistctl.models import checkpoint, formats
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.models.metadata import Metadata
from mnistctl.settings.architectures import DIGIT
from mnistctl.system import provenance
from mnistctl.types import Result

ENSEMBLE = "ensemble"  # the name of its architecture
DEFAULT = Path("ensemble.safetensors")
_SPLIT_SETTINGS = ("split_seed", "validation_size", "subset")  # they decide which images are held out


@dataclass(frozen=True)
class EnsembleFile(Result):
    """An ensemble that was written. Validation metrics are None without validation images."""

    path: str  # of the file
    bytes: int  # size of the file
    members: list[str]  # paths of the models
    parameters: int  # of the members' nets, without the layers of the familiarity
    validation_accuracy: float | None  # in [0, 1]
    calibrated_validation_loss: float | None  # cross-entropy in nats of the calibrated members' mean
    threshold: float | None  # images with a lower familiarity are rejected


def ensemble(
    members: Sequence[str | Path],
    *,
    output: Path = DEFAULT,
    force: bool = False,
    arch: str | Sequence[str] = (),
    data_dir: Path | None = None,
) -> EnsembleFile:
    """Combine models into one; its probabilities are the mean of theirs.

    Args:
        members: two or more checkpoints: files, run folders or names of runs. They must have been
            trained on the same images, so that the validation images are new to all of them.
        output: the file to write.
        force: replace an existing file.
        arch: FILE.py:CLASS, for models with custom architectures; one per class.
        data_dir: the data folder; None: the default.

    Raises:
        UsageError: fewer than two models, a model named twice, models trained on different images, or
            the output exists.
        ModelError: a model was not found or cannot be opened.
        DataError: the validation images are unavailable.
        WriteError: the output cannot be written.
    """
    if len(members) < 2:
        raise UsageError("ensemble: name two models or more")
    paths = [models.find_model(member) for member in members]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("ensemble: a model is named twice")
    for path in paths:
        if models.format_of(path) != formats.SAFETENSORS:
            raise UsageError(f"{path}: already exported; name the checkpoint it was exported from")
    if output.exists() and not force:
        raise UsageError(f"{output} exists; replace it with --force, or choose another --output")
    checkpoints = [checkpoint.load(path) for path in paths]
    for member in checkpoints:
        if member.metadata.task != DIGIT:
            raise ModelError(
                f"{member.path}: a model for the task '{member.metadata.task}'; only models for single "
                "digits can be combined"
            )
    for member in checkpoints[1:]:
        _check_same_images(checkpoints[0], member)
    tensors = {
        f"members.{number}.{name}": tensor
        for number, member in enumerate(checkpoints)
        for name, tensor in member.tensors.items()
    }
    metadata = _metadata([member.metadata for member in checkpoints])
    custom_arch = models.matching_arch(metadata, arch)
    combined = Checkpoint(output, metadata, tensors, sha256="")
    metadata, report = _calibrate(combined, custom_arch, data_dir)
    checkpoint.save(output, tensors, metadata)
    return EnsembleFile(
        path=str(output),
        bytes=output.stat().st_size,
        members=[str(path) for path in paths],
        parameters=metadata.parameters,
        validation_accuracy=report.accuracy if report else None,
        calibrated_validation_loss=report.loss if report else None,
        threshold=metadata.threshold,
    )


def _check_same_images(first: Checkpoint, other: Checkpoint) -> None:
    """Check that two models have the same classes, data and validation images."""
    ours, theirs = first.metadata, other.metadata
    values = {
        "classes": (ours.class_names, theirs.class_names),
        "dataset": (ours.dataset["name"], theirs.dataset["name"]),
        "data": (ours.dataset["sha256"], theirs.dataset["sha256"]),
        **{name: (ours.config.get(name), theirs.config.get(name)) for name in _SPLIT_SETTINGS},
    }
    for name, (expected, actual) in values.items():
        if actual != expected:
            raise UsageError(
                f"{other.path} cannot be combined with {first.path}: its {name} is {actual}, not "
                f"{expected}, so one may have been trained on validation images of the other"
            )


def _metadata(members: Sequence[Metadata]) -> Metadata:
    """The metadata of an ensemble before calibration, with the settings that all members share."""
    first = members[0]
    shared = {
        name: value
        for name, value in first.config.items()
        if all(name in member.config and member.config[name] == value for member in members)
    }
    return Metadata(
        arch=ENSEMBLE,
        arch_args={},
        parameters=sum(member.parameters for member in members),
        familiarity_parameters=sum(member.familiarity_parameters for member in members),
        dataset=first.dataset,
        class_names=first.class_names,
        config=shared,
        metrics={},
        versions=provenance.versions(),
        created=provenance.now(),
        git_commit=provenance.git_commit(),
        members=[member.to_json() for member in members],
    )


def _calibrate(
    ensemble: Checkpoint, arch: str | None, data_dir: Path | None
) -> tuple[Metadata, Report | None]:
    """The metadata with validation metrics and the rejection threshold, if there are such images."""
    import torch  # 1.2 s

    from mnistctl.nn import calibration, torch_predictor

    predictor = torch_predictor.from_checkpoint(ensemble, device=torch.device("cpu"), arch=arch)
    split = models.load_split(ensemble.metadata, "validation", None, data_dir)
    if not len(split.images):
        return ensemble.metadata, None
    report, outputs = measure(predictor, split, model=str(ensemble.path), batch_size=256)
    metadata = dataclasses.replace(
        ensemble.metadata,
        metrics={
            "validation_accuracy": report.accuracy,
            "calibrated_validation_loss": report.loss,
        },
    )
    if calibration.can_calibrate(split):
        metadata = dataclasses.replace(
            metadata,
            threshold=calibration.rejection_threshold(outputs.familiarity),
            calibration_images=len(split.images),
        )
    return metadata, report
