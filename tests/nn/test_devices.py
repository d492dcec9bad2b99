"""CUDA graphs: a run continues without its graph if the graph fails, with the same result."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch

from mnistctl.datasets import Split
from mnistctl.nn import cuda_graphs
from mnistctl.nn.trainer import Trainer
from mnistctl.settings import recipes
from tests.nn.test_nn import build_net, splits  # noqa: F401 - a fixture

Splits = tuple[Split, Split]


class FakeCuda:
    """What a graph uses of `torch.cuda`, on the CPU. Recording runs the step, as CUDA does not.

    Args:
        fail_at: "record" or "replay" raises an error after the step has changed its tensors.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: str) -> None:
        self.fail_at, self.replays, self.calls = fail_at, 0, 0
        for name in ("Stream", "current_stream", "set_stream", "synchronize"):
            monkeypatch.setattr(torch.cuda, name, lambda *arguments: self)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "graph", self.graph)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)

    def wait_stream(self, stream: object) -> None:
        """Streams of the CPU wait for each other."""

    @contextlib.contextmanager
    def graph(self, graph: object, stream: object) -> Iterator[None]:
        yield
        if self.fail_at == "record":
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    def replay(self) -> None:
        self.replays += 1
        torch.rand(3)  # a replay draws random numbers
        if self.fail_at == "replay":
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("fail_at", ["record", "replay"])
def test_training_continues_after_a_graph_failed_as_if_it_had_never_been_tried(
    fail_at: str,
    splits: Splits,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = recipes.find_recipe("cnn").replace(epochs=1, min_steps=0, ema=0.9, subset=1000)
    device = torch.device("cpu")
    whole, graphed = build_net(settings), build_net(settings)
    expected = Trainer(whole, settings, *splits, device=device)
    for _ in expected.run():
        pass
    fake = FakeCuda(monkeypatch, fail_at)
    build_step: Callable[..., cuda_graphs.Step] = Trainer._build_step
    monkeypatch.setattr(
        Trainer,
        "_build_step",
        lambda self, *, is_graphed: build_step(self, is_graphed=True),
    )

    trainer = Trainer(graphed, settings, *splits, device=device)
    for _ in trainer.run():
        pass

    assert not trainer.is_graphed
    assert fake.replays == (fail_at == "replay")  # tried once
    state, expected_state = trainer.state().tensors, expected.state().tensors
    assert state.keys() == expected_state.keys()
    for name, array in state.items():
        assert (array == expected_state[name]).all(), name
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert "cannot be trained as a CUDA graph" in warning.message


def test_a_recorded_step_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda(monkeypatch, fail_at="")
    calls: list[int] = []

    step = cuda_graphs.GraphedStep(lambda rows: calls.append(int(rows[0])), torch.device("cpu"), dict)
    for number in range(10):
        step(torch.tensor([number]))

    assert step.is_recorded
    assert calls == [0, 1, 2, 3]  # the last one was recorded
    assert fake.replays == 7
