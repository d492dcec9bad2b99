"""The PagePredictor protocol with PyTorch as the runtime."""

import torch

from mnistctl.errors import ModelError, UsageError
from mnistctl.models.checkpoint import Checkpoint
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import PageOutputs
from mnistctl.nn import nets, torch_predictor
from mnistctl.nn.detector import PageDetector
from mnistctl.settings import architectures
from mnistctl.types import Images


class TorchPagePredictor:
    """A detector of digits that runs in PyTorch, in float32.

    Args:
        detector: is moved to the device and put into evaluation mode.
        metadata: of the model.
        device: where to compute.
    """

    def __init__(self, detector: PageDetector, metadata: Metadata, *, device: torch.device) -> None:
        self.detector = detector.to(device).eval()
        self.metadata = metadata
        self.device = device

    @property
    def threads(self) -> int:
        """See `predictor.PagePredictor`."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def __call__(self, pages: Images) -> PageOutputs:
        """See `predictor.PagePredictor`."""
        outputs = self.detector(torch.tensor(pages, device=self.device))
        return PageOutputs(*(output.cpu().numpy() for output in outputs))


def from_checkpoint(checkpoint: Checkpoint, *, device: torch.device) -> TorchPagePredictor:
    """Build the detector that a checkpoint names, with its weights.

    Raises:
        ModelError: the architecture is unknown, or does not match the tensors in the file.
    """
    metadata = checkpoint.metadata
    try:
        arguments = architectures.resolve(metadata.arch, metadata.arch_args)
    except UsageError as error:
        raise ModelError(f"{checkpoint.path}: '{metadata.arch}' cannot be built ({error})") from error
    classes = len(metadata.class_names)
    net = nets.build_shapes(metadata.arch, arch_args=arguments, classes=classes)
    detector = PageDetector(net, classes=classes)
    torch_predictor.load_weights(detector, checkpoint)
    detector = detector.to(memory_format=torch.channels_last)
    return TorchPagePredictor(detector, metadata, device=device)
