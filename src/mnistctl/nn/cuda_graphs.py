"""A training step as a CUDA graph: recorded once, then replayed without Python in between."""

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor], None]

_EAGER_STEPS = 3  # run as they are, so that everything that is made once has been made


class GraphedStep:
    """A step that records itself after a few calls and is replayed from then on.

    Where it cannot be recorded (a net that asks the device for a value, say) it goes on as it is.

    Args:
        step: takes the rows of a batch, int64 (batch_size,) on the device; always of one size; all
            else that it reads and changes keeps its place in memory. It draws random numbers from
            the device's global generator only, whose seed the caller may set before each call.
        device: a CUDA device.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step = step
        self._stream = torch.cuda.Stream(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rows = torch.empty(0)
        self._calls = 0

    def __call__(self, rows: Tensor) -> None:
        """Do the step on these rows."""
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
        except RuntimeError:  # what CUDA refuses to record
            torch.cuda.synchronize()
            return
        self._graph = graph
