"""Metadata: everything that a model file states about its model, in safetensors and in ONNX."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self, TypedDict

from msgspec import Meta

from mnistctl.errors import ModelError
from mnistctl.models.formats import InputKind
from mnistctl.system import records

FORMAT_VERSION = 4  # versions 1 to 3 were written before release 0.1 and cannot be read
KEY = "mnistctl"  # the entry of a file's own metadata that holds all of this as JSON


class _Dataset(TypedDict):
    name: str
    sha256: str  # of the raw content


class _Config(TypedDict, total=False):
    validation_size: int | None
    subset: int | None
    split_seed: int


class _Parity(TypedDict):
    images: int
    disagreements: int
    dataset: str
    split: str


class _Export(TypedDict, total=False):
    format: str
    input: InputKind
    graph_sha256: str
    parity: _Parity


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Everything about a model except its weights."""

    task: str = "digit"  # what the model recognizes
    arch: str  # a built-in name, torchvision:NAME or FILE.py:CLASS
    arch_args: dict[str, Any]  # arguments of the architecture
    parameters: int  # of the net and of the familiarity score
    dataset: Annotated[dict[str, Any], _Dataset]  # name, and the SHA-256 of the raw data
    class_names: Annotated[list[str], Meta(min_length=2)]  # in the order of the labels
    config: Annotated[dict[str, Any], _Config]  # settings of the run, as in config.json
    metrics: dict[str, float | bool | None]  # of the saved model: the fields of `Epoch`
    versions: dict[str, str]  # package -> version in training
    created: str  # ISO 8601, UTC
    git_commit: str | None = None  # of the working folder in training
    temperature: Annotated[float, Meta(gt=0)] = 1.0  # probabilities = softmax(logits / temperature)
    threshold: float | None = None  # images with a lower familiarity are rejected; None: none are
    calibration_images: int = 0  # validation images that temperature and threshold were fitted on
    familiarity_layers: list[str] = field(default_factory=list)  # layers whose inputs are scored
    card: str = ""  # the model card, in Markdown
    members: list[dict[str, Any]] = field(default_factory=list)  # metadata of an ensemble's members
    format_version: int = FORMAT_VERSION  # of this metadata
    export: Annotated[dict[str, Any], _Export] = field(default_factory=dict)  # of an exported file

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the order of the fields."""
        return dataclasses.asdict(self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Metadata from JSON text; see `from_json`."""
        try:
            values = records.parse(text)
        except ValueError as error:
            raise ModelError("its metadata is not a JSON object") from error
        return cls.from_json(values)

    @classmethod
    def of_export(cls, text: str, graph_sha256: str | None, *, name: object) -> Self:
        """Metadata of an exported file, after a check that they belong to its graph.

        Args:
            text: the metadata.
            graph_sha256: of the file's graph; None: not checked.
            name: the name of the file in errors.

        Raises:
            ModelError: see `from_json`; or the graph is not the verified one.
        """
        try:
            metadata = cls.parse(text)
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from error
        stored = metadata.export.get("graph_sha256")
        if graph_sha256 is not None and stored is not None and stored != graph_sha256:
            raise ModelError(f"{name}: its graph has changed since it was exported and verified")
        return metadata

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Metadata from plain values.

        Raises:
            ModelError: another format version, or fields missing, unknown or of the wrong type. The
                message does not name the file; the caller does.
        """
        version = values.get("format_version")
        if version != FORMAT_VERSION:
            raise ModelError(f"format version {version}; this mnistctl reads version {FORMAT_VERSION}")
        try:
            metadata = records.build(cls, values)
        except ValueError as error:
            raise ModelError(f"its metadata has fields {error}") from error
        for member in metadata.members:
            cls.from_json(member)
        return metadata
