"""`export`: write a model in other formats. Each export is checked before it is put in place."""

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.errors import CheckFailedError, MnistctlError, UsageError, WriteError, look_up, one_line
from mnistctl.evaluation.report import check_split
from mnistctl.models import checkpoint, formats
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.models.formats import Format
from mnistctl.models.metadata import Metadata
from mnistctl.run import progress
from mnistctl.settings.architectures import NUMBERS
from mnistctl.system import files, processes, temporary
from mnistctl.types import Images, Result

if TYPE_CHECKING:
    from mnistctl.exports import Export, PageSource, Source

_log = logging.getLogger(__name__)

CALIBRATION_IMAGES = 1_000  # training images that show int8 the range of each activation
_STEPS = 4  # of one export, for the progress: build, open, compare, write
_COMPARED_AGAIN = 256  # images that the final file is compared with the checked one on


@dataclass(frozen=True)
class ExportedModel(Result):
    """A file or a folder that was written after it passed the check."""

    path: str  # of the file or the folder
    format: str  # as in --format
    bytes: int  # size of all its files
    parity: dict[str, Any]  # the check against PyTorch: differences, limits, images
    graph_sha256: str  # of the graph that was checked


def export(
    model: str | Path | None = None,
    *,
    format: str | Sequence[str] = formats.ONNX,  # noqa: A002 - as on the command line
    output: Path | None = None,
    force: bool = False,
    opset: int = formats.OPSET,
    input: str = formats.UINT8,  # noqa: A002
    dataset: str | None = None,
    arch: str | None = None,
    data_dir: Path | None = None,
) -> list[ExportedModel]:
    """Export a model to other formats, each checked against PyTorch on all test images.

    A model for numbers can be exported as onnx only; it is checked on pages of test images.

    Args:
        model: a checkpoint, a run folder or a run's name; None: the newest run here, else the bundled
            model.
        format: one of `formats.FORMATS`, or several.
        output: the file to write; for several formats, the folder for them; None: beside the
            checkpoint (the working folder for the bundled model), with the format's suffix.
        force: replace existing files.
        opset: ONNX opset, one of `formats.IR_VERSIONS`.
        input: what the exported model takes, one of `formats.INPUTS`.
        dataset: the dataset for the check; None: the model's own.
        arch: FILE.py:CLASS, for a model with a custom architecture.
        data_dir: the data folder; None: the default.

    Raises:
        UsageError: an unknown format, opset or input, or the output exists.
        ModelError: the model was not found or cannot be opened.
        DataError: the dataset for the check is damaged or unavailable.
        MissingExtraError: a package that a format needs is not installed.
        CheckFailedError: an exported model gives other outputs; its file is not kept.
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
    path = models.find_model(model)
    if models.format_of(path) != formats.SAFETENSORS:
        raise UsageError(f"{path}: already exported; name the checkpoint it was exported from")
    targets = _targets(path, kinds, output)
    for name, target in targets.items():
        _check_target(target, path, kinds[name], force=force)
    if formats.HTML in names and input != formats.UINT8:
        raise UsageError(f"--input {input}: an HTML page prepares its images itself, as uint8")
    loaded = checkpoint.load(path)
    if loaded.metadata.task == NUMBERS:
        _check_numbers(names, input)
    split = models.load_split(loaded.metadata, "test", dataset, data_dir)
    check_split(loaded.metadata.class_names, split)
    _prepare(targets)
    source = open_source(loaded, arch, data_dir, opset=opset, input_kind=input)
    exported = []
    for name, target in targets.items():
        exported.append(write_checked(source, name, target, split))
        _log.info(f"{target}: checked and written")
    return exported


def _check_numbers(names: Sequence[str], input_kind: str) -> None:
    """Check the options of the export of a model for numbers."""
    if others := [name for name in names if name != formats.ONNX]:
        raise UsageError(f"--format {others[0]}: models for numbers can be exported as onnx only")
    if input_kind != formats.UINT8:
        raise UsageError(f"--input {input_kind}: models for numbers take uint8 only")


def _targets(path: Path, kinds: Mapping[str, Format], output: Path | None) -> dict[str, Path]:
    """The path of each format's file or folder."""
    if output is not None and len(kinds) == 1:
        return dict.fromkeys(kinds, output)
    is_bundled = path == models.bundled(formats.SAFETENSORS)
    folder = output or (Path() if is_bundled else path.parent)
    return {name: folder / f"{path.stem}{kind.suffix}" for name, kind in kinds.items()}


def _check_target(target: Path, path: Path, kind: Format, *, force: bool) -> None:
    """Check that a target may be written, and that replacing it deletes nothing else."""
    if target.resolve() == path.resolve():
        raise UsageError(f"--output {target}: the model itself; choose another name")
    if not target.exists():
        return
    if target.is_dir() != kind.is_folder:
        actual, expected = ("a folder", "a file") if target.is_dir() else ("a file", "a folder")
        raise UsageError(f"--output {target}: {actual}; the format is {expected}")
    if not force:
        raise UsageError(f"{target} exists; replace it with --force, or choose another --output")
    if kind.is_folder:
        content = {
            item.relative_to(target).as_posix() for item in target.rglob("*") if not item.is_dir()
        }
        if others := sorted(content - set(kind.files)):
            raise UsageError(f"--output {target}: contains other files ({others[0]}); choose another")


def _prepare(targets: Mapping[str, Path]) -> None:
    """Check that all formats are installed and all folders can be written.

    Raises:
        MissingExtraError: a package that a format needs is not installed.
        WriteError: a folder cannot be written.
    """
    from mnistctl import exports  # imports torch and onnxruntime: 2 s

    for name in targets:
        exports.load_module(name)
    for folder in {target.resolve().parent for target in targets.values()}:
        files.make_folder(folder)
        temporary.clean_up(folder)
        if not os.access(folder, os.W_OK):
            raise WriteError(f"{folder}: cannot be written: no permission")


def open_source(
    model: Checkpoint,
    arch: str | None,
    data_dir: Path | None,
    *,
    opset: int = formats.OPSET,
    input_kind: str = formats.UINT8,
) -> "Source | PageSource":
    """A checkpoint as the source of exports; for the arguments see `export`."""
    import torch  # 1.2 s

    from mnistctl.exports import PageSource, Source
    from mnistctl.nn import torch_page_predictor, torch_predictor

    if model.metadata.task == NUMBERS:
        model.named_architecture(model.metadata.arch, arch)
        detector = torch_page_predictor.from_checkpoint(model, device=torch.device("cpu"))
        return PageSource(detector, opset)

    def training_images() -> Images:
        images = models.load_split(model.metadata, "train", None, data_dir).images
        return images[np.random.default_rng(0).permutation(len(images))[:CALIBRATION_IMAGES]]

    models.warn_if_source_changed(model, arch)
    predictor = torch_predictor.from_checkpoint(model, device=torch.device("cpu"), arch=arch)
    return Source(predictor, opset, input_kind, training_images)


def write_checked(
    source: "Source | PageSource", name: str, target: Path, split: datasets.Split
) -> ExportedModel:
    """Build one export, check it on the images of a split, and write it.

    Raises:
        MissingExtraError: a package that the format needs is not installed.
        CheckFailedError: the exporter or the runtime cannot handle the net, or the check failed.
    """
    from mnistctl import exports

    kind = formats.FORMATS[name]
    entry = {"format": name, "input": source.input_kind}
    metadata = dataclasses.replace(source.predictor.metadata, export=entry)
    report = functools.partial(progress.current().advance, f"exporting {name}", total=_STEPS)
    report(0)
    try:
        export = exports.build(name, source)
        report(1)
        try:
            return _write(export, target, metadata, source, split, kind, report)
        except CheckFailedError as error:
            if kind.fallback is None or not isinstance(source, exports.Source):
                raise
            _log.info(f"{error}; trying {kind.fallback.precision}")
            export = exports.build(name, dataclasses.replace(source, precision=kind.fallback.precision))
            return _write(export, target, metadata, source, split, kind.fallback, report)
    except (MnistctlError, OSError, MemoryError):
        raise
    except Exception as error:  # exporters and runtimes raise errors of any type
        raise CheckFailedError(f"{target}: cannot export as '{name}' ({one_line(error)})") from error
    finally:
        report(_STEPS)


def _write(
    export: "Export",
    target: Path,
    metadata: Metadata,
    source: "Source | PageSource",
    split: datasets.Split,
    kind: Format,
    report: Callable[[int], None],
) -> ExportedModel:
    """Save an export, check it, save it again with the result of the check, and verify that file."""
    from mnistctl import exports

    with files.replacing(target, folder=kind.is_folder) as new:
        metadata = dataclasses.replace(metadata, export=metadata.export | export.details)
        export.save(new, metadata)
        if kind.runtime == "onnxruntime" and not kind.is_exact:
            _check_opens(new)
        predictor = export.open(new)
        report(2)
        result = exports.compare(source, predictor, split, kind=kind)
        result.require(str(target))
        images = split.images[:_COMPARED_AGAIN]
        if metadata.task == NUMBERS:
            images = np.pad(images, ((0, 0), (2, 2), (2, 2)))  # as pages of 32×32 pixels
        outputs = predictor(images)
        check = {"graph_sha256": predictor.graph_sha256, "parity": result.to_json()}
        metadata = dataclasses.replace(metadata, export=metadata.export | check)
        report(3)
        export.save(new, metadata)
        final = export.open(new)
        same = all(np.array_equal(*pair) for pair in zip(final(images), outputs, strict=True))
        if not same or final.metadata != metadata:
            raise CheckFailedError(f"{target}: not written: the file differs from the checked one")
    size = sum(item.stat().st_size for item in (target, *target.rglob("*")) if item.is_file())
    return ExportedModel(
        str(target), metadata.export["format"], size, result.to_json(), str(predictor.graph_sha256)
    )


def _check_opens(path: Path) -> None:
    """Open an ONNX file in another process first: onnxruntime crashes on rare graphs."""
    code = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    if processes.run_python("-c", code, path).returncode < 0:
        raise CheckFailedError(f"{path.name}: not written: onnxruntime crashes when it opens the file")
