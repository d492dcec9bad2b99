"""The OpenAPI document is true: schemathesis sends what it describes, and what it forbids."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnistctl.serving.app import Service
from tests.helpers import ROOT
from tests.serving.server import Server

EXAMPLES = 20  # requests per operation and kind


@pytest.mark.parametrize(
    "token", [None, pytest.param("a-token-that-nobody-knows", marks=pytest.mark.slow)]
)
def test_schemathesis_finds_nothing(token: str | None, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    arguments: list[str | Path] = []
    headers = []
    if token is not None:
        (tmp_path / "token").write_text(token)
        arguments = ["--token-file", tmp_path / "token"]
        headers = ["--header", f"Authorization: Bearer {token}"]
    hooks = {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.serving.openapi_hooks"}
    program = str(Path(sys.executable).with_name("st"))
    with Server(tmp_path, *arguments) as server:
        result = subprocess.run(
            [
                *(program, "run", f"{server.url}/openapi.json", *headers, "--no-color"),
                *("--max-examples", str(EXAMPLES), "--generation-deterministic"),
            ],
            env=os.environ | hooks,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    assert result.returncode == 0, result.stdout
    assert "No issues found" in result.stdout


def test_every_route_is_described(server: Server) -> None:
    document = server.get("/openapi.json").json()

    for path, methods in document["paths"].items():
        place = path.format(model="bundled", version="1")
        for method in ("get", "post"):
            response = (server.get if method == "get" else server.post)(place)
            assert (response.status_code == 405) == (method not in methods), path
    routes = Service(None, None, None, needs_token=False).routes()  # type: ignore[arg-type]
    assert {route.path for route in routes} == set(document["paths"])
