"""PyTorch behind the Predictor protocol."""

from collections.abc import Sequence

import numpy as np
import torch

from mnistctl import architectures
from mnistctl.checkpoint import Checkpoint
from mnistctl.errors import ModelError, UsageError
from mnistctl.metadata import Metadata
from mnistctl.nn import nets
from mnistctl.predictor import Images, Outputs


class TorchPredictor:
    """A checkpoint's net, reading in float32 on the CPU or on another device."""

    def __init__(self, reader: nets.Reader, metadata: Metadata, *, device: torch.device) -> None:
        self.reader = reader.to(device).eval()
        self.metadata = metadata
        self.device = device

    @torch.inference_mode()
    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        outputs = self.reader(torch.tensor(images, device=self.device))
        return Outputs(*(output.cpu().numpy() for output in outputs))


def from_checkpoint(
    checkpoint: Checkpoint, *, device: torch.device, arch: str | None = None
) -> TorchPredictor:
    """Put a checkpoint's weights into the net it names.

    Args:
        checkpoint: a verified one.
        device: where it is to read.
        arch: FILE.py:CLASS, for the net of a person's own class: opening a file runs no code that
            only the file names.

    Raises:
        ModelError: the net is unknown, or its tensors are not the ones in the file.
        UsageError: `arch` is not the net's.
    """
    metadata = checkpoint.metadata
    named = checkpoint.named_architecture(arch)
    try:
        arguments = architectures.resolve(named, metadata.arch_args)
        net = nets.build_shapes(named, arch_args=arguments, classes=len(metadata.class_names))
    except (TypeError, ValueError, RuntimeError, UsageError) as error:
        raise ModelError(
            f"{checkpoint.path}: '{named}' cannot be built as it says ({error})"
        ) from error
    expected = {
        name: (str(tensor.dtype).removeprefix("torch."), *tensor.shape)
        for name, tensor in net.state_dict().items()
    }
    found = {name: (tensor.dtype.name, *tensor.shape) for name, tensor in checkpoint.tensors.items()}
    if expected != found:
        name = min(set(expected.items()) ^ set(found.items()))[0]
        raise ModelError(
            f"{checkpoint.path}: not the weights of '{metadata.arch}': {name} is "
            f"{found.get(name, 'missing')}, expected {expected.get(name, 'nothing of that name')}"
        )
    weights = net.state_dict()  # with the layers' versions, which some nets ask for
    weights.update((name, torch.from_numpy(array)) for name, array in checkpoint.tensors.items())
    net.load_state_dict(weights, assign=True)
    return TorchPredictor(
        nets.Reader(net.to(memory_format=torch.channels_last), temperature=metadata.temperature),
        metadata,
        device=device,
    )


def start_from(
    net: torch.nn.Module, checkpoint: Checkpoint, class_names: Sequence[str], *, arch: str
) -> None:
    """Give a fresh net a checkpoint's weights; where the classes differ the head stays fresh.

    Raises:
        ModelError: the checkpoint cannot be opened as the net it names.
        UsageError: the net is not of the checkpoint's shape, or it has no layer to start afresh.
    """
    predictor = from_checkpoint(checkpoint, device=torch.device("cpu"), arch=arch)
    weights = predictor.reader.net.state_dict()
    fresh = net.state_dict()
    if list(class_names) != checkpoint.metadata.class_names:
        head = nets.head_of(net, classes=len(class_names))
        if head is None:
            raise UsageError(
                f"--init {checkpoint.path}: other classes, and no layer gives the logits alone"
            )
        weights |= {name: fresh[name] for name in fresh if name.startswith(f"{head}.")}
    if wrong := [
        name for name in fresh if name not in weights or weights[name].shape != fresh[name].shape
    ]:
        raise UsageError(
            f"--init {checkpoint.path}: another net than was asked for ({wrong[0]} differs)"
        )
    net.load_state_dict(weights)


def state_of(net: torch.nn.Module) -> dict[str, np.ndarray]:
    """A net's weights as NumPy arrays, for a checkpoint."""
    return {
        name: tensor.detach().cpu().contiguous().numpy() for name, tensor in net.state_dict().items()
    }
