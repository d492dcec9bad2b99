"""The Predictor protocol with PyTorch as the runtime."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from mnistctl.errors import ModelError, UsageError, one_line
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.models.hashed_safetensors import Tensors, select_by_prefix
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import Outputs
from mnistctl.nn import nets
from mnistctl.nn.classifier import Classifier, Ensemble, familiarity_head
from mnistctl.settings import architectures
from mnistctl.settings.architectures import Architecture
from mnistctl.types import IMAGE_SIZE, Floats, Images

_SMOOTHING = 16  # noisy copies of an image over which its saliency is averaged
_SALIENCY_NOISE = 0.1  # standard deviation of their noise, with pixels in [0, 1]


class TorchPredictor:
    """A classifier that runs in PyTorch, in float32.

    Args:
        classifier: is moved to the device and put into evaluation mode.
        metadata: of the model.
        device: where to compute.
    """

    def __init__(
        self, classifier: Classifier | Ensemble, metadata: Metadata, *, device: torch.device
    ) -> None:
        self.classifier = classifier.to(device).eval()
        self.metadata = metadata
        self.device = device

    @property
    def threads(self) -> int:
        """See `predictor.Predictor`."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        outputs = self.classifier(torch.tensor(images, device=self.device))
        return Outputs(*(output.cpu().numpy() for output in outputs))

    def saliency(self, images: Images) -> Floats:
        """How much the predicted class's logit changes with each pixel.

        Args:
            images: uint8 (N, 28, 28), N at least 1.

        Returns:
            float32 (N, 28, 28) in [0, 1]; the maximum of each image is 1 (0 if no pixel matters).

        Source: Smilkov et al. 2017, "SmoothGrad".
        """
        pixels = nets.scale_pixels(torch.tensor(images, device=self.device))
        generator = torch.Generator(self.device).manual_seed(0)
        with torch.no_grad():
            predicted = self.classifier.from_pixels(pixels)[0].argmax(dim=1)
        total = torch.zeros_like(pixels)
        for _ in range(_SMOOTHING):
            noise = torch.randn(pixels.shape, generator=generator, device=self.device)
            noisy = (pixels + _SALIENCY_NOISE * noise).requires_grad_()
            logits = self.classifier.from_pixels(noisy)[0]
            logits.gather(1, predicted[:, None]).sum().backward()
            assert noisy.grad is not None  # noqa: S101 - for the type checker
            total += noisy.grad.square()
        magnitude = total.sqrt().squeeze(1)  # (N, 28, 28)
        maximum = magnitude.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        normalised: Floats = magnitude.div(maximum).cpu().numpy()
        return normalised


def from_checkpoint(
    checkpoint: Checkpoint, *, device: torch.device, arch: str | None = None
) -> TorchPredictor:
    """Build the net or the ensemble that a checkpoint names, with its weights.

    Args:
        checkpoint: a verified checkpoint.
        device: where to compute.
        arch: FILE.py:CLASS, required for a custom architecture, because opening a file must not run
            code that only the file names.

    Raises:
        ModelError: an architecture is unknown, or does not match the tensors in the file.
        UsageError: `arch` is not the model's architecture.
    """
    try:
        classifier = _build_shapes(checkpoint, checkpoint.metadata, checkpoint.tensors, arch)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ModelError(f"{checkpoint.path}: the model cannot be built ({one_line(error)})") from error
    load_weights(classifier, checkpoint)
    classifier = classifier.to(memory_format=torch.channels_last)
    predictor = TorchPredictor(classifier, checkpoint.metadata, device=device)
    try:
        predictor(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8))
    except (RuntimeError, KeyError) as error:  # layers that do not fit the familiarity's weights
        raise ModelError(f"{checkpoint.path}: the model cannot run ({one_line(error)})") from error
    return predictor


def load_weights(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Replace all weights of a module, which may be on the meta device.

    Raises:
        ModelError: the tensors in the file are not those of the module.
    """
    # The state dict has the layers' versions, which some nets need; the checkpoint does not.
    weights = module.state_dict()
    expected = {
        name: (str(tensor.dtype).removeprefix("torch."), *tensor.shape)
        for name, tensor in weights.items()
    }
    stored = {name: (array.dtype.name, *array.shape) for name, array in checkpoint.tensors.items()}
    if expected != stored:
        name = min(set(expected.items()) ^ set(stored.items()))[0]
        raise ModelError(
            f"{checkpoint.path}: its weights do not match '{checkpoint.metadata.arch}': {name} is "
            f"{stored.get(name, 'missing')}, expected {expected.get(name, 'no such tensor')}"
        )
    weights.update((name, torch.from_numpy(array)) for name, array in checkpoint.tensors.items())
    module.load_state_dict(weights, assign=True)


def _build_shapes(
    checkpoint: Checkpoint, metadata: Metadata, tensors: Tensors, arch: str | None
) -> Classifier | Ensemble:
    """A classifier or an ensemble without weights.

    Args:
        checkpoint: for the check of `arch` and for error messages.
        metadata: of the model, or of a member of the ensemble.
        tensors: of the model or the member.
        arch: see `from_checkpoint`.
    """
    if metadata.members:
        members = []
        for number, values in enumerate(metadata.members):
            member = Metadata.from_json(values)
            member_arch = arch if Architecture.parse(member.arch).is_custom else None
            member_tensors = select_by_prefix(tensors, f"members.{number}.")
            members.append(_build_shapes(checkpoint, member, member_tensors, member_arch))
        return Ensemble(members)
    name = checkpoint.named_architecture(metadata.arch, arch)
    try:
        arguments = architectures.resolve(name, metadata.arch_args)
        net = nets.build_shapes(name, arch_args=arguments, classes=len(metadata.class_names))
    except UsageError as error:
        raise ModelError(f"{checkpoint.path}: '{name}' cannot be built ({error})") from error
    first_weight = tensors.get("familiarity.0.weight")
    familiarity = None
    if first_weight is not None and first_weight.ndim == 2:
        hidden, features = first_weight.shape
        familiarity = familiarity_head(features, hidden=hidden).to("meta")
    return Classifier(
        net,
        temperature=metadata.temperature,
        familiarity=familiarity,
        familiarity_layers=metadata.familiarity_layers,
    )


def load_initial_weights(net: nn.Module, checkpoint: Checkpoint, class_names: Sequence[str]) -> None:
    """Copy a checkpoint's weights into a fresh net; if the classes differ, the head stays fresh.

    Args:
        net: of the architecture and the arguments of the checkpoint.
        checkpoint: a verified checkpoint.
        class_names: the classes that the net is to be trained on.

    Raises:
        UsageError: the net's tensors differ from the checkpoint's, or the classes differ and the net
            has no output layer that could start fresh.
    """
    weights = {
        name: torch.from_numpy(array)
        for name, array in select_by_prefix(checkpoint.tensors, "net.").items()
    }
    fresh = net.state_dict()
    if list(class_names) != checkpoint.metadata.class_names:
        head = nets.find_head(net, classes=len(class_names))
        if head is None:
            raise UsageError(
                f"--init {checkpoint.path}: its classes differ, and the net has no output layer that "
                "could start fresh"
            )
        weights |= {name: fresh[name] for name in fresh if name.startswith(f"{head}.")}
    if different := [
        name for name in fresh if name not in weights or weights[name].shape != fresh[name].shape
    ]:
        raise UsageError(
            f"--init {checkpoint.path}: its net is not the one to train: {different[0]} differs"
        )
    net.load_state_dict(weights)


def to_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """A module's weights and buffers as NumPy arrays, as a checkpoint stores them."""
    return {
        name: tensor.detach().cpu().contiguous().numpy() for name, tensor in module.state_dict().items()
    }
