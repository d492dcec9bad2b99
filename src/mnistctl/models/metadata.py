"""Metadata: everything that a model file states about its model, in safetensors and in ONNX."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self, TypedDict

from msgspec import Meta

from mnistctl.errors import ModelError, one_line
from mnistctl.models.formats import InputKind
from mnistctl.system import records

FORMAT_VERSION = 4  # versions 1 to 3 were written before release 0.1 and cannot be read
KEY = "mnistctl"  # the entry of a file's own metadata that holds all of this as JSON


_Text = Annotated[str, Meta(max_length=4096)]  # a path can be that long
_Name = Annotated[str, Meta(max_length=255, pattern=r"^[^\n\t]+\Z")]
_Sha256 = Annotated[str, Meta(max_length=64)]
_Count = Annotated[int, Meta(ge=0)]
_Share = Annotated[float, Meta(ge=0, le=1)]


class _Dataset(TypedDict):
    name: _Text
    sha256: _Sha256  # of the raw content


class _Config(TypedDict, total=False):
    validation_size: _Count | None
    subset: Annotated[int, Meta(ge=1)] | None
    split_seed: _Count
    seed: _Count
    arch_sha256: _Sha256 | None


class _Parity(TypedDict):
    images: _Count
    disagreements: _Count
    dataset: _Text
    split: _Name


class _Export(TypedDict, total=False):
    format: _Name
    input: InputKind
    graph_sha256: _Sha256
    parity: _Parity


_Layers = Annotated[list[_Name], Meta(max_length=100)]
_Members = Annotated[list[dict[str, Any]], Meta(max_length=1000)]


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Everything about a model except its weights. A file's metadata have to be in these ranges."""

    task: _Name = "digit"  # what the model recognizes
    arch: Annotated[_Text, Meta(min_length=1)]  # a built-in name, torchvision:NAME or FILE.py:CLASS
    arch_args: dict[str, Any]  # arguments of the architecture
    parameters: _Count  # of the net; of an ensemble, of all its nets
    familiarity_parameters: _Count = 0  # of the layers that compute the familiarity
    dataset: Annotated[dict[str, Any], _Dataset]  # name, and the SHA-256 of the raw data
    class_names: Annotated[list[_Name], Meta(min_length=2, max_length=1000)]  # in order of the labels
    config: Annotated[dict[str, Any], _Config]  # settings of the run, as in config.json
    metrics: dict[_Name, float | bool | None]  # of the saved model: the fields of `Epoch`
    versions: dict[_Name, _Name]  # package -> version in training
    created: _Text  # ISO 8601, UTC
    git_commit: _Text | None = None  # of the working folder in training
    temperature: Annotated[float, Meta(ge=1e-3, le=1e3)] = 1.0  # probabilities = softmax(logits / it)
    threshold: _Share | None = None  # images with a lower familiarity are rejected; None: none are
    calibration_images: _Count = 0  # validation images that temperature and threshold were fitted on
    familiarity_layers: _Layers = field(
        default_factory=list
    )  # layers of the net whose inputs are scored
    card: Annotated[str, Meta(max_length=1 << 20)] = ""  # the model card, in Markdown
    members: _Members = field(default_factory=list)  # metadata of the members of an ensemble
    format_version: int = FORMAT_VERSION  # of this metadata
    export: Annotated[dict[str, Any], _Export] = field(default_factory=dict)  # of an exported file

    @property
    def not_calibrated(self) -> str | None:
        """Why temperature and threshold were not fitted; None: they were."""
        if self.calibration_images:
            return None
        is_finished = self.familiarity_layers or self.members
        return "too few validation images" if is_finished else "the run was interrupted"

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the order of the fields."""
        return dataclasses.asdict(self)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Metadata from JSON text; see `from_json`."""
        try:
            values = records.parse(text)
        except ValueError as error:
            raise ModelError(f"its metadata cannot be read ({one_line(error)})") from error
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
        if len(set(metadata.familiarity_layers)) < len(metadata.familiarity_layers):
            raise ModelError("its metadata names a familiarity layer twice")
        for member in metadata.members:
            if cls.from_json(member).class_names != metadata.class_names:
                raise ModelError("a member of the ensemble has other classes")
        return metadata
