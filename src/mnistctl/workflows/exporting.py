"""`export`: a model in another format, checked before it gets its name."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnistctl import checkpoint, datasets, evaluation, files, models
from mnistctl.errors import UsageError, unknown_name
from mnistctl.watcher import SILENT, Watcher
from mnistctl.workflows.splitting import split_of

FORMATS = ("onnx",)


@dataclass(frozen=True)
class Exported:
    """A file that was written after its check held."""

    path: str
    format: str
    bytes: int
    parity: dict[str, Any]  # see exports.parity.Parity

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def export(
    model: str | Path | None = None,
    *,
    format: str = "onnx",  # noqa: A002 - the word of the command line
    output: Path | None = None,
    force: bool = False,
    dataset: str | None = None,
    arch: str | None = None,
    data_dir: Path | None = None,
    watcher: Watcher = SILENT,
) -> list[Exported]:
    """Write a model in another format, checked against PyTorch before it gets its name.

    Args:
        model: a checkpoint, a run folder, a run's name; None: the newest run here.
        format: onnx.
        output: the file to write; None: the checkpoint's name with `.onnx`, beside it, or in the
            working folder for the bundled model.
        force: replace a file that exists.
        dataset: another one than the model's own to check it on.
        arch: FILE.py:CLASS, for a model of a person's own class.
        data_dir: the data folder, if not the usual one.
        watcher: hears which model it is, and of downloads.

    Raises:
        UsageError: an unknown format, or the output exists.
        ModelError: no such model, or it cannot be opened.
        DataError: the model's dataset, which the check needs, is damaged or not to be had.
        CheckFailedError: the exported model says something else; no file is left.
        WriteError: the output cannot be written.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if dataset is not None:
        datasets.check_split(dataset, "test")
    path = models.find(model, watcher=watcher)
    if models.format_of(path) != models.SAFETENSORS:
        raise UsageError(f"{path}: already exported; name the checkpoint it was made from")
    beside = Path(path.name) if path == models.bundled(models.SAFETENSORS) else path
    target = output if output is not None else beside.with_suffix(".onnx")
    if target.resolve() == path.resolve():
        raise UsageError(f"--output {target}: the model itself; choose another name")
    if target.exists() and not force:
        raise UsageError(f"{target} exists; replace it with --force, or choose another --output")
    opened = checkpoint.load(path)
    split = split_of(opened.metadata, "test", dataset, data_dir, watcher)

    import torch  # 1.2 s

    from mnistctl.exports import onnx, parity
    from mnistctl.nn import torch_predictor
    from mnistctl.onnx_predictor import OnnxPredictor

    models.warn_of_changed_source(opened, arch, watcher)
    reference = torch_predictor.from_checkpoint(opened, device=torch.device("cpu"), arch=arch)
    evaluation.check_split(reference.metadata.class_names, split)
    with files.replacing(target) as temporary:
        temporary.write_bytes(onnx.build(reference))
        found = parity.compare(reference, OnnxPredictor(temporary), split)
        found.require(str(target))
    return [Exported(str(target), format, target.stat().st_size, found.to_json())]
