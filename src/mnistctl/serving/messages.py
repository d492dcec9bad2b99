"""What the server and its workers say to each other: MessagePack, each message after its length."""

import struct
from typing import Any, ClassVar

import msgspec

LARGE_BODY = 64 << 10  # bytes

_LENGTH = struct.Struct(">Q")


class ServedModel(msgspec.Struct):
    """A model that the server has a name for."""

    name: str
    path: str
    arch: str | None = None  # FILE.py:CLASS, for a custom architecture


class Setup(msgspec.Struct):
    """The first message to a worker."""

    models: list[ServedModel]  # of single digits, or of other classes
    numbers_model: ServedModel  # the detector of digits
    max_bytes: int  # of a request body that is decompressed


class ModelInfo(msgspec.Struct):
    """What a model takes and returns, as far as clients are told."""

    name: str
    platform: str
    task: str
    class_names: list[str]
    threshold: float | None
    inputs: list[dict[str, Any]]  # name, datatype and shape, as in the Open Inference Protocol
    outputs: list[dict[str, Any]]


class Started(msgspec.Struct, tag=True):
    """The first message of a worker: its models are open and have answered once."""

    models: list[ModelInfo]


class NotStarted(msgspec.Struct, tag=True):
    """The first message of a worker that cannot open its models."""

    message: str
    exit_code: int


class PictureJob(msgspec.Struct, tag=True, frozen=True):
    """Read the pictures in the body of a request."""

    model: str
    body: bytes
    content_type: str
    content_encoding: str = ""
    numbers: bool = False
    top: int = 3
    threshold: float | None = None

    @property
    def group(self) -> tuple[Any, ...]:
        """Jobs of the same group can be read together."""
        return (type(self), self.model, self.numbers, self.top, self.threshold)

    @property
    def is_alone(self) -> bool:
        """Whether the job may take long or much memory, so that no other one should wait for it."""
        return self.numbers or bool(self.content_encoding) or len(self.body) > LARGE_BODY


class InferJob(msgspec.Struct, tag=True, frozen=True):
    """Run a model on the tensors in the body of a request."""

    model: str
    body: bytes
    header_length: int | None  # of the JSON before binary tensors; None: all is JSON
    content_encoding: str = ""

    @property
    def group(self) -> tuple[Any, ...]:
        """Jobs of the same group can be run together."""
        return (type(self), self.model)

    @property
    def is_alone(self) -> bool:
        """See `PictureJob`."""
        return bool(self.content_encoding) or len(self.body) > LARGE_BODY


class PageJob(msgspec.Struct, tag=True, frozen=True):
    """Build the page that reads drawings."""

    model: str
    is_alone: ClassVar[bool] = True

    @property
    def group(self) -> tuple[Any, ...]:
        """Jobs of the same group can be done together."""
        return (type(self), self.model)


Job = PictureJob | InferJob | PageJob
JSON_TYPE = "application/json"


class DigitRecord(msgspec.Struct, array_like=True):
    """What is counted of a digit that was read."""

    label: str
    familiarity: float
    is_unfamiliar: bool  # whether its familiarity is below the model's own threshold
    is_rejected: bool


class Answer(msgspec.Struct):
    """The answer to a job."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    header_length: int | None = None  # of the JSON before binary tensors
    digits: list[DigitRecord] = []


def error(status: int, message: str) -> Answer:
    """An answer that says what is wrong, in one line."""
    return Answer(status, msgspec.json.encode({"error": " ".join(message.split())}))


def frame(message: Any) -> bytes:
    """A message as it is sent."""
    content = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(content)) + content


LENGTH_BYTES = _LENGTH.size


def length_of(head: bytes | bytearray | memoryview) -> int:
    """The length of the message after its first `LENGTH_BYTES` bytes."""
    (length,) = _LENGTH.unpack(head)
    return int(length)


decode_start = msgspec.msgpack.Decoder(Started | NotStarted).decode
decode_answers = msgspec.msgpack.Decoder(list[Answer]).decode
decode_setup = msgspec.msgpack.Decoder(Setup).decode
decode_jobs = msgspec.msgpack.Decoder(list[Job]).decode
