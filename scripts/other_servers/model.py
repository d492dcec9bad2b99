"""What the servers beside `mnistctl serve` share: a picture becomes a label, as in many tutorials."""

import os
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image


class Model:
    """The ONNX file that the variable MODEL names."""

    def __init__(self) -> None:
        self.session = onnxruntime.InferenceSession(
            os.environ["MODEL"], providers=["CPUExecutionProvider"]
        )

    def read(self, picture: Image.Image) -> dict[str, Any]:
        """The label of a drawing, and its probability."""
        image = 255 - np.asarray(picture.convert("L").resize((28, 28)))
        probabilities = self.session.run(["probabilities"], {"images": image[None]})[0][0]
        label = int(probabilities.argmax())
        return {"label": label, "probability": float(probabilities[label])}
