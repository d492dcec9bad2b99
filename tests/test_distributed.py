"""Several processes train one net: with the result of one process, and they end together."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import mnistctl

# In float32, so that results of one and of several processes can be compared.
COMMON = ["--dataset", "digits", "--precision", "float32", "--device", "cpu", "--no-plots"]
TOLERANCE = 2e-4  # for weights of about 0.1, after ten steps with sums in another order


def start(
    *arguments: str, processes: int = 2, program: Sequence[str] = ("-m", "mnistctl", "train")
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), *program, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def torchrun(*arguments: str, processes: int = 2) -> tuple[str, str]:
    with start(*arguments, processes=processes) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


# Each process computes with its shard of a batch, and compares that with the whole batch.
SHARDS = """
import copy
import torch
from torch import nn
from mnistctl.nn import distributed

group = distributed.join_process_group()
torch.manual_seed(group.rank)
layer = nn.Linear(3, 3)
group.prepare(layer)
total = layer.weight.detach().clone()
group.all_reduce([total])
assert torch.equal(total, 2 * layer.weight), "the processes have different weights"

torch.manual_seed(0)
images = 5 + torch.randn(7, 3, 4, 4)
for plain, batch in (
    (nn.BatchNorm2d(3), images),
    (nn.BatchNorm2d(3, momentum=None), images),
    (nn.BatchNorm1d(3, affine=False), images[:, :, 0, 0]),
):
    net = nn.Sequential(copy.deepcopy(plain))
    group.prepare(net)
    assert list(net.state_dict()) == [f"0.{name}" for name in plain.state_dict()]
    rows = group.shard(len(batch))
    whole, shard = (values.clone().requires_grad_() for values in (batch, batch[rows]))
    for _ in range(2):
        plain(whole).pow(3).sum().backward()
        net(shard).pow(3).sum().backward()
    gradients = [weight.grad for weight in net.parameters()]
    if gradients:
        group.all_reduce(gradients)
    expected = [whole.grad[rows], *(weight.grad for weight in plain.parameters())]
    for gradient, right in zip([shard.grad, *gradients], expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-3, atol=1e-3)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(net[0].state_dict()[name], value)
    torch.testing.assert_close(net.eval()(batch), plain.eval()(batch))

shared = nn.Sequential(layer := nn.BatchNorm1d(3), layer)
group.prepare(shared)
assert shared[0] is shared[1], "a layer used twice has become two layers"

assert group.broadcast(f"from {group.rank}") == "from 0"
assert group.any(group.rank == 1) and not group.any(False)
print("all checks passed")
"""


def test_processes_with_a_shard_each_compute_what_one_computes_with_the_whole_batch(
    tmp_path: Path,
) -> None:
    script = tmp_path / "shards.py"
    script.write_text(SHARDS)
    with start(program=(str(script),)) as process:
        out, err = process.communicate(timeout=60)

    assert out.count("all checks passed") == 2, err


def messages_of_mnistctl(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("mnistctl: ")]


def state_of(name: str) -> dict[str, np.ndarray]:
    tensors = load_file(Path("runs", name, "last.safetensors"))
    return {name: array for name, array in tensors.items() if not name.startswith("metrics.")}


def wait_for_epochs(name: str, epochs: int) -> None:
    metrics = Path("runs", name, "metrics.jsonl")
    deadline = time.monotonic() + 90
    while not metrics.exists() or metrics.read_text().count("\n") < epochs:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers() -> dict[int, int]:
    """Rank -> process ID of the processes that train in this folder now."""
    process_ids = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            is_here = os.readlink(folder / "cwd") == str(Path.cwd())
        except OSError:
            continue
        ranks = [int(item.removeprefix(b"RANK=")) for item in environment if item.startswith(b"RANK=")]
        if is_here and ranks:
            process_ids[ranks[0]] = int(folder.name)
    return process_ids


@pytest.mark.parametrize(
    ("processes", "options"),
    [
        (2, ["--arch", "mlp", "--subset", "1000", "--epochs", "2"]),
        pytest.param(
            3,  # shards of 33, 33 and 34 images
            [
                *("--arch", "cnn", "--batch-norm", "--conv-dropout", "0", "--batch-size", "100"),
                *("--rotate", "10", "--elastic", "1", "--noise", "0.1", "--erase", "0.5"),
                *("--thickness", "0.5", "--clip-norm", "1", "--ema", "0.9"),
                *("--subset", "350", "--epochs", "1"),
            ],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["mlp", "everything"],
)
def test_several_processes_give_the_result_of_one(processes: int, options: list[str]) -> None:
    common = [*COMMON, *options, "--dropout", "0", "--optimizer", "sgd", "--json"]
    out, err = torchrun(*common, "--name", "several", processes=processes)
    command = [sys.executable, "-m", "mnistctl", "train", *common, "--name", "alone"]
    alone = subprocess.run(command, capture_output=True, text=True, check=True)

    several, one = (
        json.loads(out),
        json.loads(alone.stdout),
    )  # without dropout: each draws its own masks
    assert (several["processes"], one["processes"]) == (processes, 1)
    assert len(err.splitlines()) == len(alone.stderr.splitlines())  # only one process shows progress
    for metric in ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy"):
        assert several[metric] == pytest.approx(one[metric], abs=TOLERANCE)
    expected = state_of("alone")
    for name, tensor in state_of("several").items():
        if name.startswith(("net.", "average.")):
            np.testing.assert_allclose(tensor, expected[name], atol=TOLERANCE, err_msg=name)


@pytest.mark.slow
def test_a_killed_process_ends_all_with_one_message_and_one_process_can_resume(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = [*COMMON, "--arch", "cnn", "--name", "interrupted", "--epochs", "200"]
    with start(*options) as process:
        wait_for_epochs("interrupted", 2)
        os.kill(workers()[1], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    (message,) = messages_of_mnistctl(err)
    assert "another process of this run has ended" in message
    assert message.endswith("resume with: mnistctl train --resume interrupted")

    epochs = len(Path("runs/interrupted/metrics.jsonl").read_text().splitlines())
    result = mnistctl.train(resume="interrupted", epochs=epochs + 2, plots=False)
    assert (result.epochs, result.processes) == (epochs + 2, 1)
    assert result.validation_accuracy is not None
    assert result.validation_accuracy > 0.8
    assert ["number of processes" in warning for warning in caplog.messages] == [True]


@pytest.mark.slow
def test_a_run_of_two_processes_resumes_to_the_same_weights() -> None:
    options = [*COMMON, "--arch", "cnn", "--dropout", "0.1", "--epochs", "40"]
    torchrun(*options, "--name", "whole")
    with start(*options, "--name", "interrupted", "--save-every", "3steps") as process:
        wait_for_epochs("interrupted", 5)
        os.kill(workers()[0], signal.SIGKILL)
        process.communicate(timeout=60)
    torchrun("--resume", "interrupted", "--no-plots")

    expected = state_of("whole")
    for name, tensor in state_of("interrupted").items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False], ids=["SIGINT to all", "SIGTERM to one"])
def test_a_signal_ends_all_after_the_same_step_and_two_processes_can_resume(
    to_all: bool,
) -> None:
    with start(*COMMON, "--arch", "cnn", "--name", "interrupted", "--epochs", "500") as process:
        wait_for_epochs("interrupted", 2)
        if to_all:
            process.send_signal(signal.SIGINT)
        else:
            os.kill(workers()[1], signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    (message,) = messages_of_mnistctl(err)
    assert "interrupted in epoch" in message

    epochs = len(Path("runs/interrupted/metrics.jsonl").read_text().splitlines())
    out, err = torchrun("--resume", "interrupted", "--no-plots", "--json", "--epochs", str(epochs + 2))
    assert json.loads(out)["epochs"] == epochs + 2
    assert "bit for bit" not in err
    out, _ = torchrun("--resume", "interrupted", "--json")  # finished now
    assert json.loads(out)["epochs"] == epochs + 2


def test_an_error_is_shown_once() -> None:
    with start("--arch", "lenet6") as process:
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert messages_of_mnistctl(err) == [
        "mnistctl: unknown architecture 'lenet6'; did you mean 'lenet5'?",
    ]
