"""A run that is cut short and goes on is, bit for bit, the run that never was."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnistctl
from mnistctl.api.train import TrainResult
from mnistctl.api.training import resume
from mnistctl.errors import DivergedError, InterruptedRunError, ModelError, UsageError
from mnistctl.models import checkpoint, hashed_safetensors
from mnistctl.run import progress
from mnistctl.run.run_folder import Run
from tests.helpers import TINY_TRAINING, Cli, SimulatedKill

CNN = {"arch": "cnn", "widths": [4, 8], "kernels": [3], "hidden": [16], "rotate": 0.0}


class KilledAt(progress.Progress):
    """Ends training after so many steps."""

    def __init__(self, step: int) -> None:
        self._left = step

    def step(self, images: int) -> None:
        """See `Progress.step`."""
        self._left -= 1
        if not self._left:
            raise SimulatedKill


def begin(step: int, name: str, **settings: Any) -> None:
    """Train until so many steps are done."""
    with pytest.raises(SimulatedKill), progress.shown_by(KilledAt(step)):
        mnistctl.train(name=name, **settings)


def same(first: TrainResult | str, second: TrainResult | str) -> None:
    runs = [Run(Path(it if isinstance(it, str) else it.run)) for it in (first, second)]
    for path in ("model_path", "state_path"):
        tensors = [hashed_safetensors.load(getattr(run, path)).tensors for run in runs]
        assert set(tensors[0]) == set(tensors[1])
        for name in tensors[0]:
            np.testing.assert_array_equal(tensors[0][name], tensors[1][name], err_msg=name)
    timed = ("train_seconds",)
    epochs = [
        [{k: v for k, v in vars(epoch).items() if k not in timed} for epoch in run.read_metrics()]
        for run in runs
    ]
    assert epochs[0] == epochs[1]
    about = [checkpoint.load(run.model_path).metadata for run in runs]
    assert (about[0].temperature, about[0].threshold) == (about[1].temperature, about[1].threshold)
    assert about[0].config == about[1].config


CASES: dict[str, tuple[int, dict[str, Any]]] = {
    **{
        f"{optimizer}, {schedule}": (8, {"optimizer": optimizer, "schedule": schedule})
        for optimizer in ("sgd", "adam", "adamw", "rmsprop", "adadelta")
        for schedule in ("constant", "step", "cosine", "one-cycle")
    },
    "rmsprop with momentum": (8, {"optimizer": "rmsprop", "momentum": 0.9}),
    "sgd without momentum": (8, {"optimizer": "sgd", "momentum": 0.0}),
    "nesterov": (8, {"optimizer": "sgd", "nesterov": True}),
    "warm-up, inside it": (3, {"schedule": "cosine", "warmup": 0.5}),
    "warm-up, behind it": (13, {"schedule": "cosine", "warmup": 0.5}),
    "dropout": (8, {"dropout": 0.5}),
    "averaged weights": (8, {"ema": 0.9}),
    "clipped gradients": (8, {"clip_norm": 0.1}),
    "label smoothing": (8, {"label_smoothing": 0.1}),
    "a net of convolutions": (8, CNN),
    "batch normalisation": (8, {**CNN, "batch_norm": True}),
    "all of it": (8, {**CNN, "batch_norm": True, "ema": 0.9, "dropout": 0.2, "optimizer": "adamw"}),
    "augmentation": (8, {"rotate": 15.0, "scale": 0.1, "shear": 0.1, "shift": 2.0}),
    "more augmentation": (8, {"elastic": 1.0, "thickness": 0.5, "noise": 0.2, "erase": 0.5}),
    "the first step": (1, {}),
    "an epoch's last step": (6, {}),
    "an epoch's first step": (7, {}),
    "the last step": (18, {}),
    "a cut-short last epoch": (8, {"epochs": 1.5}),
    "early stopping": (4, {"patience": 1, "epochs": 9, "learning_rate": 0.05}),
    "no validation": (8, {"validation_size": 0}),
    "a floor in steps": (14, {"epochs": 0.1, "min_steps": 16}),
    "bfloat16": (8, {"precision": "bf16"}),
}


FEW = ("adam, one-cycle", "all of it", "augmentation", "early stopping", "a cut-short last epoch")


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case in FEW else pytest.mark.slow) for case in CASES],
)
def test_what_goes_on_is_what_never_stopped(case: str) -> None:
    step, settings = CASES[case]
    settings = {**TINY_TRAINING, **settings}
    if settings["arch"] != "mlp":
        settings.pop("rotate", None)
    whole = mnistctl.train(name="whole", **settings)
    begin(step, "cut", save_every="1steps", **settings)
    saved = resume.load(Run(Path("runs/cut")))
    assert (saved.state.steps if saved else 0) == step - 1

    went_on = mnistctl.train(resume="cut", plots=False)

    same(whole, went_on)
    assert went_on.best_epoch == whole.best_epoch


class InterruptedAt(progress.Progress):
    """Presses Ctrl-C after so many steps."""

    def __init__(self, step: int) -> None:
        self._left = step

    def step(self, images: int) -> None:
        """See `Progress.step`."""
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")
@pytest.mark.parametrize("step", [1, 3, 6, 8, 12, 18])
def test_what_goes_on_after_ctrl_c_is_what_never_stopped(step: int) -> None:
    # A rate at which later epochs are worse, so that the model kept is not simply the last.
    settings = {**TINY_TRAINING, "learning_rate": 0.5}
    whole = mnistctl.train(name="whole", **settings)
    with pytest.raises(InterruptedRunError, match="go on with: mnistctl train --resume cut"):
        with progress.shown_by(InterruptedAt(step)):
            mnistctl.train(name="cut", **settings)
    assert checkpoint.load(Path("runs/cut/model.safetensors"))

    same(whole, mnistctl.train(resume="cut", plots=False))


@pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")
def test_a_second_ctrl_c_stops_at_once_and_what_was_saved_goes_on() -> None:
    class Impatient(progress.Progress):
        def step(self, images: int) -> None:
            if images == 450:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    whole = mnistctl.train(name="whole", **TINY_TRAINING)
    with pytest.raises(InterruptedRunError, match="stopped at once") as stopped:
        with progress.shown_by(Impatient()):
            mnistctl.train(name="cut", **TINY_TRAINING)
    assert stopped.value.exit_code == 130

    same(whole, mnistctl.train(resume="cut", plots=False))


def test_a_run_that_stopped_early_goes_on_with_new_patience_when_more_is_asked_for() -> None:
    settings = {**TINY_TRAINING, "patience": 1, "epochs": 20, "learning_rate": 0.05}
    early = mnistctl.train(name="early", **settings)
    assert early.epochs < 20

    assert mnistctl.train(resume="early", epochs=25, plots=False).epochs > early.epochs


def test_weights_that_leave_the_numbers_in_the_last_step_are_not_kept(tmp_path: Path) -> None:
    source = tmp_path / "own.py"
    source.write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.zeros(784, classes))\n"
        "    def forward(self, images):\n"
        "        return images.flatten(1) @ self.weight.sqrt()\n"  # 0, whose slope is infinite
    )
    settings = {key: value for key, value in TINY_TRAINING.items() if key not in ("arch", "hidden")}
    # One step an epoch, and no validation: the loss alone would show it an epoch later.
    settings |= {"batch_size": 300, "validation_size": 0, "optimizer": "sgd"}

    with pytest.raises(DivergedError, match=r"epoch 1, by step 1, at a learning rate of .* weights"):
        mnistctl.train(f"{source}:Net", name="far", **settings)

    assert not Path("runs/far/model.safetensors").exists()
    assert not Path("runs/far/last.safetensors").exists()


def test_a_run_may_be_cut_short_again_and_again() -> None:
    whole = mnistctl.train(name="whole", **TINY_TRAINING)
    begin(3, "cut", save_every="1steps", **TINY_TRAINING)
    for _ in range(4):
        with pytest.raises(SimulatedKill), progress.shown_by(KilledAt(3)):
            mnistctl.train(resume="cut", save_every="1steps")

    same(whole, mnistctl.train(resume="cut", plots=False))


def test_without_anything_saved_it_begins_again() -> None:
    whole = mnistctl.train(name="whole", **TINY_TRAINING)
    begin(2, "cut", save_every="1h", **TINY_TRAINING)
    assert not Path("runs/cut/last.safetensors").exists()

    same(whole, mnistctl.train(resume="cut", plots=False))


def test_it_goes_on_from_another_model_without_it(checkpoint_path: Path) -> None:
    start = shutil.copy(checkpoint_path, "start.safetensors")
    settings = {key: value for key, value in TINY_TRAINING.items() if key not in ("arch", "hidden")}
    whole = mnistctl.train(init=start, name="whole", **settings)
    begin(8, "cut", save_every="2steps", init=start, **settings)
    Path(start).unlink()

    same(whole, mnistctl.train(resume="cut", plots=False))


def test_it_begins_again_only_from_the_model_that_it_began_from(checkpoint_path: Path) -> None:
    start = shutil.copy(checkpoint_path, "start.safetensors")
    settings = {key: value for key, value in TINY_TRAINING.items() if key not in ("arch", "hidden")}
    begin(2, "cut", save_every="1h", init=start, **settings)
    other = mnistctl.train(init=start, **settings)
    shutil.copy(Path(other.run, "model.safetensors"), start)

    with pytest.raises(UsageError, match="not the model that the run began from"):
        mnistctl.train(resume="cut")


def test_more_epochs_go_on_with_the_schedule_of_the_longer_run() -> None:
    settings = {**TINY_TRAINING, "schedule": "constant"}
    longer = mnistctl.train(name="longer", **{**settings, "epochs": 5})
    mnistctl.train(name="short", **settings)

    went_on = mnistctl.train(resume="short", epochs=5, plots=False)

    same(longer, went_on)
    assert json.loads(Path("runs/short/config.json").read_text())["epochs"] == 5


def test_more_epochs_than_a_cut_short_one() -> None:
    settings = {**TINY_TRAINING, "schedule": "constant"}
    longer = mnistctl.train(name="longer", **{**settings, "epochs": 3})
    mnistctl.train(name="short", **{**settings, "epochs": 1.5})

    same(longer, mnistctl.train(resume="short", epochs=3, plots=False))


def test_a_finished_run_says_so_and_gives_what_it_came_to(cli: Cli) -> None:
    done = mnistctl.train(name="done", **TINY_TRAINING)

    answer = cli("train", "--resume", "done", "--json")

    assert answer.code == 0
    assert "done is finished (3 epochs); --epochs N goes on" in answer.err
    assert json.loads(answer.out) == json.loads(json.dumps(done.to_json()))


REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    "another seed": ({"seed": 1}, "begun with --seed 0, not 1"),
    "another net": ({"arch": "cnn"}, "begun with --arch mlp, not cnn"),
    "another shape": ({"hidden": [32]}, r"begun with --hidden .*16.*, not \[32\]"),
    "another optimizer": ({"optimizer": "sgd"}, "begun with --optimizer adam"),
    "another dataset": ({"dataset": "mnist"}, "begun with --dataset digits, not mnist"),
    "another batch": ({"batch_size": 10}, "begun with --batch-size 50, not 10"),
    "another subset": ({"subset": 100}, "begun with --subset 300, not 100"),
    "fewer epochs": ({"epochs": 1}, "has done 7 steps; --epochs 1 are 6"),
    "a name": ({"name": "other"}, "goes without --name and --config"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_something_else_than_was_begun_is_rejected_with_the_difference(case: str) -> None:
    asked, message = REJECTED[case]
    begin(8, "cut", save_every="1steps", **TINY_TRAINING)
    before = {path: path.read_bytes() for path in Path("runs/cut").iterdir()}

    with pytest.raises(UsageError, match=message):
        mnistctl.train(resume="cut", **asked)

    assert {path: path.read_bytes() for path in Path("runs/cut").iterdir()} == before


def test_what_is_the_same_may_be_said_again(cli: Cli) -> None:
    begin(8, "cut", save_every="1steps", **TINY_TRAINING)

    answer = cli("train", "--resume", "cut", "--arch", "mlp", "--hidden", "16", "--seed", "0", "-q")

    assert answer.code == 0, answer.err


def test_changed_data_are_rejected() -> None:
    begin(8, "cut", save_every="1steps", **TINY_TRAINING)
    saved = hashed_safetensors.load(Path("runs/cut/last.safetensors"))
    hashed_safetensors.save(
        Path("runs/cut/last.safetensors"), saved.tensors, {**saved.values, "data_sha256": "0" * 64}
    )

    with pytest.raises(UsageError, match=r"'digits' have changed: SHA-256 .* begun with 0000"):
        mnistctl.train(resume="cut")


def test_other_versions_are_warned_of(cli: Cli) -> None:
    begin(8, "cut", save_every="1steps", **TINY_TRAINING)
    saved = hashed_safetensors.load(Path("runs/cut/last.safetensors"))
    changed = {**saved.values["surroundings"], "torch": "1.0", "device": "cuda"}
    hashed_safetensors.save(
        Path("runs/cut/last.safetensors"), saved.tensors, {**saved.values, "surroundings": changed}
    )

    answer = cli("train", "--resume", "cut", "--no-plots")

    assert answer.code == 0
    assert (
        "begun with another torch, device: the weights will not be the same bit for bit" in answer.err
    )


def test_a_damaged_state_is_rejected(cli: Cli) -> None:
    begin(8, "cut", save_every="1steps", **TINY_TRAINING)
    path = Path("runs/cut/last.safetensors")
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(ModelError, match=r"last\.safetensors"):
        mnistctl.train(resume="cut")


def test_a_state_is_not_taken_for_a_model(cli: Cli) -> None:
    begin(8, "cut", save_every="1steps", **TINY_TRAINING)

    answer = cli("eval", "runs/cut/last.safetensors", "-q")

    assert answer.code == 4
    assert len(answer.err.splitlines()) == 1


def test_an_own_class_is_named_again(tmp_path: Path) -> None:
    source = tmp_path / "own.py"
    source.write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, classes))\n"
    )
    settings = {key: value for key, value in TINY_TRAINING.items() if key not in ("arch", "hidden")}
    arch = f"{source}:Net"
    begin(8, "cut", save_every="1steps", arch=arch, **settings)

    with pytest.raises(UsageError, match="runs no code by itself; if you trust it, add --arch"):
        mnistctl.train(resume="cut")
    source.write_text(source.read_text() + "# changed\n")
    with pytest.raises(UsageError, match="is not what the run was begun with"):
        mnistctl.train(resume="cut", arch=arch)


def test_a_run_that_was_cut_short_is_named_with_its_way_out(cli: Cli) -> None:
    begin(8, "cut", save_every="1steps", **TINY_TRAINING)
    train = ("train", "--arch", "linear", "--dataset", "digits", "--epochs", "1", "--no-plots")

    taken, other = cli(*train, "--name", "cut"), cli(*train, "--name", "other")

    assert taken.code == 2
    assert "it was cut short: mnistctl train --resume cut goes on with it" in taken.err
    assert other.code == 0
    assert "to go on with it: mnistctl train --resume cut" in other.err


@pytest.mark.parametrize("every", ["0steps", "steps", "5", "5x", "-1m", "1.5m", ""])
def test_an_interval_that_is_none_is_said_at_once(every: str, cli: Cli) -> None:
    answer = cli("train", "--dataset", "digits", "--save-every", every)

    assert answer.code == 2
    assert f"--save-every {every}: expected steps or a time" in answer.err
    assert not Path("runs").exists()


def test_a_run_that_another_process_trains_is_left_alone() -> None:
    begin(8, "cut", save_every="1steps", **TINY_TRAINING)

    with (
        Run(Path("runs/cut")).locked(),
        pytest.raises(UsageError, match="another process is training this run"),
    ):
        mnistctl.train(resume="cut")


def test_no_such_run_names_those_there_are(cli: Cli) -> None:
    answer = cli("train", "--resume", "gone")

    assert answer.code == 2
    assert "--resume gone: no such run; known here: none" in answer.err
