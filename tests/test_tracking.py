"""Trackers: settings, metrics, plots and the model reach other tools, which can never end a run."""

import json
import sys
from pathlib import Path

import pytest

import mnistctl
from mnistctl.errors import InterruptedRunError
from mnistctl.run import tracking
from mnistctl.run.run_folder import Run
from mnistctl.settings import recipes
from tests.helpers import Cli

TRAIN = ("train", "--dataset", "digits", "--device", "cpu", "--arch", "linear", "-q", "--name", "a")
QUICK = (*TRAIN, "--no-plots", "--epochs", "3")


def metrics_of(run: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in Path("runs", run, "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def mlflow_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MLflow's file store, which is created at once: the tables of a database take many seconds."""
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return tmp_path / "mlruns"


@pytest.fixture
def offline_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def test_tensorboard_receives_settings_metrics_and_plots(cli: Cli) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    answer = cli(*TRAIN, "--epochs", "2", "--track", "tensorboard")

    assert answer.code == 0, answer.err
    events = EventAccumulator("runs/a/tensorboard").Reload()
    lines = metrics_of("a")
    for tag, key in (("loss/train", "train_loss"), ("accuracy/validation", "validation_accuracy")):
        scalars = [(event.step, event.value) for event in events.Scalars(tag)]
        assert scalars == [(line["epoch"], pytest.approx(line[key])) for line in lines]
    assert "config/text_summary" in events.Tags()["tensors"]
    assert "plots/curves" in events.Tags()["images"]
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= set(
        events.summary_metadata
    )  # the table of settings


def test_an_unknown_or_missing_tracker_is_rejected_before_the_run_is_created(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)

    for name, extra in (
        ("tensorboard", "track"),
        ("mlflow", "mlflow"),
        ("mlflow,tensorboard", "mlflow"),
    ):
        missing = cli(*QUICK, "--track", name)
        assert missing.code == 5
        assert f"pip install 'mnistctl[{extra}]'" in missing.err
    for name in ("tensorbord", "", "mlflow;wandb"):
        assert cli(*QUICK, "--track", name).code == 2
    assert not Path("runs").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_receives_everything_and_a_resumed_run_continues_the_same_mlflow_run(
    cli: Cli, mlflow_folder: Path
) -> None:
    from mlflow import MlflowClient

    answer = cli(*TRAIN, "--epochs", "2", "--track", "mlflow,tensorboard")
    assert answer.code == 0, answer.err
    resumed = cli("train", "--resume", "a", "--epochs", "3", "-q", "--track", "mlflow")
    assert resumed.code == 0, resumed.err

    client = MlflowClient()
    experiment = client.get_experiment_by_name("mnistctl")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("a", "FINISHED")
    assert run.data.params["optimizer"] == recipes.for_arch("linear").optimizer
    history = client.get_metric_history(run.info.run_id, "loss/train")
    assert {(metric.step, metric.value) for metric in history} == {
        (line["epoch"], line["train_loss"]) for line in metrics_of("a")
    }
    artifacts = {
        file.path
        for folder in ("model", "plots")
        for file in client.list_artifacts(run.info.run_id, folder)
    }
    assert {"model/model.safetensors", "plots/curves.png", "plots/confusion.png"} <= artifacts
    assert Path("runs/a/tensorboard").is_dir()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_mlflow_uses_a_database_in_the_working_folder_by_default(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    assert cli(*QUICK, "--track", "mlflow").code == 0

    assert Path("mlflow.db").is_file()
    assert list(Path("mlruns").rglob("model.safetensors"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_wandb_receives_everything_offline(cli: Cli, offline_wandb: None) -> None:
    answer = cli(*TRAIN, "--epochs", "2", "--track", "wandb")

    assert answer.code == 0, answer.err
    assert answer.err == ""
    import wandb

    wandb.teardown()  # its own process writes the files
    (folder,) = Path("runs/a/wandb").glob("offline-run-*")
    (log,) = folder.glob("run-*.wandb")
    content = log.read_bytes()
    for line in metrics_of("a"):
        assert json.dumps(line["train_loss"]).encode() in content
    assert json.dumps(recipes.for_arch("linear").optimizer).encode() in content  # one of the settings
    assert b"a-model" in content  # the model
    assert list((folder / "files").rglob("curves*.png"))
    assert Path("runs/a/wandb-id.txt").read_text().strip() in log.name


class Broken(tracking.Tracker):
    """A tracker whose server is gone after the first epoch."""

    def __init__(self, *arguments: object) -> None:
        self.calls: list[str] = []

    def epoch(self, epoch: object) -> None:
        self.calls.append("epoch")
        if len(self.calls) > 1:
            raise ConnectionError("no route\nto the server")

    def close(self, *, finished: bool) -> None:
        self.calls.append("close")


def test_a_tracker_that_fails_is_left_out_after_one_warning(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken()
    monkeypatch.setitem(tracking.TRACKERS, "json", tracking._Tool("json", lambda *arguments: broken))

    answer = cli(*QUICK, "--track", "json")

    assert answer.code == 0
    assert answer.err == (
        "mnistctl: warning: --track json failed (no route to the server); training continues without "
        "it\n"
    )
    assert broken.calls == ["epoch", "epoch"]
    assert len(metrics_of("a")) == 3


def test_a_tracker_that_cannot_be_started_stops_the_run_before_it_begins(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run, settings: object) -> tracking.Tracker:
        raise ConnectionError("no server")

    monkeypatch.setitem(tracking.TRACKERS, "json", tracking._Tool("json", fail))

    answer = cli(*QUICK, "--track", "json")

    assert (answer.code, answer.err) == (2, "mnistctl: --track json: cannot be started (no server)\n")
    assert not Path("runs/a").exists()


def test_a_second_ctrl_c_is_not_taken_for_a_failing_tracker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(tracking.Tracker):
        def finish(self, model: Path, plots: object) -> None:
            raise InterruptedRunError("stopped at once", exit_code=130)

    monkeypatch.setitem(tracking.TRACKERS, "json", tracking._Tool("json", lambda *arguments: Slow()))

    with pytest.raises(InterruptedRunError):
        mnistctl.train(
            "linear", dataset="digits", device="cpu", epochs=1, name="a", plots=False, track="json"
        )
