"""BentoML, a worker per core: `MODEL=model.onnx python scripts/other_servers/with_bentoml.py PORT`."""

import os
import sys
from typing import Any

import bentoml
from model import Model
from PIL import Image


@bentoml.service(workers=os.cpu_count() or 1)
class Reader:
    """The service of BentoML's quick start."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, file: Image.Image) -> dict[str, Any]:
        """Read a drawing."""
        return self.model.read(file)


if __name__ == "__main__":
    folder = os.path.dirname(os.path.abspath(__file__))
    bentoml.serve("with_bentoml:Reader", working_dir=folder, port=int(sys.argv[1]), blocking=True)
