"""`ensemble`: several models in one file, whose probabilities are averaged."""

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnistctl.api import models
from mnistctl.api.models import split_of
from mnistctl.errors import UsageError
from mnistctl.evaluation.report import Report, measure
from mnistctl.models import checkpoint, formats
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.models.metadata import Metadata
from mnistctl.system import provenance

ENSEMBLE = "ensemble"  # the name of its architecture
DEFAULT = Path("ensemble.safetensors")
_DIVIDING = ("split_seed", "validation_size", "subset")  # settings that divide a dataset


@dataclass(frozen=True)
class EnsembleFile:
    """An ensemble that was written. Validation figures are None without validation images."""

    path: str
    bytes: int
    members: list[str]
    parameters: int
    validation_accuracy: float | None  # in [0, 1]
    validation_loss: float | None  # cross-entropy in nats
    threshold: float | None  # on `familiarity`

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def ensemble(
    members: Sequence[str | Path],
    *,
    output: Path = DEFAULT,
    force: bool = False,
    arch: str | Sequence[str] = (),
    data_dir: Path | None = None,
) -> EnsembleFile:
    """Join models into one file; its probabilities are the mean of theirs.

    Args:
        members: two checkpoints or more: files, run folders or names of runs. They must have learned
            from the same images, so that those held out are held out for all of them.
        output: the file to write.
        force: replace a file that exists.
        arch: FILE.py:CLASS, for models of a person's own classes; one for each class.
        data_dir: the data folder, if not the usual one.

    Raises:
        UsageError: fewer than two models, one named twice, they do not belong together, or the output
            exists.
        ModelError: no such model, or it cannot be opened.
        DataError: the validation images are not to be had.
        WriteError: the output cannot be written.
    """
    if len(members) < 2:
        raise UsageError("ensemble: name two models or more")
    paths = [models.find(member) for member in members]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("ensemble: a model is named twice")
    for path in paths:
        if models.format_of(path) != formats.SAFETENSORS:
            raise UsageError(f"{path}: already exported; name the checkpoint it was made from")
    if output.exists() and not force:
        raise UsageError(f"{output} exists; replace it with --force, or choose another --output")
    opened = [checkpoint.load(path) for path in paths]
    _check_alike(opened)
    tensors = {
        f"members.{number}.{name}": tensor
        for number, member in enumerate(opened)
        for name, tensor in member.tensors.items()
    }
    metadata = _metadata([member.metadata for member in opened])
    own = models.custom_class(metadata, arch)
    metadata, report = _measured(Checkpoint(output, metadata, tensors, ""), own, data_dir)
    checkpoint.save(output, tensors, metadata)
    return EnsembleFile(
        path=str(output),
        bytes=output.stat().st_size,
        members=[str(path) for path in paths],
        parameters=metadata.parameters,
        validation_accuracy=report.accuracy if report else None,
        validation_loss=report.loss if report else None,
        threshold=metadata.threshold,
    )


def _check_alike(opened: Sequence[Checkpoint]) -> None:
    first = opened[0]
    for other in opened[1:]:
        for what, of_first, of_other in (
            ("classes", first.metadata.class_names, other.metadata.class_names),
            ("dataset", first.metadata.dataset["name"], other.metadata.dataset["name"]),
            ("data", first.metadata.dataset["sha256"], other.metadata.dataset["sha256"]),
            *(
                (name, first.metadata.config.get(name), other.metadata.config.get(name))
                for name in _DIVIDING
            ),
        ):
            if of_first != of_other:
                raise UsageError(
                    f"{other.path} does not belong with {first.path}: its {what} is {of_other}, not "
                    f"{of_first}, so one may have learned from what is held out for the other"
                )


def _metadata(members: Sequence[Metadata]) -> Metadata:
    """What an ensemble is, before it was measured; its settings are those that all members share."""
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
        dataset=first.dataset,
        class_names=first.class_names,
        config=shared,
        metrics={},
        versions=provenance.versions(),
        created=provenance.now(),
        git_commit=provenance.git_commit(),
        members=[member.to_json() for member in members],
    )


def _measured(
    made: Checkpoint,
    arch: str | None,
    data_dir: Path | None,
) -> tuple[Metadata, Report | None]:
    """The metadata with what the ensemble comes to on validation, if there is any."""
    import torch  # 1.2 s

    from mnistctl.nn import calibration, torch_predictor

    predictor = torch_predictor.from_checkpoint(made, device=torch.device("cpu"), arch=arch)
    split = split_of(made.metadata, "validation", None, data_dir)
    if not len(split.images):
        return made.metadata, None
    report, outputs = measure(predictor, split, model=str(made.path), batch_size=256)
    figures = {"validation_accuracy": report.accuracy, "validation_loss": report.loss}
    return (
        dataclasses.replace(
            made.metadata,
            metrics=figures,
            threshold=calibration.threshold(outputs.familiarity),
            calibration_images=len(split.images),
        ),
        report,
    )
