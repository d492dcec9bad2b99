"""The format `openvino`: a folder with OpenVINO's two files. Weights stay in float32."""

import json
from pathlib import Path

from mnistctl.exports.graph import Source
from mnistctl.models import formats
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.openvino_predictor import OpenVinoPredictor, openvino, shared_core


class OpenVinoFolder:
    """An OpenVINO folder; see `exports.Export`."""

    def __init__(self, source: Source) -> None:
        self._model = shared_core().read_model(source.graph.SerializeToString())

    @property
    def details(self) -> dict[str, str]:
        """See `exports.Export`."""
        return {"openvino": str(openvino.__version__)}

    def save(self, path: Path, metadata: Metadata) -> None:
        """See `exports.Export`."""
        path.mkdir(exist_ok=True)
        self._model.set_rt_info(json.dumps(metadata.to_json()), [KEY])
        openvino.save_model(self._model, path / formats.OPENVINO_FILE, compress_to_fp16=False)

    def open(self, path: Path) -> OpenVinoPredictor:
        """See `exports.Export`."""
        return OpenVinoPredictor(path / formats.OPENVINO_FILE)


build = OpenVinoFolder
