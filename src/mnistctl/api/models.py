"""Model files: finding the one that is meant, opening it by what it holds, saying what it is."""

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from mnistctl import datasets
from mnistctl.datasets import catalog
from mnistctl.errors import DataError, ModelError
from mnistctl.models import checkpoint
from mnistctl.models.formats import ONNX, OPENVINO, OPENVINO_FILE, SAFETENSORS, TRITON_FILE
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import Predictor
from mnistctl.run import run_folder
from mnistctl.settings import architectures
from mnistctl.system import files

_log = logging.getLogger(__name__)

BUNDLED = "bundled"  # the name of the model inside the package
_BUNDLED_FOLDER = Path(__file__).parents[1] / "bundled"


def bundled(format_name: str) -> Path:
    """The file of the bundled model in this format, safetensors or onnx."""
    return _BUNDLED_FOLDER / f"model.{format_name}"


def find(name: str | Path | None, *, prefer: str = SAFETENSORS) -> Path:
    """The model that is meant: a file, a run folder, a run's name, or "bundled".

    Args:
        name: what the user said; None: nothing, so the newest run here is meant, and where there is
            none the bundled model.
        prefer: which of the bundled model's two files is meant: ONNX, where torch need not be loaded.

    Raises:
        ModelError: there is none.
    """
    known = run_folder.find_all()
    if name is None:
        if not known:
            _log.info("model: the one inside mnistctl, since there is no run here")
            return bundled(prefer)
        path = known[-1].model_path
        _log.info(f"model: {path} (the newest run here)")
        return path
    if not str(name):
        raise ModelError("the model's name is empty")
    path = Path(name)
    if name == BUNDLED and not (run_folder.ROOT / name).exists():
        return bundled(prefer)
    for candidate in (path, run_folder.ROOT / path):
        inside = (run_folder.Run(candidate).model_path, candidate / OPENVINO_FILE)
        for file in (candidate, *inside, *sorted(candidate.glob(f"*/{TRITON_FILE}"))):
            if file.is_file():
                return file
    if path.is_dir():
        raise ModelError(
            f"{path}: a folder without {run_folder.MODEL_NAME}, and no export of one model"
        )
    names = [*(run.folder.name for run in known), BUNDLED]
    close = get_close_matches(str(name), names, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(names)}"
    raise ModelError(f"{name}: no such file, run folder or run; {hint}")


def format_of(path: Path) -> str:
    """What kind of model file this is, by its content.

    Raises:
        ModelError: unreadable, empty, or a kind that is not read.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(512)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    if not beginning:
        raise ModelError(f"{path}: an empty file, not a model")
    if checkpoint.is_checkpoint(beginning):
        return SAFETENSORS
    if b"<net " in beginning and path.suffix == ".xml":
        return OPENVINO
    if beginning.lstrip()[:1] == b"<":
        raise ModelError(f"{path}: a web page, not a model; was it downloaded from a link to one?")
    if beginning[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise ModelError(
            f"{path}: a pickle or PyTorch archive; opening one can run code, so mnistctl does not"
        )
    if (beginning[:1] == b"\x08" and len(beginning) > 8) or path.suffix == ".onnx":
        return ONNX
    raise ModelError(f"{path}: neither a safetensors, nor an ONNX, nor an OpenVINO file")


def open_predictor(path: Path, *, arch: str | None = None) -> Predictor:
    """Open a model file, ready to read images on the CPU; torch is imported only for a checkpoint.

    Args:
        path: of the file.
        arch: FILE.py:CLASS, for a checkpoint of a person's own class.

    Raises:
        ModelError: unreadable, damaged, or not one of this program's.
        UsageError: `arch` is not the model's.
    """
    kind = format_of(path)
    if kind != SAFETENSORS:
        return _open_export(path, kind)
    opened = checkpoint.load(path)
    import torch  # 1.2 s: after the file is known to be sound

    from mnistctl.nn import torch_predictor

    warn_of_changed_source(opened, arch)
    return torch_predictor.from_checkpoint(opened, device=torch.device("cpu"), arch=arch)


def custom_class(about: Metadata, given: str | Sequence[str]) -> str | None:
    """Of FILE.py:CLASS once or several times, the one that a model means, if any.

    That is the very name it has, else the file that it was made with, else a class of its name.
    """
    nets = [about, *(Metadata.from_json(member) for member in about.members)]
    about = next((net for net in nets if architectures.custom_source(net.arch)), about)
    own = architectures.custom_source(about.arch)
    sources = [given] if isinstance(given, str) else given
    if own is None or about.arch in sources:
        return about.arch if own else None
    stored = about.config.get("arch_sha256")
    same_class = [source for source in sources if source.rpartition(":")[2] == own[1]]
    same_file = [source for source in same_class if _sha256_of(source) == stored]
    return next(iter([*same_file, *same_class]), None)


def _sha256_of(source: str) -> str | None:
    """Of the file that FILE.py:CLASS names; None: there is none."""
    named = architectures.custom_source(source)
    return files.sha256(named[0].read_bytes()) if named and named[0].is_file() else None


def warn_of_changed_source(opened: checkpoint.Checkpoint, arch: str | None) -> None:
    """Say it when a person's own class is not the one that a checkpoint was made with."""
    stored, found = opened.metadata.config.get("arch_sha256"), _sha256_of(arch or "")
    if stored and found and found != stored:
        _log.warning(f"{arch} has changed since {opened.path} was made")


def describe(path: Path) -> tuple[str, Metadata]:
    """A model file's format and metadata, without loading torch.

    Raises:
        ModelError: unreadable, damaged, or not one of this program's.
    """
    kind = format_of(path)
    if kind == SAFETENSORS:
        return kind, checkpoint.load(path).metadata
    about = _open_export(path, kind).metadata
    return about.export.get("format", kind), about


def size_of(path: Path) -> int:
    """The bytes of a model's file, or of its files."""
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else None
    return path.stat().st_size + (weights.stat().st_size if weights else 0)


def _open_export(path: Path, kind: str) -> Predictor:
    if kind == OPENVINO:
        from mnistctl.models.openvino_predictor import OpenVinoPredictor  # 0.3 s

        return OpenVinoPredictor(path)
    from mnistctl.models.onnx_predictor import OnnxPredictor  # 0.1 s

    return OnnxPredictor(path, trusted=path == bundled(ONNX))


def split_of(
    metadata: Metadata,
    split: str,
    dataset: str | None,
    data_dir: Path | None,
) -> datasets.Split:
    """A split as the model's own run divided it, so that validation is what it did not learn from."""
    own = metadata.dataset["name"]
    if dataset is None and own not in catalog.DATASETS and not Path(own).is_dir():
        raise DataError(f"{own}: the pictures that the model learned from are not there")
    wanted = own if dataset is None else datasets.canonical(dataset)
    is_own = wanted == own
    config = metadata.config if is_own else {}
    loaded = datasets.load(
        wanted,
        split,
        data_dir=data_dir,
        validation_size=config.get("validation_size"),
        subset=config.get("subset"),
        split_seed=config.get("split_seed", 0),
    )
    if is_own and split in ("train", "validation") and loaded.sha256 != metadata.dataset["sha256"]:
        _log.warning(f"{wanted} has changed since: {split} may not be what it was in training")
    return loaded
