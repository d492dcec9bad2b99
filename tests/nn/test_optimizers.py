"""Optimizers, learning-rate schedules, the weight average and gradient clipping."""

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


def learning_rates(**settings: Any) -> list[float]:
    """The learning rate of every step."""
    run_settings = TrainSettings().replace(optimizer="sgd", **settings).replace(learning_rate=1.0)
    optimizer = optimizers.build(nn.Linear(1, 1).parameters(), run_settings, device=CPU)
    schedule = optimizers.schedule(
        optimizer, run_settings, steps=STEPS, steps_per_epoch=STEPS_PER_EPOCH
    )
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name: str) -> None:
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
    settings = TrainSettings().replace(
        optimizer="sgd", learning_rate=0.3, momentum=0.7, nesterov=True, weight_decay=0.1
    )

    (group,) = optimizers.build(nn.Linear(1, 1).parameters(), settings, device=CPU).param_groups

    assert (group["lr"], group["momentum"], group["nesterov"]) == (0.3, 0.7, True)
    assert group["weight_decay"] == 0.1


def test_the_constant_schedule_keeps_the_rate() -> None:
    assert learning_rates(schedule="constant") == [1.0] * STEPS


def test_the_step_schedule_decays_after_its_epochs() -> None:
    rates = learning_rates(schedule="step", step_epochs=2, gamma=0.5)

    assert rates == [1.0] * 20 + [0.5] * 20


def test_the_cosine_schedule_falls_to_zero() -> None:
    rates = learning_rates(schedule="cosine")

    expected = [(1 + math.cos(math.pi * step / STEPS)) / 2 for step in range(STEPS)]
    assert rates == pytest.approx(expected, abs=1e-6)


def test_the_one_cycle_schedule_rises_and_falls() -> None:
    rates = learning_rates(schedule="one-cycle")

    assert max(rates) == rates[10] == pytest.approx(1, abs=0.01)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_a_warm_up_is_linear(schedule: str) -> None:
    rates = learning_rates(schedule=schedule, warmup=0.25)

    increases = [later - earlier for earlier, later in pairwise(rates[:11])]
    assert increases == pytest.approx([1 / 11] * 10)
    assert rates[10] == pytest.approx(1)
    assert max(rates) == pytest.approx(1)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("warmup", [0.0, 0.9])
def test_every_schedule_works_for_a_very_short_run(schedule: str, steps: int, warmup: float) -> None:
    settings = TrainSettings().replace(schedule=schedule, warmup=warmup)
    optimizer = optimizers.build(nn.Linear(1, 1).parameters(), settings, device=CPU)
    rate_schedule = optimizers.schedule(optimizer, settings, steps=steps, steps_per_epoch=1)

    for _ in range(steps):
        assert 0 < optimizer.param_groups[0]["lr"] <= settings.learning_rate
        optimizer.step()
        rate_schedule.step()


def test_the_average_weighs_later_steps_more_and_leaves_the_initial_weights_out() -> None:
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


def test_the_average_copies_integer_buffers() -> None:
    net = nn.Linear(1, 1)
    net.register_buffer("index", torch.arange(1000))
    average = optimizers.average(net, 0.9)

    for _ in range(5):
        average.update_parameters(net)

    assert torch.equal(average.module.state_dict()["index"], torch.arange(1000))


@pytest.mark.parametrize(("limit", "expected"), [(1.0, 1.0), (0.0, 5.0), (100.0, 5.0)])
def test_gradients_are_clipped_to_a_norm(limit: float, expected: float) -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])

    optimizers.clip([parameter], limit)

    assert parameter.grad.norm().item() == pytest.approx(expected, rel=1e-4)
