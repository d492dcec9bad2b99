"""The Predictor protocol with OpenVINO as the runtime."""

import functools
from pathlib import Path
from typing import Any

from mnistctl.errors import MissingExtraError, ModelError, one_line
from mnistctl.models import formats
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.onnx_predictor import INPUT_NAME, as_input
from mnistctl.models.predictor import Outputs
from mnistctl.system import files
from mnistctl.types import Images

try:
    import openvino as openvino
except ImportError as error:
    raise MissingExtraError(
        "OpenVINO is not installed; get it with: pip install 'mnistctl[openvino]'"
    ) from error


class OpenVinoPredictor:
    """An exported model that OpenVINO runs on the CPU, in float32.

    Args:
        path: the file `model.xml`; `model.bin` is in the same folder.

    Raises:
        ModelError: the files are unreadable, changed since their export, or not an export of this
            program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.graph_sha256 = _graph_sha256(path)
        try:
            model = shared_core().read_model(path)
            entry = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
            names = tuple(port.get_any_name() for port in (*model.inputs, *model.outputs))
            if entry is None or names != (INPUT_NAME, *Outputs._fields):
                raise ModelError(f"{path}: an OpenVINO model, but not one that mnistctl made")
            self.metadata = Metadata.of_export(entry, self.graph_sha256, name=path)
            # OpenVINO's default is bfloat16 where the processor has it.
            properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
            compiled = shared_core().compile_model(model, "CPU", properties)
            self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise ModelError(f"{path}: OpenVINO cannot load it ({one_line(error)})") from error

    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        feed = {INPUT_NAME: as_input(images, self.metadata.export.get("input", formats.UINT8))}
        try:
            self._request.infer(feed)
        except RuntimeError as error:
            raise ModelError(f"{self._path}: OpenVINO cannot run it ({one_line(error)})") from error
        return Outputs(*(self._request.get_tensor(name).data.copy() for name in Outputs._fields))


@functools.cache
def shared_core() -> Any:
    """The one OpenVINO core of the process.

    It is never released: OpenVINO frees the stack for signal handlers together with its last core.
    """
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # on Windows, a mapped file cannot be replaced
    return core


def _graph_sha256(path: Path) -> str:
    """SHA-256 of the layers and the weights; the metadata, which follow the layers, are left out."""
    layers, _, _ = files.read_bytes(path, ModelError).rpartition(b"<rt_info>")
    return files.sha256(
        layers + files.read_bytes(path.with_suffix(".bin"), ModelError, files.LARGE_LIMIT_BYTES)
    )
