"""The format `torch`: a torch.export program, for PyTorch itself."""

import json
from pathlib import Path

import torch

from mnistctl.exports.graph import Source, silenced, with_input
from mnistctl.models.metadata import KEY, Metadata
from mnistctl.models.onnx_predictor import as_input
from mnistctl.models.predictor import Outputs
from mnistctl.system import files
from mnistctl.types import Images

_ENTRY = f"{KEY}.json"


class TorchProgram:
    """A torch.export program; see `exports.Export`."""

    def __init__(self, source: Source) -> None:
        module, example = with_input(source.predictor.classifier, source.input_kind)
        with silenced():
            self._program = torch.export.export(
                module,
                (example,),
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                strict=False,
            )

    @property
    def details(self) -> dict[str, str]:
        """See `exports.Export`."""
        return {"torch": torch.__version__}

    def save(self, path: Path, metadata: Metadata) -> None:
        """See `exports.Export`."""
        entry = json.dumps(metadata.to_json())
        # torch warns about names that do not end in .pt2 and about weights that share memory.
        with path.open("wb") as file, silenced():
            torch.export.save(self._program, file, extra_files={_ENTRY: entry})

    def open(self, path: Path) -> "LoadedProgram":
        """See `exports.Export`. Opening a program can run code: open only what was just saved."""
        return LoadedProgram(path)


class LoadedProgram:
    """A torch.export program as a `Predictor`."""

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
    """SHA-256 of the operations and the weights."""
    tensors = sorted({**program.state_dict, **program.constants}.items())
    weights = [name.encode() + tensor.numpy(force=True).tobytes() for name, tensor in tensors]
    return files.sha256(str(program.graph).encode() + b"".join(weights))


build = TorchProgram
