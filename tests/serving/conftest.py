"""Real servers in processes of their own, on ports that are free."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.server import Server


@pytest.fixture(scope="package")
def working_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without runs."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="package")
def server(working_folder: Path) -> Iterator[Server]:
    """A server of the bundled models that all tests share."""
    with Server(working_folder) as server:
        yield server
