"""A run that is interrupted and resumed gives, bit for bit, the weights of an uninterrupted run."""

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
from mnistctl.api.training import state_file
from mnistctl.errors import DivergedError, InterruptedRunError, ModelError, UsageError
from mnistctl.models import checkpoint, hashed_safetensors
from mnistctl.run import progress
from mnistctl.run.run_folder import Run
from tests.helpers import TINY_TRAINING, Cli, SimulatedKill

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")

CNN = {"arch": "cnn", "widths": [4, 8], "kernels": [3], "hidden": [16], "rotate": 0.0}


class KilledAt(progress.Progress):
    """Raises `SimulatedKill` at the given step, counted from the start of the process."""

    def __init__(self, step: int) -> None:
        self._steps_left = step

    def step(self, images: int) -> None:
        """See `Progress.step`."""
        self._steps_left -= 1
        if not self._steps_left:
            raise SimulatedKill


def train_until_killed(step: int, name: str, **settings: Any) -> None:
    """Start a run that is killed in the given step, before that step can be saved."""
    with pytest.raises(SimulatedKill), progress.shown_by(KilledAt(step)):
        mnistctl.train(name=name, **settings)


def assert_same_run(first: TrainResult, second: TrainResult) -> None:
    """Check that two runs have equal files, but for times."""
    runs = [Run(Path(result.run)) for result in (first, second)]
    for path in ("model_path", "state_path"):
        expected, tensors = (hashed_safetensors.load(getattr(run, path)).tensors for run in runs)
        assert set(tensors) == set(expected)
        for name in expected:
            np.testing.assert_array_equal(tensors[name], expected[name], err_msg=name)
    epochs = [[{**vars(epoch), "train_seconds": None} for epoch in run.read_metrics()] for run in runs]
    assert epochs[0] == epochs[1]
    metadata = [checkpoint.load(run.model_path).metadata for run in runs]
    assert metadata[0].temperature == metadata[1].temperature
    assert metadata[0].threshold == metadata[1].threshold
    assert metadata[0].config == metadata[1].config


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
    "warm-up, after it": (13, {"schedule": "cosine", "warmup": 0.5}),
    "dropout": (8, {"dropout": 0.5}),
    "averaged weights": (8, {"ema": 0.9}),
    "clipped gradients": (8, {"clip_norm": 0.1}),
    "label smoothing": (8, {"label_smoothing": 0.1}),
    "convolutions": (8, CNN),
    "batch normalisation": (8, {**CNN, "batch_norm": True}),
    "many settings at once": (
        8,
        {**CNN, "batch_norm": True, "ema": 0.9, "dropout": 0.2, "optimizer": "adamw"},
    ),
    "augmentation": (8, {"rotate": 15.0, "scale": 0.1, "shear": 0.1, "shift": 2.0}),
    "more augmentation": (8, {"elastic": 1.0, "thickness": 0.5, "noise": 0.2, "erase": 0.5}),
    "the first step": (1, {}),
    "an epoch's last step": (6, {}),
    "an epoch's first step": (7, {}),
    "the last step": (18, {}),
    "an incomplete last epoch": (8, {"epochs": 1.5}),
    "early stopping": (4, {"patience": 1, "epochs": 9, "learning_rate": 0.05}),
    "no validation": (8, {"validation_size": 0}),
    "a minimum of steps": (14, {"epochs": 0.1, "min_steps": 16}),
    "bfloat16": (8, {"precision": "bf16"}),
}


# The others run with `-m slow` only.
QUICK_CASES = (
    "adam, one-cycle",
    "many settings at once",
    "augmentation",
    "early stopping",
    "an incomplete last epoch",
)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case in QUICK_CASES else pytest.mark.slow) for case in CASES],
)
def test_a_resumed_run_equals_an_uninterrupted_one(case: str) -> None:
    step, changes = CASES[case]
    settings = {**TINY_TRAINING, **changes}
    if settings["arch"] != "mlp":
        settings.pop("rotate", None)
    whole = mnistctl.train(name="whole", **settings)
    train_until_killed(step, "interrupted", save_every="1steps", **settings)
    saved = state_file.load(Run(Path("runs/interrupted")))
    assert (saved.state.steps if saved else 0) == step - 1

    resumed = mnistctl.train(resume="interrupted", plots=False)

    assert_same_run(whole, resumed)
    assert resumed.best_epoch == whole.best_epoch


class InterruptedAt(progress.Progress):
    """Presses Ctrl-C at the given step, counted from the start of the process."""

    def __init__(self, step: int) -> None:
        self._steps_left = step

    def step(self, images: int) -> None:
        """See `Progress.step`."""
        self._steps_left -= 1
        if not self._steps_left:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("folder", "argument"),
    [("runs/mine", "mine"), ("mine", "mine"), ("old/mine", "old/mine"), ("my runs/a", "'my runs/a'")],
)
def test_the_command_to_resume_names_a_run_or_its_folder(folder: str, argument: str) -> None:
    assert Run(Path(folder)).resume_command == f"mnistctl train --resume {argument}"


@needs_signals
@pytest.mark.parametrize("step", [1, 3, 6, 8, 12, 18])
def test_a_run_resumed_after_ctrl_c_equals_an_uninterrupted_one(step: int) -> None:
    # With this learning rate later epochs are worse, so the best model is not that of the last epoch.
    settings = {**TINY_TRAINING, "learning_rate": 0.5}
    whole = mnistctl.train(name="whole", **settings)
    with (
        pytest.raises(InterruptedRunError, match="resume with: mnistctl train --resume interrupted"),
        progress.shown_by(InterruptedAt(step)),
    ):
        mnistctl.train(name="interrupted", **settings)
    assert checkpoint.load(Path("runs/interrupted/model.safetensors"))

    assert_same_run(whole, mnistctl.train(resume="interrupted", plots=False))


@needs_signals
def test_a_second_ctrl_c_stops_at_once_and_the_run_can_be_resumed() -> None:
    class InterruptedTwice(progress.Progress):
        def step(self, images: int) -> None:
            if images == 450:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    whole = mnistctl.train(name="whole", **TINY_TRAINING)
    with (
        pytest.raises(InterruptedRunError, match="stopped at once") as interrupt,
        progress.shown_by(InterruptedTwice()),
    ):
        mnistctl.train(name="interrupted", **TINY_TRAINING)
    assert interrupt.value.exit_code == 130

    assert_same_run(whole, mnistctl.train(resume="interrupted", plots=False))


def test_more_epochs_give_a_run_that_stopped_early_its_patience_again() -> None:
    settings = {**TINY_TRAINING, "patience": 1, "epochs": 20, "learning_rate": 0.05}
    early = mnistctl.train(name="early", **settings)
    assert early.epochs < 20

    assert mnistctl.train(resume="early", epochs=25, plots=False).epochs > early.epochs


def test_weights_that_diverge_in_the_last_step_are_not_saved(tmp_path: Path) -> None:
    source = tmp_path / "custom.py"
    source.write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.zeros(784, classes))\n"
        "    def forward(self, images):\n"
        "        return images.flatten(1) @ self.weight.sqrt()\n"  # the slope at 0 is infinite
    )
    settings = {key: value for key, value in TINY_TRAINING.items() if key not in ("arch", "hidden")}
    # With one step per epoch and without validation, the loss would show it only in the next epoch.
    settings |= {"batch_size": 300, "validation_size": 0, "optimizer": "sgd"}

    with pytest.raises(DivergedError, match=r"epoch 1, by step 1, at a learning rate of .* weights"):
        mnistctl.train(f"{source}:Net", name="diverged", **settings)

    assert not Path("runs/diverged/model.safetensors").exists()
    assert not Path("runs/diverged/last.safetensors").exists()


def test_a_run_can_be_interrupted_several_times() -> None:
    whole = mnistctl.train(name="whole", **TINY_TRAINING)
    train_until_killed(3, "interrupted", save_every="1steps", **TINY_TRAINING)
    for _ in range(4):
        with pytest.raises(SimulatedKill), progress.shown_by(KilledAt(3)):
            mnistctl.train(resume="interrupted", save_every="1steps")

    assert_same_run(whole, mnistctl.train(resume="interrupted", plots=False))


def test_a_run_without_a_saved_state_starts_again() -> None:
    whole = mnistctl.train(name="whole", **TINY_TRAINING)
    train_until_killed(2, "interrupted", save_every="1h", **TINY_TRAINING)
    assert not Path("runs/interrupted/last.safetensors").exists()

    assert_same_run(whole, mnistctl.train(resume="interrupted", plots=False))


def test_resuming_does_not_need_the_initial_model(checkpoint_path: Path) -> None:
    start = shutil.copy(checkpoint_path, "start.safetensors")
    settings = {key: value for key, value in TINY_TRAINING.items() if key not in ("arch", "hidden")}
    whole = mnistctl.train(init=start, name="whole", **settings)
    train_until_killed(8, "interrupted", save_every="2steps", init=start, **settings)
    Path(start).unlink()

    assert_same_run(whole, mnistctl.train(resume="interrupted", plots=False))


def test_starting_again_needs_the_same_initial_model(checkpoint_path: Path) -> None:
    start = shutil.copy(checkpoint_path, "start.safetensors")
    settings = {key: value for key, value in TINY_TRAINING.items() if key not in ("arch", "hidden")}
    train_until_killed(2, "interrupted", save_every="1h", init=start, **settings)
    other = mnistctl.train(init=start, **settings)
    shutil.copy(Path(other.run, "model.safetensors"), start)

    with pytest.raises(UsageError, match="not the model that the run started from"):
        mnistctl.train(resume="interrupted")


def test_a_run_resumed_with_more_epochs_equals_a_longer_run() -> None:
    settings = {**TINY_TRAINING, "schedule": "constant"}
    longer = mnistctl.train(name="longer", **{**settings, "epochs": 5})
    mnistctl.train(name="short", **settings)

    resumed = mnistctl.train(resume="short", epochs=5, plots=False)

    assert_same_run(longer, resumed)
    assert json.loads(Path("runs/short/config.json").read_text())["epochs"] == 5


def test_an_incomplete_last_epoch_is_completed_when_more_epochs_are_asked_for() -> None:
    settings = {**TINY_TRAINING, "schedule": "constant"}
    longer = mnistctl.train(name="longer", **{**settings, "epochs": 3})
    mnistctl.train(name="short", **{**settings, "epochs": 1.5})

    assert_same_run(longer, mnistctl.train(resume="short", epochs=3, plots=False))


@pytest.mark.parametrize(
    "interruption",
    [
        pytest.param(KilledAt(4), id="killed"),
        pytest.param(InterruptedAt(3), id="interrupted", marks=needs_signals),
    ],
)
def test_a_run_can_be_shortened_to_the_steps_that_are_done(interruption: progress.Progress) -> None:
    short = mnistctl.train(name="short", **{**TINY_TRAINING, "schedule": "constant", "epochs": 0.5})
    with (
        pytest.raises((SimulatedKill, InterruptedRunError)),
        progress.shown_by(interruption),
    ):
        mnistctl.train(name="long", save_every="1steps", **{**TINY_TRAINING, "schedule": "constant"})

    assert_same_run(short, mnistctl.train(resume="long", epochs=0.5, plots=False))


def test_resuming_a_finished_run_returns_its_result(cli: Cli) -> None:
    done = mnistctl.train(name="done", **TINY_TRAINING)

    answer = cli("train", "--resume", "done", "--json")

    assert answer.code == 0
    assert "done is finished (3 epochs); to train on, add --epochs N" in answer.err
    assert json.loads(answer.out) == json.loads(json.dumps(done.to_json()))


REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    "another seed": ({"seed": 1}, "started with --seed 0, not 1"),
    "another net": ({"arch": "cnn"}, "started with --arch mlp, not cnn"),
    "another shape": ({"hidden": [32]}, r"started with --hidden .*16.*, not \[32\]"),
    "another optimizer": ({"optimizer": "sgd"}, "started with --optimizer adam"),
    "another dataset": ({"dataset": "mnist"}, "started with --dataset digits, not mnist"),
    "another batch": ({"batch_size": 10}, "started with --batch-size 50, not 10"),
    "another subset": ({"subset": 100}, "started with --subset 300, not 100"),
    "fewer epochs": ({"epochs": 1}, "7 steps are done already, but --epochs 1 is only 6"),
    "a name": ({"name": "other"}, "cannot be combined with --name or --config"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_resuming_with_another_setting_is_rejected(case: str) -> None:
    changes, message = REJECTED[case]
    train_until_killed(8, "interrupted", save_every="1steps", **TINY_TRAINING)
    before = {path: path.read_bytes() for path in Path("runs/interrupted").iterdir()}

    with pytest.raises(UsageError, match=message):
        mnistctl.train(resume="interrupted", **changes)

    assert {path: path.read_bytes() for path in Path("runs/interrupted").iterdir()} == before


def test_resuming_with_the_same_settings_is_accepted(cli: Cli) -> None:
    train_until_killed(8, "interrupted", save_every="1steps", **TINY_TRAINING)

    answer = cli(
        "train", "--resume", "interrupted", "--arch", "mlp", "--hidden", "16", "--seed", "0", "-q"
    )

    assert answer.code == 0, answer.err


def test_resuming_with_changed_data_is_rejected() -> None:
    train_until_killed(8, "interrupted", save_every="1steps", **TINY_TRAINING)
    saved = hashed_safetensors.load(Path("runs/interrupted/last.safetensors"))
    hashed_safetensors.save(
        Path("runs/interrupted/last.safetensors"),
        saved.tensors,
        {**saved.values, "data_sha256": "0" * 64},
    )

    with pytest.raises(UsageError, match=r"'digits' has changed: SHA-256 .*, expected 0000"):
        mnistctl.train(resume="interrupted")


def test_another_environment_gives_a_warning(cli: Cli) -> None:
    train_until_killed(8, "interrupted", save_every="1steps", **TINY_TRAINING)
    saved = hashed_safetensors.load(Path("runs/interrupted/last.safetensors"))
    changed = {**saved.values["environment"], "torch": "1.0", "device": "cuda"}
    hashed_safetensors.save(
        Path("runs/interrupted/last.safetensors"),
        saved.tensors,
        {**saved.values, "environment": changed},
    )

    answer = cli("train", "--resume", "interrupted", "--no-plots")

    assert answer.code == 0
    assert "started with another torch, device: the weights will not be the same" in answer.err


def test_a_damaged_state_is_rejected() -> None:
    train_until_killed(8, "interrupted", save_every="1steps", **TINY_TRAINING)
    path = Path("runs/interrupted/last.safetensors")
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(ModelError, match=r"last\.safetensors"):
        mnistctl.train(resume="interrupted")


def test_a_state_of_another_version_is_rejected_in_one_line(cli: Cli) -> None:
    train_until_killed(8, "interrupted", save_every="1steps", **TINY_TRAINING)
    path = Path("runs/interrupted/last.safetensors")
    saved = hashed_safetensors.load(path)
    hashed_safetensors.save(path, saved.tensors, {**saved.values, "training_state": 1})

    answer = cli("train", "--resume", "interrupted")

    assert answer.code == 4
    assert answer.err.splitlines() == [
        f"mnistctl: {path}: training state version 1, expected 3: the run cannot be resumed; start it "
        f"again with: mnistctl train --config {Path('runs/interrupted/config.json')}"
    ]


def test_a_model_is_not_a_training_state(checkpoint_path: Path) -> None:
    train_until_killed(8, "interrupted", save_every="1steps", **TINY_TRAINING)
    shutil.copy(checkpoint_path, "runs/interrupted/last.safetensors")

    with pytest.raises(ModelError, match="not a training state"):
        mnistctl.train(resume="interrupted")


def test_a_training_state_is_not_a_model(cli: Cli) -> None:
    train_until_killed(8, "interrupted", save_every="1steps", **TINY_TRAINING)

    answer = cli("eval", "runs/interrupted/last.safetensors", "-q")

    assert answer.code == 4
    assert len(answer.err.splitlines()) == 1


def test_resuming_needs_a_custom_architecture_to_be_named_and_unchanged(tmp_path: Path) -> None:
    source = tmp_path / "custom.py"
    source.write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, classes))\n"
    )
    settings = {key: value for key, value in TINY_TRAINING.items() if key not in ("arch", "hidden")}
    arch = f"{source}:Net"
    train_until_killed(8, "interrupted", save_every="1steps", arch=arch, **settings)

    with pytest.raises(UsageError, match=r"runs no code that only a file names; .* add --arch"):
        mnistctl.train(resume="interrupted")
    source.write_text(source.read_text() + "# changed\n")
    with pytest.raises(UsageError, match="has changed since the run was started"):
        mnistctl.train(resume="interrupted", arch=arch)


def test_train_tells_how_to_resume_an_interrupted_run(cli: Cli) -> None:
    train_until_killed(8, "interrupted", save_every="1steps", **TINY_TRAINING)
    train = ("train", "--arch", "linear", "--dataset", "digits", "--epochs", "1", "--no-plots")

    same_name = cli(*train, "--name", "interrupted")
    other_name = cli(*train, "--name", "other")

    assert same_name.code == 2
    assert "resume it with: mnistctl train --resume interrupted" in same_name.err
    assert other_name.code == 0
    assert "resume it with: mnistctl train --resume interrupted" in other_name.err


@pytest.mark.parametrize("every", ["0steps", "steps", "5", "5x", "-1m", "1.5m", ""])
def test_an_invalid_save_interval_is_rejected_before_training(every: str, cli: Cli) -> None:
    answer = cli("train", "--dataset", "digits", "--save-every", every)

    assert answer.code == 2
    assert f"--save-every {every}: expected steps or a time" in answer.err
    assert not Path("runs").exists()


def test_a_run_that_another_process_is_training_is_rejected() -> None:
    train_until_killed(8, "interrupted", save_every="1steps", **TINY_TRAINING)

    with (
        Run(Path("runs/interrupted")).locked(),
        pytest.raises(UsageError, match="another process is training this run"),
    ):
        mnistctl.train(resume="interrupted")


def test_an_unknown_run_is_rejected_with_the_runs_that_exist(cli: Cli) -> None:
    answer = cli("train", "--resume", "gone")

    assert answer.code == 2
    assert "--resume gone: run not found; runs here: none" in answer.err
