"""A training step as a CUDA graph: recorded once, then replayed without Python."""

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor], None]

_EAGER_STEPS = 3  # before recording, so that all lazily created state exists


class GraphedStep:
    """A step that is recorded after a few calls, and replayed from then on.

    A step that cannot be recorded, for example because the net copies a value to the CPU, runs eagerly.

    Args:
        step: takes the image indices of a batch, int64 (batch_size,) on the device, always of the same
            length. Everything else it reads and changes keeps its memory. It draws random numbers from
            the device's global generator only; the caller may seed that before each call.
        device: a CUDA device.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step = step
        self._stream = torch.cuda.Stream(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rows = torch.empty(0)
        self._calls = 0

    def __call__(self, rows: Tensor) -> None:
        """Run the step."""
        self._calls += 1
        if self._calls == _EAGER_STEPS + 1:
            self._record(rows)
        if self._graph is not None:
            self._rows.copy_(rows)
            self._graph.replay()
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._step(rows)
        torch.cuda.current_stream().wait_stream(self._stream)

    def _record(self, rows: Tensor) -> None:
        self._rows = rows.clone()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._step(self._rows)
        except RuntimeError:  # CUDA cannot record this step
            torch.cuda.synchronize()
            return
        self._graph = graph
