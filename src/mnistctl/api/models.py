"""Find, open and describe model files, and load the data that a model was trained on."""

import fnmatch
import logging
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mnistctl.errors import DataError, ModelError, shorten
from mnistctl.models import checkpoint, html_model
from mnistctl.models.formats import HTML, ONNX, OPENVINO, OPENVINO_FILE, SAFETENSORS, TRITON_FILE, UINT8
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import PagePredictor, Predictor
from mnistctl.run import run_folder
from mnistctl.settings.architectures import DIGIT, NUMBERS, Architecture, task_of
from mnistctl.system import files

if TYPE_CHECKING:
    from mnistctl import datasets

_log = logging.getLogger(__name__)

BUNDLED = "bundled"  # the name of the model inside the package that reads single digits
BUNDLED_NUMBERS = "bundled-numbers"  # the name of the one that finds digits on pages
_BUNDLED_NAMES = {DIGIT: BUNDLED, NUMBERS: BUNDLED_NUMBERS}
_BUNDLED_STEMS = {DIGIT: "model", NUMBERS: "numbers"}
_BUNDLED_FOLDER = Path(__file__).parents[1] / "bundled"


def bundled(format_name: str, *, task: str = DIGIT) -> Path:
    """The file of the bundled model for a task, in this format: safetensors or onnx."""
    return _BUNDLED_FOLDER / f"{_BUNDLED_STEMS[task]}.{format_name}"


def find_model(name: str | Path | None, *, prefer: str = SAFETENSORS, task: str = DIGIT) -> Path:
    """Find the file of a model.

    Args:
        name: a file, a run folder, a run's name, "bundled" or "bundled-numbers"; None: the newest run
            here whose model is for the task, else the bundled model for it.
        prefer: the format of the bundled model: ONNX can be used without importing torch.
        task: what the model is for, if `name` is None.

    Raises:
        ModelError: not found.
    """
    if name is None:
        return _default_model(prefer, task)
    if not str(name):
        raise ModelError("the model's name is empty")
    path = Path(name)
    for bundled_task, bundled_name in _BUNDLED_NAMES.items():
        if str(name) == bundled_name and not (run_folder.ROOT / name).exists():
            return bundled(prefer, task=bundled_task)
    for candidate in (path, run_folder.ROOT / path):
        with files.os_errors_as(ModelError, shorten(str(name))):  # a name that is too long
            paths = (run_folder.Run(candidate).model_path, candidate / OPENVINO_FILE)
            for file in (candidate, *paths, *sorted(candidate.glob(f"*/{TRITON_FILE}"))):
                if file.is_file():
                    return file
    if path.is_dir():
        raise ModelError(f"{path}: a folder without {run_folder.MODEL_NAME} or an exported model")
    names = [*(run.folder.name for run in run_folder.find_all()), *_BUNDLED_NAMES.values()]
    matches = get_close_matches(str(name), names, n=1)
    hint = f"did you mean '{matches[0]}'?" if matches else f"available: {', '.join(names)}"
    raise ModelError(f"{name}: no such file, run folder or run; {hint}")


def expand(names: Sequence[str | Path]) -> list[str | Path]:
    """Names of models, with the runs that match in place of patterns such as 'lr02-seed*'.

    Raises:
        ModelError: no run matches a pattern.
    """
    runs = sorted(run.folder.name for run in run_folder.find_all())
    expanded: list[str | Path] = []
    for name in names:
        if not set("*?[") & set(str(name)) or Path(name).exists():
            expanded.append(name)
        elif matches := fnmatch.filter(runs, str(name)):
            expanded += matches
        else:
            raise ModelError(f"{name}: matches no run; runs here: {', '.join(runs) or 'none'}")
    return expanded


def name_of(path: Path) -> str:
    """What a user calls a model: the name of its run or of a bundled model, or its path."""
    run = run_folder.run_of_model(path)
    if run is not None and run.folder.parent == run_folder.ROOT:
        return run.folder.name
    for task, bundled_name in _BUNDLED_NAMES.items():
        if path.with_suffix("") == bundled(SAFETENSORS, task=task).with_suffix(""):
            return bundled_name
    return str(path)


def _default_model(prefer: str, task: str) -> Path:
    runs = [run for run in run_folder.find_all() if _task_of(run) == task]
    if not runs:
        place = "no runs in runs/" if task == DIGIT else "no runs of 'numbers' in runs/"
        _log.info(f"using the {_BUNDLED_NAMES[task].replace('-', ' ')} model: {place}")
        return bundled(prefer, task=task)
    path = runs[-1].model_path
    _log.info(
        f"using {path}, your newest run; '{_BUNDLED_NAMES[task]}' is the model that comes with mnistctl"
    )
    return path


def _task_of(run: run_folder.Run) -> str:
    """The task of a run, by its settings; without readable settings, that of most runs."""
    try:
        return task_of(str(run.read_config().get("arch")))
    except ModelError:
        return DIGIT


def format_of(path: Path) -> str:
    """The kind of a model file by its content: safetensors, onnx, openvino or html.

    Raises:
        ModelError: the file cannot be read, is empty, or is of another kind.
    """
    with files.open_regular(path, ModelError) as file:
        header = file.read(512)
    if not header:
        raise ModelError(f"{path}: an empty file, not a model")
    if checkpoint.is_checkpoint(header):
        return SAFETENSORS
    if b"<net " in header and path.suffix == ".xml":
        return OPENVINO
    if html_model.is_page(header):
        return HTML
    if header.lstrip()[:1] == b"<":
        raise ModelError(f"{path}: an HTML page, not a model; download the file itself")
    if header[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise ModelError(
            f"{path}: a pickle or PyTorch archive; mnistctl does not open it, because unpickling can "
            "run code"
        )
    if (header[:1] == b"\x08" and len(header) > 8) or path.suffix == ".onnx":
        return ONNX
    raise ModelError(f"{path}: not a safetensors, ONNX or OpenVINO file, nor a page of mnistctl")


def open_predictor(path: Path, *, arch: str | None = None) -> Predictor:
    """Open a model file on the CPU. Only a checkpoint needs torch.

    Args:
        path: the file.
        arch: FILE.py:CLASS, for a checkpoint with a custom architecture.

    Raises:
        ModelError: the file cannot be read, is damaged, was not written by mnistctl, or is a model for
            another task.
        UsageError: `arch` is not the model's.
    """
    kind = format_of(path)
    if kind != SAFETENSORS:
        predictor = _open_export(path, kind)
        _check_task(predictor.metadata, DIGIT, path)
        return cast(Predictor, predictor)
    model = checkpoint.load(path)
    _check_task(model.metadata, DIGIT, path)
    import torch  # 1.2 s, so only after the file was verified

    from mnistctl.nn import torch_predictor

    warn_if_source_changed(model, arch)
    return torch_predictor.from_checkpoint(model, device=torch.device("cpu"), arch=arch)


def open_page_predictor(path: Path) -> PagePredictor:
    """Open the file of a model for numbers on the CPU. Only a checkpoint needs torch.

    Raises:
        ModelError: the file cannot be read, is damaged, was not written by mnistctl, or is a model for
            another task.
    """
    kind = format_of(path)
    if kind != SAFETENSORS:
        predictor = _open_export(path, kind)
        _check_task(predictor.metadata, NUMBERS, path)
        return cast(PagePredictor, predictor)
    model = checkpoint.load(path)
    _check_task(model.metadata, NUMBERS, path)
    import torch  # 1.2 s, so only after the file was verified

    from mnistctl.nn import torch_page_predictor

    return torch_page_predictor.from_checkpoint(model, device=torch.device("cpu"))


def _check_task(metadata: Metadata, task: str, path: Path) -> None:
    if metadata.task == task:
        return
    expected = "single digits" if task == DIGIT else "numbers"
    advice = ""
    if metadata.task == NUMBERS:
        advice = (
            f"; read numbers with: mnistctl predict PICTURE --numbers --numbers-model {name_of(path)}"
        )
    raise ModelError(f"{path}: a model for the task '{metadata.task}', not for {expected}{advice}")


def matching_arch(metadata: Metadata, archs: str | Sequence[str]) -> str | None:
    """Of several FILE.py:CLASS, the one to open a model with; None: the model needs none, or none fits.

    The model's own name is preferred, then a class of the same name in an unchanged file, then any
    class of the same name.
    """
    nets = [metadata, *(Metadata.from_json(member) for member in metadata.members)]
    custom = next((net for net in nets if Architecture.parse(net.arch).is_custom), None)
    if custom is None:
        return None
    names = [archs] if isinstance(archs, str) else archs
    if custom.arch in names:
        return custom.arch
    stored = Architecture.parse(custom.arch)
    candidates = [
        candidate
        for candidate in map(Architecture.parse, names)
        if candidate.class_name == stored.class_name
    ]
    sha256 = custom.config.get("arch_sha256")
    unchanged = [candidate for candidate in candidates if candidate.sha256 == sha256]
    return next((candidate.name for candidate in (*unchanged, *candidates)), None)


def warn_if_source_changed(model: checkpoint.Checkpoint, arch: str | None) -> None:
    """Warn if the file of a custom architecture is not the one that the checkpoint was trained with."""
    stored = model.metadata.config.get("arch_sha256")
    current = Architecture.parse(arch or "").sha256
    if stored and current and current != stored:
        _log.warning(f"{arch} has changed since {model.path} was written")


def describe(path: Path) -> tuple[str, Metadata]:
    """A model file's format and metadata, without importing torch.

    Raises:
        ModelError: the file cannot be read, is damaged, or was not written by mnistctl.
    """
    kind = format_of(path)
    if kind == SAFETENSORS:
        return kind, checkpoint.load(path).metadata
    metadata = _open_export(path, kind).metadata
    return metadata.export.get("format", kind), metadata


def input_of(metadata: Metadata) -> str:
    """The kind of input that a model takes, one of `formats.INPUTS`."""
    return str(metadata.export.get("input", UINT8))


def size_of(path: Path) -> int:
    """The size of a model in bytes, over all its files."""
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else None
    return path.stat().st_size + (weights.stat().st_size if weights else 0)


def _open_export(path: Path, kind: str) -> Predictor | PagePredictor:
    if kind == OPENVINO:
        from mnistctl.models.openvino_predictor import OpenVinoPredictor  # 0.3 s

        return OpenVinoPredictor(path)
    from mnistctl.models.onnx_session import OnnxSession  # 0.1 s

    session = OnnxSession(
        path,
        trusted=path in (bundled(ONNX), bundled(ONNX, task=NUMBERS)),
        content=html_model.to_onnx(html_model.read(path), path) if kind == HTML else None,
    )
    if session.metadata.task == NUMBERS:
        from mnistctl.models.onnx_page_predictor import OnnxPagePredictor

        return OnnxPagePredictor(session)
    from mnistctl.models.onnx_predictor import OnnxPredictor

    return OnnxPredictor(session)


def load_split(
    metadata: Metadata,
    split: str,
    dataset: str | None,
    data_dir: Path | None,
) -> "datasets.Split":
    """Load a split. For the dataset the model was trained on, load exactly the images its run used.

    So `validation` never contains an image that the model was trained on.
    """
    from mnistctl import datasets  # downloads need http and ssl, 0.03 s; reading pictures does not
    from mnistctl.datasets import catalog

    own_name = metadata.dataset["name"]
    if dataset is None and own_name not in catalog.DATASETS and not Path(own_name).is_dir():
        raise DataError(f"{own_name}: not found; the model was trained on the pictures in this folder")
    name = own_name if dataset is None else datasets.canonical_name(dataset)
    is_own = name == own_name
    config = metadata.config if is_own else {}
    images = datasets.load(
        name,
        split,
        data_dir=data_dir,
        validation_size=config.get("validation_size"),
        subset=config.get("subset"),
        split_seed=config.get("split_seed", 0),
    )
    if is_own and split in ("train", "validation") and images.sha256 != metadata.dataset["sha256"]:
        _log.warning(f"{name} has changed: {split} may contain other images than it did in training")
    return images
