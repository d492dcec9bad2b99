"""Odd names of devices and trackers, and odd variables of OpenMP, MLflow and W&B."""

from pathlib import Path

import pytest

from tests.attacks.attack import attack

TRAIN = (
    "train",
    "--dataset",
    "digits",
    "--arch",
    "linear",
    "--epochs",
    "0.5",
    "--no-plots",
    "--name",
    "a",
)
CPU_S = 60  # of torch, and of the packages of trackers


@pytest.mark.parametrize(
    "device",
    ["cuda:99999999999999999999", "cuda:-1", "cuda:0x0", "CPU", "mps:0", "meta", "../cpu", "cpu\n"],
)
def test_an_odd_device_is_a_usage_error(device: str, tmp_path: Path) -> None:
    outcome = attack(*TRAIN, "--device", device, folder=tmp_path, cpu_s=CPU_S)

    outcome.check_failed(2, "device")
    assert not (tmp_path / "runs" / "a").exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"GOMP_SPINCOUNT": "many"},
        {"GOMP_SPINCOUNT": "", "OMP_WAIT_POLICY": ""},
        {"OMP_WAIT_POLICY": "lazy", "KMP_BLOCKTIME": "-1"},
        {"OMP_NUM_THREADS": "0"},
        {"OMP_NUM_THREADS": "two"},
    ],
    ids=str,
)
def test_odd_variables_of_openmp_do_not_stop_training(
    variables: dict[str, str], tmp_path: Path
) -> None:
    outcome = attack(*TRAIN, "--device", "cpu", folder=tmp_path, variables=variables, cpu_s=CPU_S)

    outcome.check_succeeded()
    assert (tmp_path / "runs" / "a" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "track", ["../tensorboard", "os", "tensorboard,,", "\x1b[31m", "mlflow tensorboard"]
)
def test_an_odd_tracker_is_a_usage_error(track: str, tmp_path: Path) -> None:
    outcome = attack(*TRAIN, "--track", track, folder=tmp_path)

    outcome.check_failed(2, "unknown tracker")
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize(
    ("track", "variables"),
    [
        ("mlflow", {"MLFLOW_TRACKING_URI": "nonsense://x"}),
        ("mlflow", {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}),
        ("mlflow", {"MLFLOW_TRACKING_URI": "sqlite:////dev/null/x.db"}),
        ("wandb", {"WANDB_MODE": "nonsense"}),
        ("wandb", {"WANDB_MODE": "online", "WANDB_API_KEY": "", "NETRC": "/nonexistent"}),
    ],
    ids=str,
)
def test_a_tracker_that_cannot_be_reached_is_named_before_training(
    track: str, variables: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip(track)
    variables |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}

    outcome = attack(
        *TRAIN, "--device", "cpu", "--track", track, folder=tmp_path, variables=variables, cpu_s=CPU_S
    )

    outcome.check_failed(2, f"--track {track}: cannot be started")
    assert not (tmp_path / "runs" / "a" / "model.safetensors").exists()
