"""`export`: a model in other formats, each checked before it gets its name."""

import dataclasses
import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.api.models import split_of
from mnistctl.errors import CheckFailedError, MnistctlError, UsageError, look_up
from mnistctl.evaluation.report import check_split
from mnistctl.models import checkpoint, formats
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import Predictor
from mnistctl.system import files
from mnistctl.types import Images

if TYPE_CHECKING:
    from mnistctl.exports import Export

_log = logging.getLogger(__name__)

CALIBRATION_IMAGES = 1_000  # of training, that show int8 which values occur
_LOOKED_AT = 256  # images, that the finished file is asked once more


@dataclass(frozen=True)
class ExportedModel:
    """A file, or a folder, that was written after its check held."""

    path: str
    format: str
    bytes: int
    parity: dict[str, Any]  # see exports.parity.Parity
    graph_sha256: str  # of the graph that was checked

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def export(
    model: str | Path | None = None,
    *,
    format: str | Sequence[str] = formats.ONNX,  # noqa: A002 - the word of the command line
    output: Path | None = None,
    force: bool = False,
    opset: int = formats.OPSET,
    input: str = formats.UINT8,  # noqa: A002
    dataset: str | None = None,
    arch: str | None = None,
    data_dir: Path | None = None,
) -> list[ExportedModel]:
    """Write a model in other formats, each checked against PyTorch before it gets its name.

    Args:
        model: a checkpoint, a run folder, a run's name; None: the newest run here.
        format: one of `formats.FORMATS`, or several.
        output: the file to write, for several formats the folder for them; None: the checkpoint's
            name with the format's ending, beside it, or in the working folder for the bundled model.
        force: replace what exists.
        opset: of ONNX, one of `formats.IR_VERSIONS`.
        input: what the export takes, one of `formats.INPUTS`.
        dataset: another one than the model's own to check it on.
        arch: FILE.py:CLASS, for a model of a person's own class.
        data_dir: the data folder, if not the usual one.

    Raises:
        UsageError: an unknown format, opset or input, or the output exists.
        ModelError: no such model, or it cannot be opened.
        DataError: the model's dataset, which the check needs, is damaged or not to be had.
        MissingExtraError: what a format needs is not installed.
        CheckFailedError: an exported model says something else; no file of it is left.
        WriteError: the output cannot be written.
    """
    names = list(dict.fromkeys([format] if isinstance(format, str) else format))
    kinds = {name: look_up("format", name, formats.FORMATS) for name in names}
    if opset not in formats.IR_VERSIONS:
        low, high = min(formats.IR_VERSIONS), max(formats.IR_VERSIONS)
        raise UsageError(f"--opset {opset}: expected {low} to {high}")
    look_up("input", input, formats.INPUTS)
    if dataset is not None:
        datasets.check_split(dataset, "test")
    path = models.find(model)
    if models.format_of(path) != formats.SAFETENSORS:
        raise UsageError(f"{path}: already exported; name the checkpoint it was made from")
    targets = _targets(path, kinds, output)
    for name, target in targets.items():
        _check_target(target, path, kinds[name], force=force)
    opened = checkpoint.load(path)
    split = split_of(opened.metadata, "test", dataset, data_dir)

    import torch  # 1.2 s

    from mnistctl.exports import Exporter
    from mnistctl.nn import torch_predictor

    def training_images() -> Images:
        train = split_of(opened.metadata, "train", None, data_dir).images
        return train[np.random.default_rng(0).permutation(len(train))[:CALIBRATION_IMAGES]]

    models.warn_of_changed_source(opened, arch)
    reference = torch_predictor.from_checkpoint(opened, device=torch.device("cpu"), arch=arch)
    check_split(reference.metadata.class_names, split)
    exporter = Exporter(reference, opset=opset, input_kind=input, training_images=training_images)
    done = []
    for name, target in targets.items():
        about = {"format": name, "input": input}
        metadata = dataclasses.replace(opened.metadata, export=about)
        try:
            made = exporter.build(name)
            done.append(_write(made, target, metadata, reference, split))
        except (MnistctlError, OSError):
            raise
        except Exception as error:  # of an exporter or a runtime: the net is not for them
            reason = " ".join((str(error).strip() or type(error).__name__).split())[:200]
            raise CheckFailedError(f"{target}: cannot be made as '{name}' ({reason})") from error
        _log.info(f"{target}: checked and written")
    return done


def _targets(path: Path, kinds: dict[str, formats.Format], output: Path | None) -> dict[str, Path]:
    """Where each format goes."""
    if output is not None and len(kinds) == 1:
        return dict.fromkeys(kinds, output)
    beside = Path(path.name) if path == models.bundled(formats.SAFETENSORS) else path
    folder = beside.parent if output is None else output
    return {name: folder / f"{path.stem}{kind.suffix}" for name, kind in kinds.items()}


def _check_target(target: Path, path: Path, kind: formats.Format, *, force: bool) -> None:
    """Check that a place may be written to, and that nothing else goes with what is replaced."""
    if target.resolve() == path.resolve():
        raise UsageError(f"--output {target}: the model itself; choose another name")
    if not target.exists():
        return
    if target.is_dir() != kind.is_folder:
        found, wanted = ("a folder", "a file") if target.is_dir() else ("a file", "a folder")
        raise UsageError(f"--output {target}: {found}; the format is {wanted}")
    if not force:
        raise UsageError(f"{target} exists; replace it with --force, or choose another --output")
    if kind.is_folder:
        inside = {it.relative_to(target).as_posix() for it in target.rglob("*") if not it.is_dir()}
        if others := sorted(inside - set(kind.files)):
            raise UsageError(f"--output {target}: holds other files ({others[0]}); choose another")


def _write(
    made: "Export", target: Path, metadata: Metadata, reference: Predictor, split: datasets.Split
) -> ExportedModel:
    """Save it, check it, save it with what the check found, and look at that once more."""
    from mnistctl.exports import parity

    name = metadata.export["format"]
    kind = formats.FORMATS[name]
    with files.replacing(target, folder=kind.is_folder) as temporary:
        metadata = dataclasses.replace(metadata, export=metadata.export | made.details)
        made.save(temporary, metadata)
        if not kind.is_exact:
            _try(temporary)
        checked = made.open(temporary)
        found = parity.compare(reference, checked, split, kind=kind)
        found.require(str(target))
        some = split.images[:_LOOKED_AT]
        before = checked(some)
        about = {"graph_sha256": checked.graph_sha256, "parity": found.to_json()}
        finished = dataclasses.replace(metadata, export=metadata.export | about)
        made.save(temporary, finished)
        final = made.open(temporary)
        same = all(np.array_equal(*pair) for pair in zip(final(some), before, strict=True))
        if not same or final.metadata != finished:
            raise CheckFailedError(f"{target}: not written: it is not what was checked")
    size = sum(it.stat().st_size for it in (target, *target.rglob("*")) if it.is_file())
    return ExportedModel(str(target), name, size, found.to_json(), str(checked.graph_sha256))


def _try(path: Path) -> None:
    """Open an ONNX file in a process of its own first: of a rare graph onnxruntime crashes."""
    code = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True)
    if done.returncode < 0:
        raise CheckFailedError(f"{path.name}: not written: onnxruntime crashes when it opens it")
