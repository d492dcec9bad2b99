"""OpenVINO behind the Predictor protocol."""

import functools
import os
from pathlib import Path
from typing import Any

from mnistctl.errors import MissingExtraError, ModelError
from mnistctl.models import formats
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.onnx_predictor import INPUT_NAME, as_input
from mnistctl.models.predictor import Outputs
from mnistctl.system import files
from mnistctl.types import Images

os.environ.setdefault("OPENVINO_TELEMETRY", "0")
try:
    import openvino as openvino
except ImportError as error:
    raise MissingExtraError(
        "OpenVINO is not installed; get it with: pip install 'mnistctl[openvino]'"
    ) from error


class OpenVinoPredictor:
    """An exported model, run by OpenVINO on the CPU in float32.

    Args:
        path: of `model.xml`; `model.bin` lies beside it.

    Raises:
        ModelError: unreadable, changed since it was made, or not one of this program's exports.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.graph_sha256 = _graph_sha256(path)
            model = core().read_model(path)
            entry = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
            if entry is not None:
                self.metadata = Metadata.of_export(entry, self.graph_sha256, name=path)
            names = tuple(it.get_any_name() for it in (*model.inputs, *model.outputs))
            # By itself it would compute in bfloat16 where the processor can.
            wanted = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
            compiled = core().compile_model(model, "CPU", wanted)
            self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
            self._request = compiled.create_infer_request()
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}") from error
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{path}: OpenVINO cannot load it ({reason})") from error
        if entry is None or names != (INPUT_NAME, *Outputs._fields):
            raise ModelError(f"{path}: an OpenVINO model, but not one that mnistctl made")

    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        feed = {INPUT_NAME: as_input(images, self.metadata.export.get("input", formats.UINT8))}
        try:
            self._request.infer(feed)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{self._path}: OpenVINO cannot run it ({reason})") from error
        return Outputs(*(self._request.get_tensor(name).data.copy() for name in Outputs._fields))


@functools.cache
def core() -> Any:
    """OpenVINO itself, one for all: when its last core goes, so does the stack that signals run on."""
    made = openvino.Core()
    made.set_property({"ENABLE_MMAP": False})  # a mapped file cannot be replaced everywhere
    return made


def _graph_sha256(path: Path) -> str:
    """Of the layers and the weights; the metadata stand behind the layers."""
    layers, _, _ = path.read_bytes().rpartition(b"<rt_info>")
    return files.sha256(layers + path.with_suffix(".bin").read_bytes())
