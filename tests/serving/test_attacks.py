"""Clients that want to break the server. After each attack, the next honest request is answered."""

import contextlib
import gzip
import json
import os
import resource
import signal
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.images import test_bad_pictures
from tests.serving.server import EXAMPLE, Server, in_threads, wait_until
from tests.serving.test_predict_route import png

TIMEOUT_S = 3  # of the server, for its clients
PATIENCE = 10  # times that limit, on a busy machine
MAX_BODY_MB = 4
MAX_MEMORY_MB = 400
TOKEN = "correct-horse-battery"
HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"
INFER = "/v2/models/bundled/infer"


@pytest.fixture(scope="module")
def victim(working_folder: Path) -> Iterator[Server]:
    """A server with short time limits, which all attacks share."""
    options = ["--timeout", str(TIMEOUT_S), "--max-body", str(MAX_BODY_MB), "--max-queue", "64"]
    with Server(working_folder, *options) as server:
        server.files_at_start = server.open_files()
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log


@contextlib.contextmanager
def connections(server: Server, count: int, start: bytes) -> Iterator[list[socket.socket]]:
    """Connections on which the same bytes were sent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 500)), hard))
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = stack.enter_context(server.connect())
            with contextlib.suppress(OSError):  # the server may close it at once
                connection.sendall(start)
            opened.append(connection)
        yield opened
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def until_closed(connection: socket.socket) -> bytes:
    """What a server sends before it closes a connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(1 << 16):
            received += chunk
    return received


def drip(server: Server, start: bytes, byte: bytes) -> None:
    """Send one byte after the other until the server has had enough."""
    with server.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(start)
        end = time.monotonic() + PATIENCE * TIMEOUT_S
        while time.monotonic() < end:
            connection.sendall(byte)
            time.sleep(0.1)
        raise AssertionError("the server waits for ever")


def flood(server: Server, start: bytes, chunk: bytes) -> None:
    """Send without end until the server has had enough."""
    with server.connect() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(start)
        end = time.monotonic() + PATIENCE * TIMEOUT_S
        while time.monotonic() < end:
            connection.sendall(chunk)
        raise AssertionError("the server reads for ever")


def raw(server: Server, request: bytes) -> bytes:
    """Send bytes and return the answer."""
    with server.connect() as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return until_closed(connection)


def status_of(answer: bytes) -> int:
    return int(answer.split()[1]) if answer else 0


# --- slow, endless and lying clients -----------------------------------------------------------------


def slow_headers(server: Server) -> None:
    drip(server, b"POST /predict HTTP/1.1\r\n", b"a")


def slow_header_lines(server: Server) -> None:
    drip(server, b"POST /predict HTTP/1.1\r\n", b"a: b\r\n")


def slow_request_line(server: Server) -> None:
    drip(server, b"GET /", b"a")


def empty_lines(server: Server) -> None:
    drip(server, b"", b"\r\n")


def silence(server: Server) -> None:
    with server.connect() as connection:
        assert status_of(until_closed(connection)) == 408


def slow_body(server: Server) -> None:
    drip(server, HEAD + b"content-length: 1000000\r\n\r\n", b"a")


def slow_chunks(server: Server) -> None:
    drip(server, HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n")


def body_that_never_comes(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD + b"content-length: 100\r\n\r\nabc")
        assert status_of(until_closed(connection)) in (0, 408)


def endless_body(server: Server) -> None:
    flood(server, HEAD + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(0x10000) + b"\r\n")


def endless_body_of_a_lying_length(server: Server) -> None:
    flood(server, HEAD + b"content-length: 10\r\n\r\n", bytes(0x10000))


def endless_header(server: Server) -> None:
    flood(server, b"GET / HTTP/1.1\r\na: ", b"b" * 0x10000)


def endless_url(server: Server) -> None:
    flood(server, b"GET /", b"b" * 0x10000)


def many_headers(server: Server) -> None:
    lines = b"".join(b"h%d: x\r\n" % number for number in range(5000))
    assert status_of(raw(server, b"GET /v2 HTTP/1.1\r\nhost: x\r\n" + lines + b"\r\n")) in (400, 431)


def slow_reader(server: Server) -> None:
    files = server.open_files()
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 20)
        wait_until(lambda: server.open_files() > files, server)
        wait_until(lambda: server.open_files() <= files, server)  # though this end is still open


def half_closed_before_the_body(server: Server) -> None:
    raw(server, HEAD + b"content-length: 100\r\n\r\nabc")


def half_closed_after_the_body(server: Server) -> None:
    length = b"content-length: %d\r\n\r\n" % len(EXAMPLE)
    raw(server, HEAD + length + EXAMPLE)


def hung_up_before_the_answer(server: Server) -> None:
    length = b"content-length: %d\r\n\r\n" % len(EXAMPLE)
    for _ in range(100):
        with server.connect() as connection:
            connection.sendall(HEAD + length + EXAMPLE)
    wait_until(lambda: server.metric("mnistctl_active_requests") == 0, server)


def reset_connections(server: Server) -> None:
    for _ in range(100):
        connection = server.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.sendall(HEAD + b"content-length: 100\r\n\r\nabc")
        connection.close()


def two_lengths(server: Server) -> None:
    lengths = b"content-length: 3\r\ncontent-length: 5\r\n\r\nabcde"
    assert status_of(raw(server, HEAD + lengths)) == 400


def length_and_chunks(server: Server) -> None:
    both = b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    assert status_of(raw(server, HEAD + both)) in (0, 400, 422)


def impossible_lengths(server: Server) -> None:
    for length in (b"-1", b"1e3", b"0x10", b"9" * 30, b"abc", b""):
        assert status_of(raw(server, HEAD + b"content-length: " + length + b"\r\n\r\n")) in (400, 413)


def bad_chunk_sizes(server: Server) -> None:
    for size in (b"-1", b"zz", b"f" * 40, b"fffffffffffffff0"):
        start = HEAD + b"transfer-encoding: chunked\r\n\r\n"
        assert status_of(raw(server, start + size + b"\r\nabc\r\n")) in (0, 400, 413)


def no_http(server: Server) -> None:
    for text in (b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-x\r\n", bytes(range(256)), b"\0" * 1000):
        assert status_of(raw(server, text)) in (0, 400, 408)


def http2_and_upgrades(server: Server) -> None:
    raw(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    upgrade = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    raw(server, upgrade)
    raw(server, b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n")


def pipelined_requests(server: Server) -> None:
    answer = raw(server, b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n" * 2000)
    assert answer.count(b"HTTP/1.1 200") >= 1


def slow_body_behind_another_request(server: Server) -> None:
    start = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n" + HEAD
    drip(server, start + b"content-length: 1000000\r\n\r\n", b"a")


def endless_trailer(server: Server) -> None:
    start = HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    flood(server, start + b"a: ", b"b" * 0x10000)


def announced_bodies_that_do_not_come(server: Server) -> None:
    length = b"content-length: %d\r\n\r\n" % (MAX_BODY_MB * 1_000_000)
    with connections(server, 300, HEAD + length):
        wait_until(server.reads, server)


def half_of_a_next_request_and_gone(server: Server) -> None:
    length = b"content-length: %d\r\n\r\n" % len(EXAMPLE)
    for _ in range(50):
        with server.connect() as connection:
            connection.sendall(HEAD + length + EXAMPLE + b"GET /v2")


def thousands_of_connections(server: Server) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connections(server, min(10_000, hard - 500), b""):
        wait_until(server.reads, server)


def thousands_of_slow_requests(server: Server) -> None:
    with connections(server, 3000, HEAD + b"content-length: 100\r\n\r\na"):
        wait_until(server.reads, server)


# --- paths, headers, tokens --------------------------------------------------------------------------


def paths_out_of_the_server(server: Server) -> None:
    for path in (
        *("/../../etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"),
        *(
            "/v2/models/..%2f..%2f/infer",
            "/v2/models/%00",
            "/v2/models/" + "a" * 5000,
            "/\\..\\windows",
        ),
        *(
            "/v2/models/bundled/versions/../../..",
            "/predict/../metrics/../../root",
            "*",
            "http://x/v2x",
        ),
    ):
        answer = raw(
            server, b"GET " + path.encode() + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        assert status_of(answer) in (400, 404, 405), path
        assert b"root:x:" not in answer


def file_names_are_no_paths(server: Server) -> None:
    for name in ("../../etc/passwd", "/etc/passwd", "a\r\nb", "\x1b[31m", "x" * 5000, "nul\0"):
        answer = server.post("/predict", files=[("file", (name, b"no picture"))])
        assert answer.status_code == 422
        assert answer.text.isprintable()
        assert "root:x:" not in answer.text


def header_injection(server: Server) -> None:
    start = b"GET /v2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: "
    for value in (b"a\xff", b"a b", b"a\tb", b"\xe2\x82\xac", b"a" * 1000):
        answer = raw(server, start + value + b"\r\n\r\n")
        assert value not in answer


def queries_of_all_kinds(server: Server) -> None:
    for query in (
        "top=" + "9" * 5000,
        "top=1" * 100,
        "&" * 5000,
        "%00=%00",
        "model=" + "a" * 5000,
        "=",
        "🙂",
    ):
        answer = server.post("/predict?" + query, EXAMPLE)
        assert answer.status_code in (200, 422), query
        assert len(answer.text) < 1000


# --- bodies ------------------------------------------------------------------------------------------


def zip_bomb(server: Server) -> None:
    bomb = gzip.compress(bytes(500_000_000), 9)
    headers = {"content-encoding": "gzip", "content-type": "image/png"}
    assert server.post("/predict", bomb, headers=headers).status_code == 422
    assert server.post(INFER, bomb, headers=headers).status_code == 400


def damaged_compression(server: Server) -> None:
    for body in (b"", b"abc", gzip.compress(EXAMPLE)[:-9], zlib.compress(EXAMPLE)):
        answer = server.post("/predict", body, headers={"content-encoding": "gzip"})
        assert answer.status_code == 422
    assert server.post("/predict", EXAMPLE, headers={"content-encoding": "br"}).status_code == 415


def json_bombs(server: Server) -> None:
    for body in (
        b"[" * 1_000_000,
        b'{"inputs":' * 100_000,
        b'{"inputs":[{"name":"images","shape":[1,28,28],"datatype":"UINT8","data":' + b"[" * 500_000,
        b'{"inputs":[' + b'{"name":"images","shape":[],"datatype":""},' * 50_000 + b"null]}",
        b'{"id":"' + b"a" * 3_000_000 + b'","inputs":[]}',
        b'{"inputs":[{"name":"images","shape":[' + b"9" * 100_000 + b'],"datatype":"UINT8"}]}',
        b"\xff\xfe" * 1000,
        b"",
    ):
        answer = server.post(INFER, body)
        assert answer.status_code == 400
        assert len(answer.text) < 1000


def tensors_of_texts(server: Server) -> None:
    bad_data: tuple[Any, ...] = (
        ["a" * 100_000, *[""] * 783],
        [[]] * 784,
        [[[]]] * 784,
        {"a": 1},
        [None] * 784,
    )
    for data in bad_data:
        tensor = {"name": "images", "shape": [1, 28, 28], "datatype": "UINT8", "data": data}
        assert server.post(INFER, json.dumps({"inputs": [tensor]})).status_code == 400


def one_output_many_times(server: Server) -> None:
    tensor = {"name": "images", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
    outputs = [{"name": "logits"}] * 50_000
    answer = server.post(INFER, json.dumps({"inputs": [tensor], "outputs": outputs}))
    assert (answer.status_code, "named twice" in answer.text) == (400, True)


def tensors_of_many_dimensions(server: Server) -> None:
    tensor = {"name": "images", "shape": [2**62] * 100_000, "datatype": "UINT8", "data": [0]}
    assert server.post(INFER, json.dumps({"inputs": [tensor]})).status_code == 400


def tensors_of_impossible_shapes(server: Server) -> None:
    for shape in (
        [2**62, 28, 28],
        [1, 2**31, 2**31],
        [-1, -28, 28],
        [1] * 1000,
        [],
        [0],
        [1.5, 28, 28],
    ):
        tensor = {"name": "images", "shape": shape, "datatype": "UINT8", "data": [0]}
        assert server.post(INFER, json.dumps({"inputs": [tensor]})).status_code == 400
        tensor = tensor | {"name": "pages"}
        path = "/v2/models/bundled-numbers/infer"
        assert server.post(path, json.dumps({"inputs": [tensor]})).status_code == 400


def lying_binary_sizes(server: Server) -> None:
    for size in (-1, 0, 783, 785, 2**62, "784", None, True, [784]):
        tensor = {"name": "images", "shape": [1, 28, 28], "datatype": "UINT8"}
        header = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}).encode()
        for length in (len(header), len(header) + 784, 2**40):
            headers = {"inference-header-content-length": str(length)}
            answer = server.post(INFER, header + bytes(784), headers=headers)
            assert answer.status_code == 400, (size, length)


def large_tensors(server: Server) -> None:
    tensor: dict[str, Any] = {"name": "images", "shape": [4096, 28, 28], "datatype": "UINT8"}
    size = 4096 * 784
    header = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}).encode()
    headers = {"inference-header-content-length": str(len(header))}
    assert server.post(INFER, header + bytes(size), headers=headers).status_code == 200


def forms_of_many_parts(server: Server) -> None:
    part = b'--x\r\ncontent-disposition: form-data; name="f"; filename="a"\r\n\r\n\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    for body in (
        part * 20_000 + b"--x--",
        part * 50,
        b"--x\r\n" + b"a: b\r\n" * 100_000,
        b"--x" * 100_000,
    ):
        assert server.post("/predict", body, headers=headers).status_code == 422


def strange_boundaries(server: Server) -> None:
    for boundary in ("", '""', "a" * 5000, "\u00e9", 'x"; filename="y'):
        headers = {"content-type": f"multipart/form-data; boundary={boundary}".encode("latin-1")}
        answer = server.post("/predict", b"--x--", headers=headers)
        assert answer.status_code in (400, 422), boundary


def hostile_pictures(server: Server) -> None:
    for name, make in test_bad_pictures.BAD_PICTURES.items():
        answer = server.post("/predict", make())
        assert answer.status_code in (200, 422), name


def expensive_pictures(server: Server) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1000, 1000))
    specks = np.full((2000, 2000), 255)
    specks[::6, ::6] = 0
    for picture in (noise, specks, np.zeros((1, 60_000)), np.indices((900, 900)).sum(0) % 2 * 255):
        for query in ("", "?numbers=1"):
            server.post(f"/predict{query}", png(picture))
    wait_until(server.reads, server)


# --- the machine -------------------------------------------------------------------------------------


def killed_workers(server: Server) -> None:
    for _ in range(3):
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(server.workers()) > 0 and server.reads(), server)


def stopped_workers(server: Server) -> None:
    for worker in server.workers():
        os.kill(worker, signal.SIGSTOP)
    wait_until(server.reads, server)


ATTACKS: list[Callable[[Server], None]] = [
    *(slow_headers, slow_header_lines, slow_request_line, empty_lines, silence, slow_body, slow_chunks),
    *(body_that_never_comes, endless_body, endless_body_of_a_lying_length, endless_header, endless_url),
    *(many_headers, slow_reader, half_closed_before_the_body, half_closed_after_the_body),
    *(hung_up_before_the_answer, reset_connections, two_lengths, length_and_chunks, impossible_lengths),
    *(
        bad_chunk_sizes,
        slow_body_behind_another_request,
        endless_trailer,
        no_http,
        http2_and_upgrades,
        pipelined_requests,
        thousands_of_connections,
    ),
    *(thousands_of_slow_requests, paths_out_of_the_server, file_names_are_no_paths, header_injection),
    *(queries_of_all_kinds, zip_bomb, damaged_compression, json_bombs, tensors_of_impossible_shapes),
    *(tensors_of_texts, one_output_many_times, tensors_of_many_dimensions),
    *(announced_bodies_that_do_not_come, half_of_a_next_request_and_gone),
    *(lying_binary_sizes, large_tensors, forms_of_many_parts, strange_boundaries, hostile_pictures),
    *(expensive_pictures, killed_workers, stopped_workers),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_the_server_survives(attack: Callable[[Server], None], victim: Server) -> None:
    attack(victim)

    wait_until(victim.reads, victim)
    wait_until(lambda: victim.metric("mnistctl_active_requests") <= 0, victim)
    wait_until(lambda: victim.open_files() <= victim.files_at_start + 4, victim)
    assert victim.memory_mb() < MAX_MEMORY_MB
    assert victim.process.poll() is None


def test_an_overloaded_server_answers_or_refuses(tmp_path: Path) -> None:
    statuses: list[int] = []
    with Server(tmp_path, "--max-queue", "64") as server:

        def ask(number: int) -> None:
            with requests.Session() as session:
                for _ in range(10):
                    answer = session.post(f"{server.url}/predict", EXAMPLE, timeout=60)
                    statuses.append(answer.status_code)

        with in_threads(100, ask):
            pass

        assert len(statuses) == 1000
        assert set(statuses) <= {200, 429}
        assert server.reads()
        assert server.memory_mb() < MAX_MEMORY_MB


def test_a_full_disk_for_the_log_stops_nothing(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full, Server(tmp_path, stderr=full) as server:
        assert all(server.reads() for _ in range(20))
        assert server.stop() == 0


def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream, Server(tmp_path, stderr=stream) as server:
        path = "/" + "a" * 5000
        with requests.Session() as session:
            for _ in range(50):
                session.get(server.url + path, timeout=60)
        assert server.reads()
        os.close(reader)


def test_wrong_tokens_of_all_kinds_get_the_same_answer(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    wrong = ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "x" * len(TOKEN), "x" * 5000, "\xff", "a b"]
    with Server(tmp_path, "--token-file", "token") as server:
        answers = [
            server.get("/v2", headers={"authorization": f"Bearer {token}".encode("latin-1")})
            for token in wrong
        ]

        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.text for answer in answers}) == 1
        allowed = server.get("/v2", headers={"authorization": f"Bearer {TOKEN}"})
        assert allowed.status_code == 200
