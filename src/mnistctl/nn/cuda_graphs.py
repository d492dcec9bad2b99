"""A training step as a CUDA graph: recorded once, then replayed without Python."""

import logging
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mnistctl.errors import one_line
from mnistctl.nn import devices

Step = Callable[[Tensor], None]

_log = logging.getLogger(__name__)

_EAGER_STEPS = 3  # before recording, so that all lazily created state exists


class GraphedStep:
    """A step that is recorded after a few calls, and replayed from then on.

    If it cannot be recorded or replayed, for example because the net copies a value to the CPU, it runs
    eagerly after one warning, with the same result.

    Args:
        step: takes the image indices of a batch, int64 (batch_size,) on the device, always of the same
            length. Everything else it reads and changes keeps its memory. It draws random numbers from
            the device's global generator only, which the caller seeds before each call.
        device: a CUDA device.
        tensors: gives all tensors that the step changes, by name.
    """

    def __init__(
        self, step: Step, device: torch.device, tensors: Callable[[], Mapping[str, Tensor]]
    ) -> None:
        self._step, self._device, self._tensors = step, device, tensors
        self._stream = torch.cuda.Stream(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rows = torch.empty(0)
        self._calls = 0

    @property
    def is_recorded(self) -> bool:
        """Whether the step is replayed from now on."""
        return self._graph is not None

    def __call__(self, rows: Tensor) -> None:
        """Run the step."""
        self._calls += 1
        if self._graph is not None:
            self._rows.copy_(rows)
            self._graph.replay()
        elif self._calls != _EAGER_STEPS + 1 or not self._record_and_replay(rows):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._step(rows)
            torch.cuda.current_stream().wait_stream(self._stream)

    def _record_and_replay(self, rows: Tensor) -> bool:
        """Record the step and run it as a graph; if that fails, everything is as it was before."""
        tensors = list(self._tensors().values())
        current_stream = torch.cuda.current_stream()
        with devices.fork_rng(self._device):
            copies: list[Tensor] = []
            try:
                copies += [tensor.clone() for tensor in tensors]
                self._rows = rows.clone()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=self._stream):
                    self._step(self._rows)
                graph.replay()
                torch.cuda.synchronize(self._device)  # errors of the replay appear here
            except Exception as error:  # what a driver, or a net, does here cannot be foreseen
                torch.cuda.set_stream(current_stream)  # a failed recording does not restore it
                torch.cuda.synchronize(self._device)
                with torch.no_grad():
                    for tensor, copy in zip(tensors, copies, strict=False):  # none: nothing has changed
                        tensor.copy_(copy)
                _log.warning(
                    f"{self._device}: this net cannot be trained as a CUDA graph ({one_line(error)}); "
                    "training continues without the graph, more slowly"
                )
                return False
        self._graph = graph
        return True
