"""The description of the server's routes: OpenAPI 3.1."""

from collections.abc import Sequence
from typing import Any

from mnistctl import __version__
from mnistctl.serving import inference
from mnistctl.serving.messages import ModelInfo
from mnistctl.serving.options import Limits
from mnistctl.settings.architectures import DIGIT
from mnistctl.types import IMAGE_SIZE

Json = dict[str, Any]

_JSON = "application/json"
_SHARE: Json = {"type": "number", "minimum": 0, "maximum": 1}
_TEXT: Json = {"type": "string"}
_BYTES: Json = {"type": "string", "format": "binary"}
_PICTURE_TYPES = (
    *(f"image/{name}" for name in ("png", "jpeg", "webp", "bmp", "gif", "tiff", "jp2", "avif", "heic")),
    "application/pdf",
    "application/octet-stream",
)
_COUNT: Json = {"type": "integer", "minimum": 0}


def document(models: Sequence[ModelInfo], limits: Limits, *, needs_token: bool) -> Json:
    """The document.

    Args:
        models: that are served.
        limits: of requests.
        needs_token: whether clients have to show a token.
    """
    digit_models = [info.name for info in models if info.task == DIGIT]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mnistctl",
            "version": __version__,
            "x-default-model": digit_models[0],
            "description": "Reads handwritten digits and numbers in pictures, and runs models by the "
            "Open Inference Protocol, version 2.",
        },
        "paths": {
            "/predict": {"post": _predict(digit_models, limits)},
            "/": {
                "get": _operation(
                    "page",
                    "A page that reads drawings.",
                    {
                        "200": _content("The page.", "text/html", _TEXT),
                        "500": _error("The page cannot be built."),
                        "503": _later("The server starts or stops."),
                    },
                )
            },
            "/metrics": {
                "get": _operation(
                    "metrics",
                    "Metrics in the format of Prometheus.",
                    {"200": _content("The metrics.", "text/plain", _TEXT)},
                )
            },
            "/openapi.json": {
                "get": _operation(
                    "openapi", "This document.", {"200": _answer("The document.", {"type": "object"})}
                )
            },
            **_server_paths(),
            **_model_paths([info.name for info in models]),
            **_model_paths([info.name for info in models], version=True),
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}] if needs_token else [],
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, *optional: str) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _content(description: str, media_type: str, schema: Json) -> Json:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _answer(description: str, schema: Json) -> Json:
    return _content(description, _JSON, schema)


def _operation(name: str, summary: str, responses: Json, **rest: Any) -> Json:
    unauthorized = {"401": _error("The token is missing or wrong.")}
    return {"operationId": name, "summary": summary, "responses": responses | unauthorized, **rest}


def _error(description: str) -> Json:
    return _answer(description, _ref("Error"))


def _later(description: str) -> Json:
    return _error(description) | {
        "headers": {"Retry-After": {"schema": _COUNT, "description": "Seconds to wait."}}
    }


def _body_errors() -> Json:
    return {
        "408": _error("The request did not arrive in time."),
        "413": _error("The body is too large."),
        "415": _error("The body has another media type or encoding."),
        "429": _later("Too many requests at a time."),
        "500": _error("The picture could not be read; the log of the server says why."),
        "503": _later("The server starts or stops."),
    }


_BOX = {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}
_PREDICTION: Json = {
    "box": _BOX | {"description": "Left, top, width and height in pixels of the picture."},
    "label": _TEXT,
    "probability": _SHARE,
    "top": _list(_object({"label": _TEXT, "probability": _SHARE})),
    "familiarity": _SHARE
    | {"description": "How much the digit looks like those that the model was trained on."},
    "reason": {"type": ["string", "null"], "description": "Why the digit is rejected."},
    "rejected": {"type": "boolean"},
}
_TENSOR: Json = {
    "name": _TEXT,
    "shape": _list(_COUNT),
    "datatype": _TEXT,
    "parameters": {"type": "object"},
    "data": {"type": "array"},
}

_SCHEMAS: Json = {
    "Error": _object({"error": _TEXT}),
    "Unreadable": _object({"file": _TEXT, "error": _TEXT}),
    "Picture": _object({"file": _TEXT} | _PREDICTION),
    "Numbers": _object(
        {
            "file": _TEXT,
            "text": _TEXT | {"description": "The numbers, a line each."},
            "probability": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "lines": _list(_ref("Line")),
        }
    ),
    "Line": _object(
        {
            "text": _TEXT,
            "probability": _SHARE,
            "words": _list(_TEXT),
            "digits": _list(_object({"word": _COUNT} | _PREDICTION)),
        }
    ),
    "Results": _list({"anyOf": [_ref("Picture"), _ref("Numbers"), _ref("Unreadable")]}),
    "TensorMetadata": _object(
        {"name": _TEXT, "datatype": _TEXT, "shape": _list({"type": "integer", "minimum": -1})}
    ),
    "Model": _object(
        {
            "name": _TEXT,
            "versions": _list(_TEXT),
            "platform": _TEXT,
            "inputs": _list(_ref("TensorMetadata")),
            "outputs": _list(_ref("TensorMetadata")),
            "parameters": _object(
                {
                    "task": _TEXT,
                    "class_names": _list(_TEXT),
                    "threshold": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                }
            ),
        }
    ),
    "InferenceRequest": _object(
        {
            "id": _TEXT,
            "parameters": {"type": "object"},
            "outputs": _list(_object({"name": _TEXT, "parameters": {"type": "object"}}, "parameters")),
            "inputs": _list(
                _object(
                    {
                        "name": {"enum": [*inference.INPUT_NAMES.values()]},
                        "shape": {
                            "type": "array",
                            "items": {"type": "integer", "minimum": 1},
                            "minItems": 3,
                            "maxItems": 3,
                            "description": f"[N, {IMAGE_SIZE}, {IMAGE_SIZE}] for images; [N, height, "
                            "width], multiples of 16, for pages.",
                        },
                        "datatype": {"const": "UINT8"},
                        "parameters": {"type": "object"},
                        "data": {
                            "type": "array",
                            "description": "Values from 0 = paper to 255 = ink, in one list or in "
                            "lists of the tensor's shape.",
                        },
                    },
                    "parameters",
                    "data",
                )
            )
            | {"minItems": 1, "maxItems": 1},
        },
        "id",
        "parameters",
        "outputs",
    ),
    "InferenceResponse": _object(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "outputs": _list(_object(_TENSOR, "parameters", "data")),
        },
        "id",
    ),
}


def _predict(digit_models: Sequence[str], limits: Limits) -> Json:
    binary: Json = {"schema": _BYTES}
    query = [
        ("model", {"type": "string", "enum": [*digit_models]}, "The model; by default the first one."),
        (
            "numbers",
            {"type": "string", "enum": ["true", "false", "1", "0", ""]},
            "Whether to read whole numbers, line by line; an empty value is true.",
        ),
        ("top", {"type": "integer", "minimum": 1, "maximum": 1000}, "Number of most probable classes."),
        ("threshold", _SHARE, "Reject digits with a familiarity below this."),
    ]
    form = _object({"file": {"type": "array", "items": _BYTES}})
    return _operation(
        "predict",
        "Read a picture, or the pictures of a form.",
        {
            "200": _answer("A result for each picture.", _ref("Results")),
            "422": _error("An option is not valid, or no picture can be read."),
        }
        | _body_errors(),
        description=f"At most {limits.max_body:,} bytes. The answer is the JSON of `mnistctl predict`.",
        parameters=[
            {"name": name, "in": "query", "schema": schema, "description": description}
            for name, schema, description in query
        ],
        requestBody={
            "required": True,
            "content": dict.fromkeys(_PICTURE_TYPES, binary)
            | {"multipart/form-data": {"schema": form}},
        },
    )


def _server_paths() -> Json:
    flag = {"type": "boolean"}
    return {
        "/v2": {
            "get": _operation(
                "server_metadata",
                "The name and version of the server.",
                {
                    "200": _answer(
                        "The server.",
                        _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
                    )
                },
            )
        },
        "/v2/health/live": {
            "get": _operation(
                "live",
                "Whether the server runs.",
                {"200": _answer("It runs.", _object({"live": flag}))},
                security=[],
            )
        },
        "/v2/health/ready": {
            "get": _operation(
                "ready",
                "Whether the server takes requests.",
                {
                    "200": _answer("It does.", _object({"ready": flag})),
                    "503": _answer("It starts or stops.", _object({"ready": flag})),
                },
                security=[],
            )
        },
    }


def _model_paths(names: Sequence[str], *, version: bool = False) -> Json:
    start = "/v2/models/{model}" + ("/versions/{version}" if version else "")
    suffix = "_version" if version else ""
    model = {"type": "string", "enum": [*names]}
    parameters = [{"name": "model", "in": "path", "required": True, "schema": model}]
    if version:
        schema = {"type": "string", "enum": [inference.VERSION]}
        parameters.append({"name": "version", "in": "path", "required": True, "schema": schema})
    unknown = {"404": _error("There is no such model or version.")}
    ready = _object({"name": _TEXT, "ready": {"type": "boolean"}})
    return {
        start: {
            "get": _operation(
                f"model_metadata{suffix}",
                "What a model takes and returns.",
                {"200": _answer("The model.", _ref("Model"))} | unknown,
            ),
            "parameters": parameters,
        },
        f"{start}/ready": {
            "get": _operation(
                f"model_ready{suffix}",
                "Whether a model takes requests.",
                {"200": _answer("It does.", ready), "503": _answer("It does not.", ready)} | unknown,
            ),
            "parameters": parameters,
        },
        f"{start}/infer": {
            "post": _operation(
                f"infer{suffix}",
                "Run a model on tensors.",
                {
                    "200": {
                        "description": "The outputs; as JSON, or as JSON followed by tensors.",
                        "content": {
                            _JSON: {"schema": _ref("InferenceResponse")},
                            "application/octet-stream": {"schema": _BYTES},
                        },
                    },
                    "400": _error("The request is not valid for this model."),
                }
                | unknown
                | _body_errors(),
                description="With the extension for binary tensors, the body is JSON followed by the "
                "tensors, its type is application/octet-stream, and the header "
                "Inference-Header-Content-Length has the length of the JSON.",
                requestBody={
                    "required": True,
                    "content": {
                        _JSON: {"schema": _ref("InferenceRequest")},
                        "application/octet-stream": {"schema": _BYTES},
                    },
                },
            ),
            "parameters": parameters,
        },
    }
