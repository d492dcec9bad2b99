"""LitServe: `MODEL=model.onnx python scripts/other_servers/with_litserve.py PORT`."""

import os
import sys
from typing import Any

import litserve
from fastapi import Request
from model import Model
from PIL import Image


class Api(litserve.LitAPI):  # type: ignore[misc]
    """The methods that LitServe asks for."""

    def setup(self, device: str) -> None:
        """Open the model."""
        self.model = Model()

    def decode_request(self, request: Request) -> Image.Image:
        """The picture in a form, which LitServe gives in place of the request."""
        form: Any = request
        return Image.open(form["file"].file)

    def predict(self, picture: Image.Image) -> dict[str, Any]:
        """Read a drawing."""
        return self.model.read(picture)

    def encode_response(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer as it is sent."""
        return answer


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=os.cpu_count() or 1)
    server.run(port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
