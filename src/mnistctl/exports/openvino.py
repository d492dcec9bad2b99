"""A folder with OpenVINO's two files."""

import json
from pathlib import Path

from onnx import ModelProto

from mnistctl.models import formats
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.openvino_predictor import OpenVinoPredictor, core, openvino


class OpenVinoFolder:
    """The folder, of an ONNX graph."""

    def __init__(self, model: ModelProto) -> None:
        self._model = core().read_model(model.SerializeToString())

    @property
    def details(self) -> dict[str, str]:
        """See `OnnxFile`."""
        return {"openvino": str(openvino.__version__)}

    def save(self, path: Path, metadata: Metadata) -> None:
        """Write the folder; weights stay float32."""
        path.mkdir(exist_ok=True)
        self._model.set_rt_info(json.dumps(metadata.to_json()), [KEY])
        openvino.save_model(self._model, path / formats.OPENVINO_FILE, compress_to_fp16=False)

    def open(self, path: Path) -> OpenVinoPredictor:
        """See `OnnxFile`."""
        return OpenVinoPredictor(path / formats.OPENVINO_FILE)
