"""Metadata: what a model file knows about itself, the same in safetensors and in ONNX."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from mnistctl.errors import ModelError
from mnistctl.models import formats

FORMAT_VERSION = 4  # files of builds before 0.1 have 1 to 3; they are not read
KEY = "mnistctl"  # the one entry in a file's own metadata that holds all of this as JSON


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Everything about a model but its weights."""

    task: str = "digit"  # what the model reads; another kind of model has another task
    arch: str
    arch_args: dict[str, Any]
    parameters: int  # of the net, and of what gives `familiarity`
    dataset: dict[str, Any]  # name, and the SHA-256 of its raw content
    class_names: list[str]
    config: dict[str, Any]  # TrainSettings.to_json()
    metrics: dict[str, Any]  # of the saved weights: losses, accuracies, epoch, train_seconds
    versions: dict[str, str]  # package -> version that made it
    created: str  # ISO 8601, UTC
    git_commit: str | None = None  # of the folder it was trained in
    temperature: float = 1.0  # probabilities = softmax(logits / temperature)
    threshold: float | None = None  # `familiarity` below it is refused; None: nothing is
    calibration_images: int = 0  # of validation, that temperature and threshold were fitted on
    familiarity_layers: list[str] = field(
        default_factory=list
    )  # whose inputs `familiarity` is computed from
    card: str = ""  # what a person should know before using it, in Markdown
    members: list[dict[str, Any]] = field(default_factory=list)  # of an ensemble: their metadata
    format_version: int = FORMAT_VERSION
    export: dict[str, Any] = field(default_factory=dict)  # of an exported file: format, opset

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the order of the fields."""
        return dataclasses.asdict(self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read metadata back from text; see `from_json`."""
        try:
            return cls.from_json(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise ModelError("its metadata is not JSON") from error

    @classmethod
    def of_export(cls, text: str, graph_sha256: str | None, *, name: object) -> Self:
        """Read an exported file's metadata, and check that they are about its graph.

        Args:
            text: the metadata.
            graph_sha256: of the file's graph; None: it need not be checked.
            name: what to call the file in an error.

        Raises:
            ModelError: see `from_json`; or the graph is another than was checked.
        """
        try:
            metadata = cls.parse(text)
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from error
        stored = metadata.export.get("graph_sha256")
        if graph_sha256 is not None and stored is not None and stored != graph_sha256:
            raise ModelError(f"{name}: changed since it was exported: its graph is not the one checked")
        return metadata

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Read metadata back from plain values.

        Raises:
            ModelError: another format version, or fields missing, unknown or of the wrong type.
                The message is for the end of a line that names the file.
        """
        if not isinstance(values, dict):
            raise ModelError("its metadata is not a JSON object")
        version = values.get("format_version")
        if version != FORMAT_VERSION:
            raise ModelError(f"format version {version}; this mnistctl reads version {FORMAT_VERSION}")
        fields = {item.name: item for item in dataclasses.fields(cls)}
        required = {
            name for name, item in fields.items() if item.default is item.default_factory
        }  # a field with neither kind of default has MISSING for both
        wrong = (required - set(values)) | (set(values) - set(fields))
        wrong |= {name for name in set(values) & set(fields) if not _fits(values[name], name)}
        if wrong:
            raise ModelError(f"its metadata has missing, unknown or wrong: {', '.join(sorted(wrong))}")
        for member in values.get("members", []):
            cls.from_json(member)
        return cls(**values)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "task": str,
    "arch": str,
    "arch_args": dict,
    "parameters": int,
    "dataset": dict,
    "class_names": list,
    "config": dict,
    "metrics": dict,
    "versions": dict,
    "created": str,
    "git_commit": (str, type(None)),
    "temperature": (int, float),
    "threshold": (int, float, type(None)),
    "calibration_images": int,
    "familiarity_layers": list,
    "card": str,
    "members": list,
    "format_version": int,
    "export": dict,
}


def _fits(value: Any, name: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, _TYPES[name]):
        return False
    checks: dict[str, Callable[[Any], bool]] = {
        "class_names": lambda names: len(names) >= 2 and all(isinstance(name, str) for name in names),
        "dataset": lambda about: all(isinstance(about.get(key), str) for key in ("name", "sha256")),
        "metrics": lambda metrics: all(
            isinstance(value, int | float | None) for value in metrics.values()
        ),
        "temperature": lambda temperature: temperature > 0,
        "familiarity_layers": lambda names: all(isinstance(name, str) for name in names),
        "export": _is_export,
        "config": lambda config: (
            isinstance(config.get("validation_size"), int | None)
            and isinstance(config.get("subset"), int | None)
            and isinstance(config.get("split_seed", 0), int)
        ),
    }
    return name not in checks or checks[name](value)


def _is_export(export: dict[str, Any]) -> bool:
    parity = export.get("parity", {})
    numbers = ("images", "disagreements")
    return (
        export.get("input", formats.UINT8) in formats.INPUTS
        and isinstance(export.get("format", ""), str)
        and isinstance(export.get("graph_sha256", ""), str)
        and isinstance(parity, dict)
        and all(isinstance(parity.get(name), int) for name in numbers if parity)
        and all(isinstance(parity.get(name), str) for name in ("dataset", "split") if parity)
    )
