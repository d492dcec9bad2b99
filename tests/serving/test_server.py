"""How a server starts, stops, limits and protects itself."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import trustme

import mnistctl
from mnistctl.errors import DataError, MnistctlError, ModelError, UsageError
from mnistctl.serving.options import ServeOptions
from tests.serving.server import EXAMPLE, Server, in_threads, wait_until
from tests.serving.test_predict_route import png

TOKEN = "correct-horse-battery"


def test_it_says_where_it_listens_and_stops_with_0(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.reads()

        assert server.stop() == 0
    assert f"serving bundled, bundled-numbers at http://127.0.0.1:{server.port}" in server.log
    assert "Traceback" not in server.log


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_stops_it_with_0(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.process.send_signal(signal.SIGINT)

        assert server.process.wait(60) == 0


def test_several_models_have_names(tmp_path: Path, run_folder: Path) -> None:
    with Server(tmp_path, f"mine={run_folder}", run_folder / "model.onnx", "bundled") as server:
        names = [server.post(f"/predict?model={name}", EXAMPLE) for name in ("mine", "model")]
        metadata = server.get("/v2/models/mine").json()
        wrong = server.post("/predict?model=other", EXAMPLE)
        page = server.get("/").text

    assert [answer.status_code for answer in names] == [200, 200]
    assert metadata["platform"] == "mnistctl_safetensors"
    assert "available: mine, model, bundled" in wrong.json()["error"]
    assert str(run_folder.parent) not in page


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"port": 70_000}, UsageError, "--port 70000: expected a value from 0 to 65,535"),
        ({"workers": 0}, UsageError, "--workers 0"),
        ({"max_batch": 0}, UsageError, "--max-batch 0"),
        ({"batch_window": float("nan")}, UsageError, "--batch-window nan"),
        ({"timeout": 0}, UsageError, "--timeout 0"),
        ({"keyfile": Path("key.pem")}, UsageError, "--keyfile needs --certfile"),
        ({"token_file": Path("none.txt")}, DataError, "none.txt: No such file"),
        ({"token_file": Path("short.txt")}, DataError, "16 ASCII characters or more"),
        ({"certfile": Path("none.pem")}, DataError, "none.pem: No such file"),
        ({"certfile": Path("short.txt")}, DataError, "not a certificate in PEM format"),
        ({"host": "no such host"}, MnistctlError, "cannot listen on no such host:"),
        ({"host": "192.0.2.1", "token_file": Path("token.txt")}, MnistctlError, "cannot listen on"),
    ],
)
def test_a_bad_option_is_an_error(
    options: dict[str, Any], error: type[Exception], text: str, tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text("secret")
    (tmp_path / "token.txt").write_text(TOKEN)

    with pytest.raises(error, match=text.replace("(", r"\(")):
        mnistctl.serve("bundled", options=ServeOptions(**{"port": 0} | options))


def serve(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `mnistctl serve` to its end: a browser of another test may have an event loop here."""
    command = [sys.executable, "-m", "mnistctl", "serve", "--port", "0", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_a_bad_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"\x08broken model")

    for model, text in [("none", "no such file"), ("broken.onnx", "broken.onnx")]:
        answer = serve(tmp_path, model)

        assert answer.returncode == ModelError.exit_code
        assert text in answer.stderr
        assert "Traceback" not in answer.stderr
    twice = serve(tmp_path, "bundled", "bundled")
    assert twice.returncode == UsageError.exit_code
    assert "two models have the name 'bundled'" in twice.stderr


def test_an_address_that_is_taken_is_an_error(server: Server, tmp_path: Path) -> None:
    answer = serve(tmp_path, "--port", str(server.port))

    assert answer.returncode == MnistctlError.exit_code
    assert f"cannot listen on 127.0.0.1:{server.port}" in answer.stderr


def test_who_has_no_token_gets_nothing(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with Server(tmp_path, "--token-file", "token") as server:
        for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}):
            for path in ("/", "/predict", "/metrics", "/v2", "/openapi.json", "/v2/models/bundled"):
                answer = server.get(path, headers=headers)

                assert (answer.status_code, set(answer.json())) == (401, {"error"}), path
                assert answer.headers["www-authenticate"] == "Bearer"
        assert server.get("/v2/health/ready").status_code == 200
        allowed = {"authorization": f"Bearer {TOKEN}"}
        assert server.get("/metrics", headers=allowed).status_code == 200
        assert server.post("/predict", EXAMPLE, headers=allowed).json()[0]["label"] == "7"
        assert TOKEN not in server.log


def test_a_host_that_others_reach_is_warned_of_once_unless_there_is_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with Server(tmp_path, "--host", "0.0.0.0") as open_server:
        pass
    with Server(tmp_path, "--host", "0.0.0.0", "--token-file", "token") as closed_server:
        pass

    assert open_server.log.count("anyone who can reach this address can use the server") == 1
    assert "warning" not in closed_server.log


def test_pages_elsewhere_may_use_it_only_if_allowed(server: Server, tmp_path: Path) -> None:
    origin = {"origin": "https://example.org", "content-type": "image/png"}
    asked = origin | {"access-control-request-method": "POST"}

    assert "access-control-allow-origin" not in server.post("/predict", EXAMPLE, headers=origin).headers
    with Server(tmp_path, "--allow-origin", "https://example.org") as other:
        answer = other.post("/predict", EXAMPLE, headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        asked_first = requests.options(f"{other.url}/predict", headers=asked, timeout=60)
        assert asked_first.status_code == 200
        stranger = other.post("/predict", EXAMPLE, headers=origin | {"origin": "https://example.com"})
        assert "access-control-allow-origin" not in stranger.headers


def test_pages_elsewhere_may_use_it_with_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    origin = {"origin": "https://example.org"}
    asked = origin | {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,inference-header-content-length",
    }
    with Server(tmp_path, "--allow-origin", "https://example.org", "--token-file", "token") as server:
        asked_first = requests.options(f"{server.url}/predict", headers=asked, timeout=60)
        assert asked_first.status_code == 200
        assert server.post("/predict", EXAMPLE, headers=origin).status_code == 401
        allowed = origin | {"authorization": f"Bearer {TOKEN}"}
        answer = server.post("/predict", EXAMPLE, headers=allowed)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"


def test_before_it_is_ready_every_request_is_answered_with_503(tmp_path: Path) -> None:
    log = open(os.devnull, "w")  # noqa: SIM115
    with log, Server(tmp_path, stderr=log, is_ready=False) as server:
        paths = ("/", "/openapi.json", "/v2/models/bundled", "/v2/health/ready")
        statuses: set[int] = set()
        while not statuses:
            with contextlib.suppress(requests.ConnectionError):
                statuses = {server.get(path).status_code for path in paths}
                statuses.add(server.post("/predict", EXAMPLE).status_code)
                statuses.add(server.post("/v2/models/bundled/infer", "{}").status_code)

        assert statuses <= {503, 200, 400}
        wait_until(server.reads)


def test_https(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    with Server(tmp_path, "--certfile", tmp_path / "server.pem") as server:
        answer = server.post("/predict", EXAMPLE, verify=str(tmp_path / "ca.pem"))

        assert answer.json()[0]["label"] == "7"
        with pytest.raises(requests.exceptions.SSLError):
            server.get("/v2", verify=ssl.get_default_verify_paths().cafile or True)


def test_a_log_of_json_has_a_line_per_request_but_none_for_probes(tmp_path: Path) -> None:
    with Server(tmp_path, "--log-format", "json", is_ready=False) as server:
        wait_until(lambda: "serving bundled" in server.log)
        server.port = int(server.log.rpartition("127.0.0.1:")[2].partition(";")[0])
        server.post("/predict?top=1", EXAMPLE, headers={"x-request-id": "abc"})
        server.get("/v2/health/live")
        wait_until(lambda: '"request"' in server.log)

    lines = [json.loads(line) for line in server.log.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line | {"time": 0, "seconds": 0} == {
        "time": 0,
        "level": "info",
        "event": "request",
        "request_id": "abc",
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "seconds": 0,
    }


def test_a_full_queue_is_answered_with_429_and_then_it_goes_on(tmp_path: Path) -> None:
    large = png(np.random.default_rng(0).integers(0, 255, (1000, 1000)))
    statuses: list[int] = []
    with Server(tmp_path, "--max-queue", "4", "--workers", "1") as server:

        def ask(number: int) -> None:
            answer = server.post("/predict?numbers=1", large)
            statuses.append(answer.status_code)
            if answer.status_code == 429:
                assert answer.headers["retry-after"] == "1"

        with in_threads(12, ask):
            pass

        assert statuses.count(429) + statuses.count(200) == 12
        assert statuses.count(429) >= 1
        assert statuses.count(200) >= 4
        assert server.reads()


def test_bodies_that_are_too_large_are_refused_before_they_are_read(tmp_path: Path) -> None:
    with Server(tmp_path, "--max-body", "0.1") as server:
        announced = server.post("/predict", bytes(100_001))
        chunked = server.post("/predict", iter([bytes(60_000)] * 2))
        connection = server.connect()
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")

        assert announced.status_code == chunked.status_code == 413
        assert "more than 100,000 bytes" in announced.json()["error"]
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
        connection.close()
        assert server.reads()


def test_a_worker_that_dies_is_replaced_and_its_requests_fail(tmp_path: Path) -> None:
    large = png(np.random.default_rng(0).integers(0, 255, (1000, 1000)))
    answers: list[requests.Response] = []
    with Server(tmp_path, "--workers", "1") as server:
        (worker,) = server.workers()
        thread = threading.Thread(
            target=lambda: answers.append(server.post("/predict?numbers=1", large))
        )
        thread.start()
        wait_until(lambda: server.metric("mnistctl_active_requests") > 0)
        os.kill(worker, signal.SIGKILL)
        thread.join()
        wait_until(lambda: server.get("/v2/health/ready").status_code == 200)

        assert answers[0].status_code == 500
        assert "the process that read this has ended" in answers[0].json()["error"]
        assert server.reads()
        assert server.workers() != [worker]
        assert server.metric("mnistctl_worker_restarts_total") == 1


def test_a_reading_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with Server(tmp_path, "--workers", "1", "--timeout", "2") as server:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)

        answer = server.post("/predict", EXAMPLE)

        assert answer.status_code == 500
        assert "took more than 2 seconds" in answer.json()["error"]
        wait_until(server.reads)


def test_what_was_accepted_is_answered_before_the_end(tmp_path: Path) -> None:
    answers: list[int] = []
    with Server(tmp_path, "--workers", "1") as server:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)

        def ask(number: int) -> None:
            answers.append(server.post("/predict", EXAMPLE).status_code)

        with in_threads(3, ask):
            wait_until(lambda: server.metric("mnistctl_active_requests") == 3)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: server.get("/v2/health/ready").status_code == 503)
            assert server.get("/v2/models/bundled/ready").status_code == 503
            late = server.post("/predict", EXAMPLE)
            assert (late.status_code, late.json()["error"]) == (503, "the server is shutting down")
            os.kill(worker, signal.SIGCONT)

        assert server.process.wait(60) == 0
    assert answers == [200] * 3


def test_grace_has_an_end(tmp_path: Path) -> None:
    answers: list[requests.Response] = []
    with Server(tmp_path, "--workers", "1", "--grace", "0.5") as server:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        thread = threading.Thread(target=lambda: answers.append(server.post("/predict", EXAMPLE)))
        thread.start()
        wait_until(lambda: server.metric("mnistctl_active_requests") > 0)

        assert server.stop() == 1
        thread.join()
    assert answers[0].status_code == 503
    assert "1 requests were not answered within --grace 0.5 seconds" in server.log


def test_workers_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        workers = server.workers()
        assert workers
        server.process.kill()

        wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_torch_is_not_imported_for_an_onnx_model(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.reads()
        server.get("/")
        for process in (server.process.pid, *server.workers()):
            assert "libtorch" not in Path(f"/proc/{process}/maps").read_text()


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from mnistctl.cli.app import main; sys.exit(main(['serve']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 5
    assert result.stderr.splitlines() == [
        "mnistctl: the server is not installed; get it with: pip install 'mnistctl[serve]'"
    ]
