"""Optimizers, schedules and averages do what their names say."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from mnistctl.nn import optimizers
from mnistctl.settings.train_settings import OPTIMIZERS, SCHEDULES, TrainSettings

STEPS, STEPS_PER_EPOCH = 40, 10
CPU = torch.device("cpu")


def rates(**settings: Any) -> list[float]:
    """The learning rate of every step."""
    config = TrainSettings().replace(optimizer="sgd", **settings).replace(learning_rate=1.0)
    net = nn.Linear(1, 1)
    optimizer = optimizers.build(net.parameters(), config, device=CPU)
    schedule = optimizers.schedule(optimizer, config, steps=STEPS, steps_per_epoch=STEPS_PER_EPOCH)
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_downhill(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    optimizer = optimizers.build(net.parameters(), TrainSettings().replace(optimizer=name), device=CPU)
    inputs = torch.randn(64, 4)
    losses = []

    for _ in range(50):
        loss = (net(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    assert losses[-1] < losses[0]


def test_the_settings_reach_the_optimizer() -> None:
    config = TrainSettings().replace(
        optimizer="sgd", learning_rate=0.3, momentum=0.7, nesterov=True, weight_decay=0.1
    )

    (group,) = optimizers.build(nn.Linear(1, 1).parameters(), config, device=CPU).param_groups

    assert (group["lr"], group["momentum"], group["nesterov"]) == (0.3, 0.7, True)
    assert group["weight_decay"] == 0.1


def test_a_constant_rate_stays() -> None:
    assert rates(schedule="constant") == [1.0] * STEPS


def test_steps_fall_after_their_epochs() -> None:
    found = rates(schedule="step", step_epochs=2, gamma=0.5)

    assert found == [1.0] * 20 + [0.5] * 20


def test_a_cosine_falls_to_nothing() -> None:
    found = rates(schedule="cosine")

    expected = [(1 + math.cos(math.pi * step / STEPS)) / 2 for step in range(STEPS)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_one_cycle_rises_and_falls() -> None:
    found = rates(schedule="one-cycle")

    assert max(found) == found[10] == pytest.approx(1, abs=0.01)
    assert found[:11] == sorted(found[:11])
    assert found[10:] == sorted(found[10:], reverse=True)
    assert found[-1] < 0.01


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_a_warm_up_rises_evenly_to_the_rate(schedule: str) -> None:
    found = rates(schedule=schedule, warmup=0.25)

    steps = [later - earlier for earlier, later in pairwise(found[:11])]
    assert steps == pytest.approx([1 / 11] * 10)
    assert found[10] == pytest.approx(1)
    assert max(found) == pytest.approx(1)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("warmup", [0.0, 0.9])
def test_a_very_short_run_has_a_schedule_too(schedule: str, steps: int, warmup: float) -> None:
    config = TrainSettings().replace(schedule=schedule, warmup=warmup)
    optimizer = optimizers.build(nn.Linear(1, 1).parameters(), config, device=CPU)
    found = optimizers.schedule(optimizer, config, steps=steps, steps_per_epoch=1)

    for _ in range(steps):
        assert 0 < optimizer.param_groups[0]["lr"] <= config.learning_rate
        optimizer.step()
        found.step()


def test_an_average_is_the_weights_it_has_seen_with_their_weight() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = optimizers.average(net, 0.5)
    for value in (1.0, 2.0, 4.0):
        with torch.no_grad():
            net.state_dict()["0.weight"].fill_(value)
            net.state_dict()["1.running_mean"].fill_(value)
        average.update_parameters(net)

    expected = (1.0 / 4 + 2.0 / 2 + 4.0) / (1 / 4 + 1 / 2 + 1)
    for name in ("0.weight", "1.running_mean"):
        assert average.module.state_dict()[name].item() == pytest.approx(expected)


def test_an_average_leaves_whole_numbers_whole() -> None:
    net = nn.Linear(1, 1)
    net.register_buffer("index", torch.arange(1000))
    average = optimizers.average(net, 0.9)

    for _ in range(5):
        average.update_parameters(net)

    assert torch.equal(average.module.state_dict()["index"], torch.arange(1000))


@pytest.mark.parametrize(("limit", "expected"), [(1.0, 1.0), (0.0, 5.0), (100.0, 5.0)])
def test_gradients_are_scaled_to_a_norm(limit: float, expected: float) -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])

    optimizers.clip([parameter], limit)

    assert parameter.grad.norm().item() == pytest.approx(expected, rel=1e-4)
