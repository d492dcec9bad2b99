"""An ONNX file that is safe to run, opened by onnxruntime; for models of every task."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy.typing as npt

from mnistctl.errors import ModelError, one_line
from mnistctl.models import onnx_safety
from mnistctl.models.metadata import KEY, Metadata

if TYPE_CHECKING:
    import onnxruntime


# onnxruntime keeps the memory that its largest input took, because that is faster. A process that runs
# for weeks sets this to False before it opens models.
keeps_memory = True


class Tensor(NamedTuple):
    """An input or an output of a graph."""

    name: str
    type: str  # such as tensor(uint8)
    shape: tuple[int | str | None, ...]  # a name or None: a size that is free


class OnnxSession:
    """An exported model that onnxruntime runs on the CPU.

    Args:
        path: the ONNX file.
        trusted: skip the safety checks, for a file that is part of this package.
        content: of an ONNX file, if the file holds the model in another way.

    Raises:
        ModelError: the file is unreadable, not ONNX, not safe to run, changed since its export, or not
            an export of this program.
    """

    def __init__(self, path: Path, *, trusted: bool = False, content: bytes | None = None) -> None:
        content = onnx_safety.read(path) if content is None else content
        checked = None if trusted else onnx_safety.check(content, name=path)
        self.path = path
        self.graph_sha256 = checked and checked.graph_sha256
        self.max_pixels = checked.max_pixels if checked else sys.maxsize  # of one call's input
        self._session = _start(content, path)
        entry = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        if entry is None:
            raise ModelError(
                f"{path}: an ONNX file, but not one that mnistctl made: no '{KEY}' metadata"
            )
        self.metadata = Metadata.of_export(entry, self.graph_sha256, name=path)

    @property
    def threads(self) -> int:
        """Number of CPU threads."""
        return _chosen_threads() or os.cpu_count() or 1

    @property
    def inputs(self) -> list[Tensor]:
        """The inputs of the graph."""
        return [Tensor(item.name, item.type, tuple(item.shape)) for item in self._session.get_inputs()]

    @property
    def outputs(self) -> list[Tensor]:
        """The outputs of the graph."""
        return [Tensor(item.name, item.type, tuple(item.shape)) for item in self._session.get_outputs()]

    def check_task(self, task: str) -> None:
        """Check what the model is for.

        Raises:
            ModelError: it is for another task.
        """
        if self.metadata.task != task:
            raise ModelError(
                f"{self.path}: a model for the task '{self.metadata.task}', not for '{task}'"
            )

    def run(
        self, outputs: Sequence[str], feed: Mapping[str, npt.NDArray[Any]]
    ) -> list[npt.NDArray[Any]]:
        """Compute outputs from the inputs in `feed`.

        Raises:
            ModelError: onnxruntime cannot run the graph.
        """
        try:
            arrays: list[npt.NDArray[Any]] = self._session.run(outputs, feed)
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise ModelError(f"{self.path}: onnxruntime cannot run it ({one_line(error)})") from error
        return arrays


def _chosen_threads() -> int:
    """The number of threads in OMP_NUM_THREADS, which onnxruntime does not read; 0: one per core."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else 0


def _start(content: bytes, path: Path) -> "onnxruntime.InferenceSession":
    import onnxruntime  # 0.1 s

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = keeps_memory
    options.intra_op_num_threads = _chosen_threads()
    options.log_severity_level = 4  # fatal errors only; the others are raised
    # onnxruntime must read the file as what was checked; it also detects formats other than ONNX.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise ModelError(f"{path}: onnxruntime cannot load it ({one_line(error)})") from error
