"""For schemathesis: OpenAPI cannot say what a picture is, nor that a tensor's data fit its shape."""

from typing import Any

import msgspec
import schemathesis
from schemathesis import Case, GenerationMode, HookContext

from tests.serving.server import EXAMPLE

INPUTS = {"bundled": ("images", [1, 28, 28], 784), "bundled-numbers": ("pages", [1, 16, 32], 512)}


@schemathesis.hook
def before_call(context: HookContext, case: "Case[Any]", kwargs: dict[str, Any]) -> None:
    """Send another body in place of one that is meant to be valid."""
    if case.method != "POST" or case.meta is None:
        return
    if case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    if case.path != "/predict":
        name, shape, size = INPUTS[case.path_parameters["model"]]
        tensor = {"name": name, "shape": shape, "datatype": "UINT8", "data": [0] * size}
        kwargs["data"] = msgspec.json.encode({"inputs": [tensor]})
    elif case.media_type == "multipart/form-data":
        kwargs["files"] = [("file", ("seven.png", EXAMPLE))]
    else:
        kwargs["data"] = EXAMPLE
