"""Several processes that train one net: the same work as one, and one end for all."""

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

# No dropout, whose masks are each process's own; float32, to compare to rounding.
COMMON = ["--dataset", "digits", "--precision", "float32", "--device", "cpu", "--no-plots"]
ROUNDING = 2e-4  # of weights of about 0.1, after ten steps of sums in another order


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


# Each process has a part of a batch; rank 0 has the whole batch besides, and what is right for it.
PARTS = """
import copy
import torch
from torch import nn
from mnistctl.nn import distributed

group = distributed.join()
torch.manual_seed(group.rank)
layer = nn.Linear(3, 3)
group.prepare(layer)
both = layer.weight.detach().clone()
group.add_up([both])
assert torch.equal(both, 2 * layer.weight), "not the same weights in both"

torch.manual_seed(0)
whole = 5 + torch.randn(7, 3, 4, 4)
for plain, values in (
    (nn.BatchNorm2d(3), whole),
    (nn.BatchNorm2d(3, momentum=None), whole),
    (nn.BatchNorm1d(3, affine=False), whole[:, :, 0, 0]),
):
    net = nn.Sequential(copy.deepcopy(plain))
    group.prepare(net)
    part = group.part(len(values))
    wanted, found = (it.clone().requires_grad_() for it in (values, values[part]))
    for _ in range(2):
        plain(wanted).pow(3).sum().backward()
        net(found).pow(3).sum().backward()
    gradients = [weight.grad for weight in net.parameters()]
    if gradients:
        group.add_up(gradients)
    wanted_gradients = [weight.grad for weight in plain.parameters()]
    for got, right in zip([found.grad, *gradients], [wanted.grad[part], *wanted_gradients]):
        torch.testing.assert_close(got, right, rtol=1e-3, atol=1e-3)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(net[0].state_dict()[name], value)
    torch.testing.assert_close(net.eval()(values), plain.eval()(values))

assert group.share(f"said by {group.rank}") == "said by 0"
assert group.any(group.rank == 1) and not group.any(False)
print("all held")
"""


def test_what_the_processes_put_together_is_what_one_would_have(tmp_path: Path) -> None:
    script = tmp_path / "parts.py"
    script.write_text(PARTS)
    with start(program=(str(script),)) as process:
        out, err = process.communicate(timeout=60)

    assert out.count("all held") == 2, err


def lines_of_ours(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("mnistctl: ")]


def weights(name: str) -> dict[str, np.ndarray]:
    tensors = load_file(Path("runs", name, "last.safetensors"))
    return {name: array for name, array in tensors.items() if not name.startswith("sums.")}


def wait_for_epochs(name: str, epochs: int) -> None:
    metrics = Path("runs", name, "metrics.jsonl")
    ends = time.monotonic() + 90
    while not metrics.exists() or metrics.read_text().count("\n") < epochs:
        assert time.monotonic() < ends
        time.sleep(0.02)


def workers() -> dict[int, int]:
    """Rank -> process number, of those that run here now."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            is_here = os.readlink(folder / "cwd") == str(Path.cwd())
        except OSError:
            continue
        ranks = [int(item.removeprefix(b"RANK=")) for item in environment if item.startswith(b"RANK=")]
        if is_here and ranks:
            found[ranks[0]] = int(folder.name)
    return found


@pytest.mark.parametrize(
    ("processes", "options"),
    [
        (2, ["--arch", "mlp", "--subset", "1000", "--epochs", "2"]),
        pytest.param(
            3,  # whose parts of 100 images are not of one length
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
def test_several_processes_do_the_same_work_as_one(processes: int, options: list[str]) -> None:
    common = [*COMMON, *options, "--dropout", "0", "--optimizer", "sgd", "--json"]
    out, err = torchrun(*common, "--name", "several", processes=processes)
    command = [sys.executable, "-m", "mnistctl", "train", *common, "--name", "alone"]
    alone = subprocess.run(command, capture_output=True, text=True, check=True)

    several, one = json.loads(out), json.loads(alone.stdout)
    assert (several["processes"], one["processes"]) == (processes, 1)
    assert len(err.splitlines()) == len(alone.stderr.splitlines())  # one display
    for figure in ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy"):
        assert several[figure] == pytest.approx(one[figure], abs=ROUNDING)
    wanted = weights("alone")
    for name, found in weights("several").items():
        if name.startswith(("net.", "average.")):
            np.testing.assert_allclose(found, wanted[name], atol=ROUNDING, err_msg=name)


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all_in_one_line_and_one_process_alone_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = [*COMMON, "--arch", "cnn", "--name", "cut", "--epochs", "200"]
    with start(*options) as process:
        wait_for_epochs("cut", 2)
        os.kill(workers()[1], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    (said,) = lines_of_ours(err)
    assert "another process of this training has ended" in said
    assert said.endswith("go on with: mnistctl train --resume cut")

    done = len(Path("runs/cut/metrics.jsonl").read_text().splitlines())
    result = mnistctl.train(resume="cut", epochs=done + 2, plots=False)
    assert (result.epochs, result.processes) == (done + 2, 1)
    assert result.validation_accuracy is not None
    assert result.validation_accuracy > 0.8
    assert ["number of processes" in warning for warning in caplog.messages] == [True]


@pytest.mark.slow
def test_a_run_of_two_processes_that_was_cut_short_ends_as_the_whole_one() -> None:
    options = [*COMMON, "--arch", "cnn", "--dropout", "0.1", "--epochs", "40"]
    torchrun(*options, "--name", "whole")
    with start(*options, "--name", "cut", "--save-every", "3steps") as process:
        wait_for_epochs("cut", 5)
        os.kill(workers()[0], signal.SIGKILL)
        process.communicate(timeout=60)
    torchrun("--resume", "cut", "--no-plots")

    wanted = weights("whole")
    for name, found in weights("cut").items():
        np.testing.assert_array_equal(found, wanted[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False], ids=["SIGINT to all", "SIGTERM to one"])
def test_a_signal_ends_all_after_the_same_step_and_leaves_a_run_that_two_go_on_with(
    to_all: bool,
) -> None:
    with start(*COMMON, "--arch", "cnn", "--name", "cut", "--epochs", "500") as process:
        wait_for_epochs("cut", 2)
        if to_all:
            process.send_signal(signal.SIGINT)
        else:
            os.kill(workers()[1], signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    (said,) = lines_of_ours(err)
    assert "interrupted in epoch" in said

    done = len(Path("runs/cut/metrics.jsonl").read_text().splitlines())
    out, err = torchrun("--resume", "cut", "--no-plots", "--json", "--epochs", str(done + 2))
    assert json.loads(out)["epochs"] == done + 2
    assert "bit for bit" not in err
    out, _ = torchrun("--resume", "cut", "--json")  # which is finished now
    assert json.loads(out)["epochs"] == done + 2


def test_what_is_wrong_is_said_once() -> None:
    with start("--arch", "lenet6") as process:
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert lines_of_ours(err) == [
        "mnistctl: unknown architecture 'lenet6'; did you mean 'lenet5'?",
    ]
