"""Tensors over HTTP: the Open Inference Protocol, version 2, with its extension for binary tensors.

Sources: the protocol's specification of KServe, and Triton's of the extension `binary_tensor_data`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from mnistctl.errors import shorten
from mnistctl.models.predictor import Outputs, PageOutputs
from mnistctl.serving import messages
from mnistctl.serving.messages import Answer, InferJob, ModelInfo
from mnistctl.settings.architectures import NUMBERS
from mnistctl.types import IMAGE_SIZE, Images

VERSION = "1"  # of every model
INPUT_NAMES = {False: "images", True: "pages"}
MAX_IMAGES = 4096  # of a request
MAX_PAGE_PIXELS = 1 << 20
MAX_PIXELS = MAX_IMAGES * IMAGE_SIZE**2

_BINARY_TYPE = "application/octet-stream"
_MAX_JSON_BYTES = 4 << 20  # JSON takes many times as much memory once it is read
_PAGE_STEP = 16  # pixels: the sides of a page are multiples of it
_UINT8, _FLOAT32 = "UINT8", "FP32"


_Values = list[Annotated[int, msgspec.Meta(ge=0, le=255)]]
_decode_flat = msgspec.json.Decoder(_Values).decode
_decode_nested = msgspec.json.Decoder(list[list[_Values]]).decode


class InferenceError(Exception):
    """A request that is not valid."""


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] = {}
    outputs: list[_Output] = []


class _Response(msgspec.Struct):
    model_name: str
    model_version: str
    outputs: list[dict[str, Any]]
    id: str | msgspec.UnsetType


class Inference(NamedTuple):
    """A valid request."""

    id: str | msgspec.UnsetType
    images: Images  # uint8 (N, H, W)
    outputs: list[tuple[str, bool]]  # name, and whether it is returned as binary data


class ModelShape(NamedTuple):
    """The names and shapes of a model's tensors, for its metadata."""

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]


def describe(task: str, classes: int) -> ModelShape:
    """The tensors of a model for a task; -1: a size that is free."""
    if task == NUMBERS:
        shapes = {"scores": [-1, classes, -1, -1], "boxes": [-1, 4, -1, -1]}
        sides = [-1, -1]
    else:
        shapes = {"logits": [-1, classes], "probabilities": [-1, classes], "familiarity": [-1]}
        sides = [IMAGE_SIZE, IMAGE_SIZE]
    inputs = [{"name": INPUT_NAMES[task == NUMBERS], "datatype": _UINT8, "shape": [-1, *sides]}]
    outputs = [{"name": name, "datatype": _FLOAT32, "shape": shape} for name, shape in shapes.items()]
    return ModelShape(inputs, outputs)


def parse(job: InferJob, body: bytes, model: ModelInfo) -> Inference:
    """Check a request.

    Args:
        job: the request.
        body: of the request, decompressed.
        model: for which the request is.

    Raises:
        InferenceError: the request is not valid for this model.
    """
    json_bytes = len(body) if job.header_length is None else job.header_length
    if not 0 <= json_bytes <= len(body):
        raise InferenceError(
            f"Inference-Header-Content-Length: {json_bytes}; the body has {len(body):,} bytes"
        )
    if json_bytes > _MAX_JSON_BYTES:
        raise InferenceError(
            f"{json_bytes:,} bytes of JSON; at most {_MAX_JSON_BYTES:,} are read: send binary tensors"
        )
    try:
        request = msgspec.json.decode(memoryview(body)[:json_bytes], type=_Request)
    except (ValueError, RecursionError) as error:
        raise InferenceError(f"the request is not valid: {shorten(str(error))}") from error
    images = _images(request.inputs, memoryview(body)[json_bytes:], model)
    return Inference(request.id, images, _requested_outputs(request, model))


def _images(inputs: Sequence[_Input], binary: memoryview, model: ModelInfo) -> Images:
    expected = model.inputs[0]
    names = [item.name for item in inputs]
    if names != [expected["name"]]:
        given = ", ".join(map(repr, names[:5])) or "none"
        raise InferenceError(
            f"inputs: {shorten(given)}; model '{model.name}' takes one, '{expected['name']}'"
        )
    tensor = inputs[0]
    if tensor.datatype != _UINT8:
        raise InferenceError(
            f"input '{tensor.name}': datatype {shorten(tensor.datatype)}; expected {_UINT8}"
        )
    _check_shape(tensor.shape, model)
    size = math.prod(tensor.shape)
    if "binary_data_size" in tensor.parameters:
        announced = tensor.parameters["binary_data_size"]
        if announced != size or len(binary) != size or tensor.data is not msgspec.UNSET:
            raise InferenceError(
                f"input '{tensor.name}': the shape has {size:,} bytes, binary_data_size is "
                f"{shorten(str(announced))}, and {len(binary):,} bytes follow the JSON"
            )
        return np.frombuffer(binary, np.uint8).reshape(tensor.shape)
    if len(binary):
        raise InferenceError(f"input '{tensor.name}': {len(binary):,} bytes follow the JSON")
    return _from_json(tensor, size)


def _check_shape(shape: Sequence[int], model: ModelInfo) -> None:
    if model.task == NUMBERS:
        is_valid = not any(side % _PAGE_STEP for side in shape[1:3])
        is_valid &= math.prod(shape[1:3]) <= MAX_PAGE_PIXELS
        expected = (
            f"[N, height, width], height and width multiples of {_PAGE_STEP}, at most "
            f"{MAX_PAGE_PIXELS:,} pixels per page"
        )
    else:
        is_valid = [*shape[1:3]] == [IMAGE_SIZE, IMAGE_SIZE]
        expected = f"[N, {IMAGE_SIZE}, {IMAGE_SIZE}]"
    if len(shape) != 3 or min(shape) < 1 or not is_valid or math.prod(shape[:3]) > MAX_PIXELS:
        name = model.inputs[0]["name"]
        raise InferenceError(
            f"input '{name}': shape {shorten(str([*shape]))}; expected {expected}, at most "
            f"{MAX_PIXELS:,} values in all"
        )


def _from_json(tensor: _Input, size: int) -> Images:
    expected = "whole numbers from 0 to 255, in a list or in lists of the tensor's shape"
    data = b"" if isinstance(tensor.data, msgspec.UnsetType) else bytes(tensor.data)
    for decode in (_decode_flat, _decode_nested):
        try:
            values = np.array(decode(data))
            break
        except ValueError:  # also lists of different lengths
            continue
    else:
        raise InferenceError(f"input '{tensor.name}': expected {expected} as data")
    if values.size != size or values.shape not in ((size,), tuple(tensor.shape)):
        raise InferenceError(
            f"input '{tensor.name}': data has the shape {[*values.shape]}; expected {tensor.shape}"
        )
    return values.astype(np.uint8).reshape(tensor.shape)


def _requested_outputs(request: _Request, model: ModelInfo) -> list[tuple[str, bool]]:
    names = [item["name"] for item in model.outputs]
    all_binary = request.parameters.get("binary_data_output") is True
    if not request.outputs:
        return [(name, all_binary) for name in names]
    outputs: list[tuple[str, bool]] = []
    for item in request.outputs:
        if item.name not in names:
            raise InferenceError(
                f"output '{shorten(item.name)}': model '{model.name}' has {', '.join(names)}"
            )
        if item.name in dict(outputs):
            raise InferenceError(f"output '{item.name}' is named twice")
        if "classification" in item.parameters:
            raise InferenceError("the extension 'classification' is not supported; see /predict")
        outputs.append((item.name, item.parameters.get("binary_data", all_binary) is True))
    return outputs


def answer(request: Inference, outputs: Outputs | PageOutputs, model: str) -> Answer:
    """The answer with the outputs that a request asks for."""
    arrays: Mapping[str, npt.NDArray[Any]] = outputs._asdict()
    tensors, chunks = [], []
    for name, is_binary in request.outputs:
        array = np.ascontiguousarray(arrays[name], dtype="<f4")
        tensor: dict[str, Any] = {"name": name, "datatype": _FLOAT32, "shape": [*array.shape]}
        if is_binary:
            chunks.append(array.tobytes())
            tensor["parameters"] = {"binary_data_size": array.nbytes}
        else:
            tensor["data"] = array.ravel().tolist()
        tensors.append(tensor)
    header = msgspec.json.encode(_Response(model, VERSION, tensors, request.id))
    if not chunks:
        return Answer(200, header, messages.JSON_TYPE)
    return Answer(200, b"".join([header, *chunks]), _BINARY_TYPE, header_length=len(header))
