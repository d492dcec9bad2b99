"""GET /: the drawing page, in a browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mnistctl
from tests.serving.server import Server, wait_until
from tests.web.reader import THREE, Reader


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    readers = []

    def open_it(server: Server) -> Reader:
        reader = Reader(browser, server.url, viewport={"width": 1100, "height": 900})
        readers.append(reader)
        return reader

    yield open_it
    for reader in readers:
        reader.context.close()


def test_the_page_reads_drawings_itself_if_it_can_run_the_model(server: Server, open_page: Any) -> None:
    reader = open_page(server)

    reader.draw(THREE)

    assert reader.label == "3"
    assert reader.messages == []
    assert reader.requests == [f"{server.url}/"]


def test_a_trained_model_runs_in_the_page_too(run_folder: Path, tmp_path: Path, open_page: Any) -> None:
    with Server(tmp_path, run_folder) as server:
        reader = open_page(server)
        reader.draw(THREE)

        assert reader.label in "0123456789?"
        assert reader.requests == [f"{server.url}/"]


@pytest.fixture(scope="module")
def int8_model(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with operators that the page does not have."""
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    mnistctl.export(run_folder, format="onnx-int8", output=path)
    return path


def test_the_page_asks_the_server_where_it_cannot_run_the_model(
    int8_model: Path, tmp_path: Path, open_page: Any
) -> None:
    with Server(tmp_path, int8_model) as server:
        reader = open_page(server)
        assert "sends your drawing to the server" in reader.tab.locator("header").inner_text()

        reader.draw(THREE)
        wait_until(lambda: reader.label != "–")

        answer = reader.tab.locator("#verdict").inner_text()
        assert "%" in answer or "not" in answer
        assert reader.messages == []
        assert {f"{server.url}/predict?model=int8&top=1000"} == {*reader.requests[1:]}
        assert not reader.tab.locator("#layers").is_visible()
        reader.tab.keyboard.press("Escape")
        wait_until(lambda: reader.label == "–")

        server.stop()
        reader.draw(THREE)
        wait_until(lambda: "The server does not answer" in reader.verdict)


def test_the_page_may_not_be_framed_and_may_reach_its_own_origin_only(server: Server) -> None:
    answer = server.get("/")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.text
    assert "connect-src" not in answer.text
