"""A torch.export program, for those who stay with PyTorch."""

import json
from pathlib import Path

import torch

from mnistctl.exports.onnx import OfPixels, example, silenced
from mnistctl.models import formats
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.onnx_predictor import as_input
from mnistctl.models.predictor import Outputs
from mnistctl.nn.torch_predictor import TorchPredictor
from mnistctl.system import files
from mnistctl.types import Images

_ENTRY = f"{KEY}.json"


class TorchProgram:
    """A program that can be saved, and opened by the process that made it: opening one can run code."""

    def __init__(self, predictor: TorchPredictor, *, input_kind: str) -> None:
        module = predictor.reader if input_kind == formats.UINT8 else OfPixels(predictor.reader).eval()
        with silenced():
            self._program = torch.export.export(
                module,
                (example(input_kind),),
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                strict=False,
            )

    @property
    def details(self) -> dict[str, str]:
        """See `exports.onnx.OnnxFile`."""
        return {"torch": torch.__version__}

    def save(self, path: Path, metadata: Metadata) -> None:
        """Write the file."""
        entry = json.dumps(metadata.to_json())
        # A name without .pt2 would be warned about, and weights that share their memory are.
        with path.open("wb") as file, silenced():
            torch.export.save(self._program, file, extra_files={_ENTRY: entry})

    def open(self, path: Path) -> "LoadedProgram":
        """The file that this process has just saved."""
        return LoadedProgram(path)


class LoadedProgram:
    """A program behind the Predictor protocol."""

    def __init__(self, path: Path) -> None:
        entry = {_ENTRY: ""}
        with path.open("rb") as file, silenced():
            program = torch.export.load(file, extra_files=entry)
        self._run = program.module()
        self.graph_sha256 = _graph_sha256(program)
        self.metadata = Metadata.of_export(entry[_ENTRY], self.graph_sha256, name=path)

    @property
    def threads(self) -> int:
        """See `predictor.Predictor`."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        outputs = self._run(torch.tensor(as_input(images, self.metadata.export["input"])))
        return Outputs(*(output.numpy() for output in outputs))


def _graph_sha256(program: torch.export.ExportedProgram) -> str:
    """Of the operations and the weights."""
    tensors = sorted({**program.state_dict, **program.constants}.items())
    weights = [name.encode() + tensor.numpy(force=True).tobytes() for name, tensor in tensors]
    return files.sha256(str(program.graph).encode() + b"".join(weights))
