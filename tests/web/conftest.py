"""A page with the bundled model."""

from pathlib import Path

import pytest

from mnistctl.api import export, models
from mnistctl.models import checkpoint, formats

pytest.importorskip("py_mini_racer")


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model's page, without the check of its export."""
    from mnistctl.exports import Source, html

    path = tmp_path_factory.mktemp("page") / "reader.html"
    model = checkpoint.load(models.bundled(formats.SAFETENSORS))
    source = export.open_source(model, None, None)
    assert isinstance(source, Source)
    html.build(source).save(path, source.predictor.metadata)
    return path
