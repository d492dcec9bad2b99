"""PyTorch behind the Predictor protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mnistctl.errors import ModelError, UsageError
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import Outputs
from mnistctl.nn import classifier, nets
from mnistctl.settings import architectures
from mnistctl.types import Floats, Images

_SMOOTHING = 16  # noisy copies of an image that its saliency is the mean of


class TorchPredictor:
    """A reader, reading in float32 on the CPU or on another device."""

    def __init__(
        self,
        reader: classifier.Classifier | classifier.Ensemble,
        metadata: Metadata,
        *,
        device: torch.device,
    ) -> None:
        self.reader = reader.to(device).eval()
        self.metadata = metadata
        self.device = device

    @property
    def threads(self) -> int:
        """See `predictor.Predictor`."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        outputs = self.reader(torch.tensor(images, device=self.device))
        return Outputs(*(output.cpu().numpy() for output in outputs))

    def saliency(self, images: Images) -> Floats:
        """How much each pixel matters for the answer: how far its logit moves with it.

        Args:
            images: uint8 (N, 28, 28), N of 1 or more.

        Returns:
            float32 (N, 28, 28), 0 or more, each image's largest 1 (0 where nothing matters).

        Source: Smilkov et al. 2017, "SmoothGrad".
        """
        pixels = nets.scale_pixels(torch.tensor(images, device=self.device))
        total = torch.zeros_like(pixels)
        noise = torch.Generator(self.device).manual_seed(0)
        with torch.no_grad():
            answer = self.reader(torch.tensor(images, device=self.device))[0].argmax(dim=1)
        for _ in range(_SMOOTHING):
            drawn = torch.randn(pixels.shape, generator=noise, device=self.device)
            noisy = (pixels + 0.1 * drawn).requires_grad_()
            logits = self.reader.of_pixels(noisy)[0]
            logits.gather(1, answer[:, None]).sum().backward()
            assert noisy.grad is not None  # noqa: S101 - for the type checker
            total += noisy.grad.square()
        found = total.sqrt().squeeze(1)
        largest = found.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        normed: Floats = found.div(largest).cpu().numpy()
        return normed


def from_checkpoint(
    checkpoint: Checkpoint, *, device: torch.device, arch: str | None = None
) -> TorchPredictor:
    """Put a checkpoint's weights into the net it names, or into all of an ensemble's.

    Args:
        checkpoint: a verified one.
        device: where it is to read.
        arch: FILE.py:CLASS, for the net of a person's own class: opening a file runs no code that
            only the file names.

    Raises:
        ModelError: a net is unknown, or its tensors are not the ones in the file.
        UsageError: `arch` is not the net's.
    """
    try:
        reader = _shapes(checkpoint, checkpoint.metadata, checkpoint.tensors, arch)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ModelError(f"{checkpoint.path}: cannot be built as it says ({error})") from error
    expected = {
        name: (str(tensor.dtype).removeprefix("torch."), *tensor.shape)
        for name, tensor in reader.state_dict().items()
    }
    found = {name: (tensor.dtype.name, *tensor.shape) for name, tensor in checkpoint.tensors.items()}
    if expected != found:
        name = min(set(expected.items()) ^ set(found.items()))[0]
        raise ModelError(
            f"{checkpoint.path}: not the weights of '{checkpoint.metadata.arch}': {name} is "
            f"{found.get(name, 'missing')}, expected {expected.get(name, 'nothing of that name')}"
        )
    weights = reader.state_dict()  # with the layers' versions, which some nets ask for
    weights.update((name, torch.from_numpy(array)) for name, array in checkpoint.tensors.items())
    reader.load_state_dict(weights, assign=True)
    reader = reader.to(memory_format=torch.channels_last)
    return TorchPredictor(reader, checkpoint.metadata, device=device)


def _shapes(
    checkpoint: Checkpoint, about: Metadata, tensors: Mapping[str, npt.NDArray[Any]], arch: str | None
) -> classifier.Classifier | classifier.Ensemble:
    """A reader, or an ensemble of them, without weights."""
    if about.members:
        parts = [Metadata.from_json(member) for member in about.members]
        return classifier.Ensemble(
            [
                _shapes(
                    checkpoint,
                    part,
                    _under(tensors, f"members.{number}."),
                    arch if architectures.custom_source(part.arch) else None,
                )
                for number, part in enumerate(parts)
            ]
        )
    named = checkpoint.named_architecture(about.arch, arch)
    try:
        arguments = architectures.resolve(named, about.arch_args)
        net = nets.build_shapes(named, arch_args=arguments, classes=len(about.class_names))
    except UsageError as error:
        raise ModelError(
            f"{checkpoint.path}: '{named}' cannot be built as it says ({error})"
        ) from error
    familiarity_tensors = _under(tensors, "familiarity.")
    familiarity = None
    if "0.weight" in familiarity_tensors and familiarity_tensors["0.weight"].ndim == 2:
        hidden, features = familiarity_tensors["0.weight"].shape
        familiarity = classifier.familiarity_head(features, hidden=hidden).to("meta")
    return classifier.Classifier(
        net,
        temperature=about.temperature,
        familiarity=familiarity,
        familiarity_layers=about.familiarity_layers,
    )


def _under(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors whose names begin so, without that beginning."""
    return {
        name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)
    }


def start_from(
    net: torch.nn.Module, checkpoint: Checkpoint, class_names: Sequence[str], *, arch: str
) -> None:
    """Give a fresh net a checkpoint's weights; where the classes differ the head stays fresh.

    Raises:
        ModelError: the checkpoint cannot be opened as the net it names.
        UsageError: the net is not of the checkpoint's shape, or it has no layer to start afresh.
    """
    reader = from_checkpoint(checkpoint, device=torch.device("cpu"), arch=arch).reader
    weights = reader.get_submodule("net").state_dict()
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


def state_of(net: nn.Module) -> dict[str, np.ndarray]:
    """A reader's weights as NumPy arrays, for a checkpoint."""
    return {
        name: tensor.detach().cpu().contiguous().numpy() for name, tensor in net.state_dict().items()
    }
