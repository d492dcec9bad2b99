"""`predict --server URL`: the same results as without it."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers import Cli
from tests.serving.server import EXAMPLE, Server
from tests.serving.test_predict_route import _nearly, png

TOKEN = "correct-horse-battery"


@pytest.fixture
def pictures(tmp_path: Path, digits_test: Any) -> Path:
    """A folder with digits, a file that is no picture, and a TIFF of two pages."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, (image, label) in enumerate(zip(*digits_test, strict=True)):
        if number < 40:
            (folder / f"{label}_{number}.png").write_bytes(png(255 - image))
    (folder / "9_bad.png").write_bytes(b"no picture")
    page = Image.fromarray(255 - digits_test[0][0])
    page.save(folder / "pages.tif", "TIFF", save_all=True, append_images=[page])
    return folder


@pytest.mark.parametrize(
    "options", [[], ["--top", "1", "--threshold", "0.9"], ["--numbers"], ["--labels-from-names"]]
)
def test_results_are_those_of_this_machine(
    options: list[str], server: Server, pictures: Path, cli: Cli
) -> None:
    arguments = ["predict", pictures, "--json", "--model", "bundled", *options]

    local, remote = cli(*arguments), cli(*arguments, "--server", server.url)

    assert json.loads(remote.out) == _nearly(json.loads(local.out))
    assert remote.code == local.code
    assert remote.err.splitlines()[-1] == local.err.splitlines()[-1]


def test_tables_and_csv_are_the_same(server: Server, pictures: Path, cli: Cli) -> None:
    for options in ([], ["--csv"], ["--numbers"]):
        arguments = ["predict", pictures / "pages.tif", "--model", "bundled", *options]

        assert cli(*arguments, "--server", server.url).out == cli(*arguments).out


def test_a_token_is_sent(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "seven.png").write_bytes(EXAMPLE)
    (tmp_path / "token").write_text(TOKEN)
    with Server(tmp_path, "--token-file", "token") as server:
        arguments = ["predict", "seven.png", "--server", f"127.0.0.1:{server.port}"]

        without = cli(*arguments)
        with_token = cli(*arguments, "--token-file", "token")

    assert (without.code, "--token-file FILE" in without.err) == (3, True)
    assert with_token.code == 0


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--server", "http://127.0.0.1:9"], 3, "the server does not answer"),
        (["--server", "ftp://example.org"], 2, "expected an address such as http://localhost:8000"),
        (["--server", "http://"], 2, "expected an address"),
        (["--server", "URL", "--preview"], 2, "--preview does not work with --server"),
        (["--server", "URL", "--annotate", "x.png"], 2, "--annotate does not work with --server"),
        (["--server", "URL", "--jobs", "2"], 2, "--jobs does not work with --server"),
        (["--server", "URL", "--model", "bundle"], 4, "did you mean 'bundled'?"),
        (["--server", "URL", "--top", "0"], 2, "--top 0"),
        (["--token-file", "token"], 2, "--token-file needs --server"),
        (["--server", "URL/nowhere"], 3, "not found"),
    ],
)
def test_a_bad_request_ends_in_one_line(
    options: list[str], code: int, text: str, server: Server, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "seven.png").write_bytes(EXAMPLE)

    answer = cli("predict", "seven.png", *(part.replace("URL", server.url) for part in options))

    assert (answer.code, answer.out) == (code, "")
    assert text in answer.err
    assert len(answer.err.splitlines()) == 1
