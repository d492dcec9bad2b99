"""The Open Inference Protocol, spoken by the client of Triton, which others wrote."""

import json
import re
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from mnistctl.api import models
from mnistctl.models import formats
from tests.helpers import ROOT
from tests.serving.server import Server

client_module = pytest.importorskip("tritonclient.http")
from tritonclient.utils import InferenceServerException  # noqa: E402

OUTPUTS = ("logits", "probabilities", "familiarity")


@pytest.fixture
def client(server: Server) -> Any:
    with client_module.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def tensor(images: Any, *, binary: bool, name: str = "images") -> Any:
    given = client_module.InferInput(name, [*images.shape], "UINT8")
    given.set_data_from_numpy(images, binary_data=binary)
    return given


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("bundled")
    assert client.is_model_ready("bundled", "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "mnistctl"
    metadata = client.get_model_metadata("bundled", "1")
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28]}]
    assert tuple(item["name"] for item in metadata["outputs"]) == OUTPUTS


@pytest.mark.parametrize("binary_input", [False, True])
@pytest.mark.parametrize("binary_output", [False, True])
def test_images_give_the_outputs_of_the_model(
    binary_input: bool, binary_output: bool, client: Any, digits_test: Any
) -> None:
    images = digits_test[0][:33]
    requested = [client_module.InferRequestedOutput(name, binary_output) for name in OUTPUTS]

    result = client.infer(
        "bundled", [tensor(images, binary=binary_input)], outputs=requested, request_id="a-1"
    )

    expected = models.open_predictor(models.bundled(formats.ONNX))(images)
    for name in OUTPUTS:
        values = result.as_numpy(name)
        np.testing.assert_allclose(values, getattr(expected, name), atol=1e-4, rtol=1e-4)
    assert result.get_response()["id"] == "a-1"
    assert result.get_response()["model_version"] == "1"


def test_some_outputs_can_be_chosen(client: Any, digits_test: Any) -> None:
    requested = [client_module.InferRequestedOutput("familiarity")]

    result = client.infer("bundled", [tensor(digits_test[0][:2], binary=True)], outputs=requested)

    assert [item["name"] for item in result.get_response()["outputs"]] == ["familiarity"]
    assert result.as_numpy("familiarity").shape == (2,)


def test_the_detector_finds_digits_on_pages(client: Any) -> None:
    pages = np.zeros((2, 32, 48), dtype=np.uint8)

    result = client.infer("bundled-numbers", [tensor(pages, binary=True, name="pages")])

    assert result.as_numpy("scores").shape == (2, 10, 8, 12)
    assert result.as_numpy("boxes").shape == (2, 4, 8, 12)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_request_is_read(algorithm: str, client: Any, digits_test: Any) -> None:
    result = client.infer(
        "bundled",
        [tensor(digits_test[0][:3], binary=True)],
        request_compression_algorithm=algorithm,
    )

    assert result.as_numpy("logits").shape == (3, 10)


def test_errors_reach_the_client(client: Any, digits_test: Any) -> None:
    image = digits_test[0][:1]
    cases: list[tuple[Any, str]] = [
        (lambda: client.infer("bundle", [tensor(image, binary=True)]), "did you mean 'bundled'?"),
        (
            lambda: client.infer("bundled", [tensor(image, binary=True)], model_version="2"),
            "has version 1 only",
        ),
        (
            lambda: client.infer("bundled", [tensor(image, binary=True, name="pixels")]),
            "takes one, 'images'",
        ),
        (
            lambda: client.infer("bundled", [tensor(image, binary=True)] * 2),
            "takes one, 'images'",
        ),
        (lambda: client.infer("bundled", [tensor(image[:, :20], binary=True)]), "shape [1, 20, 28]"),
        (
            lambda: client.infer(
                "bundled",
                [tensor(image, binary=True)],
                outputs=[client_module.InferRequestedOutput("answer")],
            ),
            "output 'answer'",
        ),
        (lambda: client.get_model_metadata("none"), "unknown model 'none'"),
    ]
    for call, text in cases:
        with pytest.raises(InferenceServerException) as raised:
            call()

        assert text in raised.value.message()


def test_the_example_of_the_documentation_runs(server: Server) -> None:
    pages = (ROOT / "docs" / "how-to" / "serve.md").read_text("utf-8")
    match = re.search(r"```python\n(.*?)```", pages, re.DOTALL)
    assert match is not None
    code = match[1].replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert result.stdout == "(4, 10)\n", result.stderr


IMAGE: dict[str, Any] = {"name": "images", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}


def changed(**values: Any) -> dict[str, Any]:
    return {"inputs": [IMAGE | values]}


@pytest.mark.parametrize(
    ("request_json", "text"),
    [
        ([], "not valid"),
        ({}, "not valid"),
        ({"inputs": []}, "inputs: none"),
        (changed(datatype="FP32"), "datatype FP32; expected UINT8"),
        (changed(shape=[28, 28]), "shape [28, 28]"),
        (changed(shape=[0, 28, 28]), "shape [0, 28, 28]"),
        (changed(shape=[-1, 28, 28]), "shape [-1, 28, 28]"),
        (changed(shape=[10**9, 28, 28]), "shape [1000000000, 28, 28]"),
        (changed(shape=[2, 28, 28]), "data has the shape [784]"),
        (changed(data=[0] * 783), "data has the shape [783]"),
        (changed(data=[[0]] * 784), "whole numbers from 0 to 255"),
        (changed(data=[256] * 784), "whole numbers from 0 to 255"),
        (changed(data=[-1] * 784), "whole numbers from 0 to 255"),
        (changed(data=[0.5] * 784), "whole numbers from 0 to 255"),
        (changed(data=["1"] * 784), "whole numbers from 0 to 255"),
        (changed(data=[True] * 784), "whole numbers from 0 to 255"),
        (changed(data=None), "whole numbers from 0 to 255"),
        (changed(data=[[0] * 28] * 27 + [[0]]), "whole numbers from 0 to 255"),
        (changed(parameters={"binary_data_size": 784}), "784 bytes, binary_data_size is 784"),
        ({"inputs": [IMAGE], "outputs": [{"name": "x"}]}, "output 'x'"),
        (
            {"inputs": [IMAGE], "outputs": [{"name": "logits", "parameters": {"classification": 3}}]},
            "'classification' is not supported",
        ),
    ],
)
def test_a_bad_request_is_refused_with_one_line(request_json: Any, text: str, server: Server) -> None:
    answer = server.post("/v2/models/bundled/infer", json.dumps(request_json))

    assert answer.status_code == 400
    assert text in answer.json()["error"]
    assert server.reads()


def test_nested_data_is_read(server: Server) -> None:
    answer = server.post(
        "/v2/models/bundled/versions/1/infer", json.dumps(changed(data=[[[0] * 28] * 28]))
    )

    assert answer.status_code == 200
    assert [item["shape"] for item in answer.json()["outputs"]] == [[1, 10], [1, 10], [1]]


@pytest.mark.parametrize(
    ("header_length", "announced", "sent"),
    [
        ("9999", 784, 784),
        ("x", 784, 784),
        ("-1", 784, 784),
        ("", 785, 784),
        ("", 784, 783),
        ("", 784, 785),
    ],
)
def test_binary_tensors_have_to_be_as_long_as_they_say(
    header_length: str, announced: int, sent: int, server: Server
) -> None:
    given = {name: value for name, value in IMAGE.items() if name != "data"}
    given |= {"parameters": {"binary_data_size": announced}}
    header = json.dumps({"inputs": [given]}).encode()
    headers = {"inference-header-content-length": header_length or str(len(header))}

    answer = server.post("/v2/models/bundled/infer", header + bytes(sent), headers=headers)

    assert answer.status_code == 400
    assert "bytes" in answer.json()["error"]


def test_a_binary_answer_says_where_its_tensors_are(server: Server) -> None:
    body = json.dumps(changed() | {"parameters": {"binary_data_output": True}})

    answer = server.post("/v2/models/bundled/infer", body)

    length = int(answer.headers["inference-header-content-length"])
    header = json.loads(answer.content[:length])
    sizes = [item["parameters"]["binary_data_size"] for item in header["outputs"]]
    assert sizes == [40, 40, 4]
    assert len(answer.content) == length + sum(sizes)
    probabilities = struct.unpack("<10f", answer.content[length + 40 : length + 80])
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
