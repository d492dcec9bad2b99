"""POST /predict: pictures in, the JSON of `mnistctl predict` out."""

import gzip
import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import Cli
from tests.serving.server import EXAMPLE, Server, in_threads, wait_until

FILES: list[tuple[str, tuple[str, bytes]]] = [
    ("file", ("seven.png", EXAMPLE)),
    ("file", ("notes.txt", b"no picture")),
]


def png(image: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(image, dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def without_file(results: Any) -> Any:
    return [{name: value for name, value in result.items() if name != "file"} for result in results]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", []),
        ("?top=1", ["--top", "1"]),
        ("?top=10&threshold=1", ["--top", "10", "--threshold", "1"]),
        ("?numbers=true", ["--numbers"]),
        ("?numbers&threshold=0.5&top=2", ["--numbers", "--threshold", "0.5", "--top", "2"]),
        ("?model=bundled&numbers=0", []),
    ],
)
def test_the_answer_is_that_of_predict(
    query: str, options: list[str], server: Server, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "seven.png").write_bytes(EXAMPLE)

    answer = server.post(f"/predict{query}", EXAMPLE)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    local = cli("predict", tmp_path / "seven.png", "--json", "--model", "bundled", *options)
    assert without_file(answer.json()) == _nearly(without_file(json.loads(local.out)))


def _nearly(value: Any) -> Any:
    """Floats compare with the rounding of other batch sizes."""
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-5)
    if isinstance(value, dict):
        return {name: _nearly(item) for name, item in value.items()}
    return [_nearly(item) for item in value] if isinstance(value, list) else value


def test_a_form_may_have_several_files_and_a_bad_one_spoils_no_other(server: Server) -> None:
    answer = server.post("/predict", files=FILES)

    seven, notes = answer.json()
    assert (answer.status_code, seven["file"], seven["label"]) == (200, "seven.png", "7")
    assert (notes["file"], set(notes)) == ("notes.txt", {"file", "error"})
    assert notes["error"].startswith("notes.txt: not a picture")


def test_every_page_of_a_file_is_a_result(server: Server) -> None:
    stream = io.BytesIO()
    page = Image.open(io.BytesIO(EXAMPLE)).convert("L")
    page.save(stream, "TIFF", save_all=True, append_images=[page])

    answer = server.post("/predict", files=[("a", ("two.tif", stream.getvalue()))])

    assert [result["file"] for result in answer.json()] == ["two.tif#page=1", "two.tif#page=2"]


def test_a_compressed_body_is_decompressed(server: Server) -> None:
    headers = {"content-type": "image/png", "content-encoding": "gzip"}

    answer = server.post("/predict", gzip.compress(EXAMPLE), headers=headers)

    assert answer.json()[0]["label"] == "7"


def test_what_curl_sends_is_read(server: Server) -> None:
    for media_type in (None, "application/x-www-form-urlencoded"):
        answer = server.post("/predict", EXAMPLE, headers={"content-type": media_type})

        assert answer.json()[0]["label"] == "7"


@pytest.mark.parametrize(
    ("path", "body", "media_type", "status", "text"),
    [
        ("/predict", b"text", "image/png", 422, "-: not a picture"),
        ("/predict", b"", "image/png", 422, "-: the file is empty"),
        ("/predict", EXAMPLE[:300], "image/png", 422, "-: the picture is damaged"),
        ("/predict", EXAMPLE, "text/html", 415, "Content-Type text/html: expected"),
        ("/predict", EXAMPLE, "application/json", 415, "Content-Type application/json: expected"),
        ("/predict", b"--x", "multipart/form-data", 422, "no boundary"),
        ("/predict", b"--x", "multipart/form-data; boundary=y", 422, "the form"),
        ("/predict", b"--x--\r\n", "multipart/form-data; boundary=x", 422, "the form has no file"),
        ("/predict?top=0", EXAMPLE, "", 422, "top: expected a whole number from 1 to 1000"),
        ("/predict?top=two", EXAMPLE, "", 422, "top: expected a whole number"),
        ("/predict?threshold=2", EXAMPLE, "", 422, "threshold: expected a number from 0 to 1"),
        ("/predict?threshold=nan", EXAMPLE, "", 422, "threshold: expected a number from 0 to 1"),
        ("/predict?numbers=maybe", EXAMPLE, "", 422, "numbers: expected true or false"),
        ("/predict?numbrs=1", EXAMPLE, "", 422, "did you mean 'numbers'?"),
        ("/predict?model=bundle", EXAMPLE, "", 422, "did you mean 'bundled'?"),
        ("/predict?top=1&top=2", EXAMPLE, "", 422, "given twice"),
        ("/predictions", EXAMPLE, "", 404, "not found"),
    ],
)
def test_a_bad_request_gets_one_clear_line(
    path: str, body: bytes, media_type: str, status: int, text: str, server: Server
) -> None:
    answer = server.post(path, body, headers={"content-type": media_type or "image/png"})

    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert text in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_requests_that_wait_together_are_read_together_and_answers_go_to_their_askers(
    server: Server, digits_test: Any
) -> None:
    pictures = [png(255 - image) for image in digits_test[0][:60]]
    alone = [server.post("/predict", picture).json() for picture in pictures]
    requests_before = server.metric('mnistctl_requests_total{route="/predict",status="200"}')
    batches_before = server.metric("mnistctl_batch_requests_count")
    together: dict[int, Any] = {}

    def ask(number: int) -> None:
        together[number] = server.post("/predict", pictures[number]).json()

    workers = server.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)  # so that requests have to wait
    with in_threads(len(pictures), ask):
        wait_until(lambda: server.metric("mnistctl_active_requests") == len(pictures), server)
        for worker in workers:
            os.kill(worker, signal.SIGCONT)

    assert [together[number] for number in range(len(pictures))] == _nearly(alone)
    requests = server.metric('mnistctl_requests_total{route="/predict",status="200"}')
    batches = server.metric("mnistctl_batch_requests_count")
    assert requests - requests_before == len(pictures)
    assert batches - batches_before < len(pictures) / 4


def test_a_request_id_is_passed_on_or_made(server: Server) -> None:
    given = server.post("/predict", EXAMPLE, headers={"x-request-id": "abc-1"})
    made = [server.post("/predict", EXAMPLE).headers["x-request-id"] for _ in range(2)]
    replaced = server.post("/predict", EXAMPLE, headers={"x-request-id": "a" * 200})

    assert given.headers["x-request-id"] == "abc-1"
    assert made[0] != made[1]
    assert len(replaced.headers["x-request-id"]) == 16
    wait_until(lambda: "abc-1" in server.log, server)
    assert "POST /predict 200" in server.log


def test_metrics_show_drift(server: Server) -> None:
    server.post("/predict", EXAMPLE)
    server.post("/predict", png(np.random.default_rng(0).integers(0, 255, (60, 60))))

    text = server.get("/metrics").text

    assert server.metric('mnistctl_window_digits{model="bundled"}') >= 2
    assert 0 < server.metric('mnistctl_window_rejected_ratio{model="bundled"}') < 1
    assert server.metric('mnistctl_window_answer_ratio{label="7",model="bundled"}') > 0
    assert "mnistctl_queue_requests 0.0" in text
