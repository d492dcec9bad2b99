"""Studies in a PostgreSQL database."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

import mnistctl
from mnistctl.errors import DataError, UsageError
from mnistctl.tuning import tune as tuning
from mnistctl.tuning.claims import PostgresClaims
from mnistctl.tuning.study import Study, folder_of
from tests.helpers import Cli
from tests.tuning.conftest import PASSWORD, TINY, Postgres


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A study of the test's own: all tests share the database."""
    return str(request.node.name).removeprefix("test_")[:80]


def test_a_claim_is_exclusive_and_ends_with_its_connection(postgres: Postgres, name: str) -> None:
    first, second = (PostgresClaims(postgres.url, name) for _ in range(2))

    assert first.claim("trial-0")
    assert not second.claim("trial-0")
    assert second.claim("trial-1")
    assert PostgresClaims(postgres.url, "another").claim("trial-0")
    first.close()
    deadline = time.monotonic() + 10
    while not second.claim("trial-0"):
        assert time.monotonic() < deadline

    second.close()


def test_the_database_ends_the_claims_of_a_machine_that_is_silent(
    postgres: Postgres, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnistctl.tuning.claims._LOST_SECONDS", 1)
    silent = PostgresClaims(postgres.url, name)
    monkeypatch.undo()
    other = PostgresClaims(postgres.url, name)
    assert silent.claim("trial-0")

    deadline = time.monotonic() + 20
    while not other.claim("trial-0"):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    with pytest.raises(DataError, match="the connection to the database was lost"):
        silent.claim("trial-1")
    with pytest.raises(DataError, match="the connection to the database was lost"):
        silent.check()
    other.close()


def test_two_processes_that_type_the_same_command_share_a_study(postgres: Postgres, name: str) -> None:
    command = [
        *(sys.executable, "-m", "mnistctl", "tune", name, "--arch", "mlp", "--dataset", "digits"),
        *("--epochs", "1", "--subset", "300", "--device", "cpu", "--trials", "8", "--confirm", "1"),
        *("--workers", "1", "--storage", postgres.url, "--no-plots", "--jsonl"),
    ]
    folders = [Path("one"), Path("two")]
    for folder in folders:
        folder.mkdir()

    processes = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) for folder in folders
    ]
    outputs = [process.communicate(timeout=200)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    runs = [{path.name for path in folder.glob(f"runs/{name}/trial-*")} for folder in folders]
    trials = [{run for run in of_folder if "confirm" not in run} for of_folder in runs]
    assert trials[0] | trials[1] == {f"trial-{number}" for number in range(8)}
    assert not trials[0] & trials[1]
    assert len({run for of_folder in runs for run in of_folder if "confirm" in run}) == 1
    result = mnistctl.read_study(name, storage=postgres.url)
    assert len(result.trials) == 8
    assert len(result.confirmations) == 1
    assert all(len(output.splitlines()) == 8 for output in outputs)


def test_a_trial_of_a_lost_machine_begins_again_where_its_run_is_not(
    postgres: Postgres, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("one").mkdir()
    Path("two").mkdir()
    definition = tuning.define("mlp", TINY, data_dir=None)
    monkeypatch.chdir("one")
    with Study.open(name, postgres.url, definition=definition) as lost:
        lost.set_goal(tuning.choose_goal(lost, 2, None, 0, None))
        trial = lost.claim_trial()
        assert trial is not None
    monkeypatch.chdir("../two")

    result = mnistctl.tune(resume=name, storage=postgres.url, workers=1, plots=False)

    assert [item.state for item in result.trials] == ["complete", "complete"]
    assert Path(result.trials[trial.number].runs[0]).is_dir()


def test_a_wrong_password_is_one_line_that_does_not_contain_it(
    postgres: Postgres, cli: Cli, name: str
) -> None:
    url = postgres.url.replace(PASSWORD, "wrong-password-9")

    answer = cli("tune", name, "--arch", "mlp", "--dataset", "digits", "--storage", url)

    assert answer.code == 3
    assert "password authentication failed" in answer.err
    assert "wrong-password-9" not in answer.err + answer.out
    assert len([line for line in answer.err.splitlines() if line.startswith("mnistctl:")]) == 1


def test_a_storage_that_is_down_is_one_line(cli: Cli) -> None:
    url = f"postgresql://tuner:{PASSWORD}@127.0.0.1:9/postgres"

    answer = cli("tune", "a", "--arch", "mlp", "--dataset", "digits", "--storage", url)

    assert answer.code == 3
    assert "--storage: connection failed" in answer.err
    assert PASSWORD not in answer.err


@pytest.mark.parametrize("url", ["mysql://me:secret@host/db", "secret", "sqlite:///study.db", ""])
def test_another_kind_of_storage_is_rejected_without_quoting_it(cli: Cli, url: str) -> None:
    answer = cli("tune", "a", "--arch", "mlp", "--dataset", "digits", "--storage", url)

    assert answer.code == 2
    assert "--storage: expected postgresql://USER@HOST/DATABASE" in answer.err
    assert "secret" not in answer.err


def test_a_study_in_a_database_needs_a_name(cli: Cli) -> None:
    answer = cli("tune", "--arch", "mlp", "--dataset", "digits", "--storage", "postgresql://x/y")

    assert answer.code == 2
    assert "name the study" in answer.err


def test_a_study_of_another_program_is_not_continued(postgres: Postgres, name: str) -> None:
    url = postgres.url.replace("postgresql://", "postgresql+psycopg://")
    storage = RDBStorage(url)
    optuna.create_study(study_name=name, storage=storage).optimize(lambda trial: 1.0, n_trials=1)
    storage.engine.dispose()

    with pytest.raises(UsageError, match="exists in this storage, and is not one of mnistctl"):
        mnistctl.tune("mlp", study=name, storage=postgres.url, **TINY)


def test_a_study_that_is_not_in_the_database_is_not_found(postgres: Postgres, name: str) -> None:
    with pytest.raises(UsageError, match=f"study '{name}' not found"):
        mnistctl.read_study(name, storage=postgres.url)


@pytest.mark.slow
def test_a_search_ends_with_one_line_if_the_database_stops_and_can_be_resumed(
    postgres: Postgres, name: str
) -> None:
    command: list[Any] = [
        *(sys.executable, "-m", "mnistctl", "tune", name, "--arch", "mlp", "--dataset", "digits"),
        *("--epochs", "20", "--device", "cpu", "--trials", "6", "--confirm", "0", "--no-plots"),
        *("--workers", "1", "--storage", postgres.url),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(folder_of(name).glob("trial-1/last.safetensors")):
        assert time.monotonic() < deadline
        time.sleep(0.2)

    postgres.stop()
    _, err = process.communicate(timeout=60)

    assert process.returncode == 3
    assert "Traceback" not in err
    assert PASSWORD not in err
    postgres.start()
    result = mnistctl.tune(resume=name, storage=postgres.url, workers=1, plots=False)
    assert len(result.trials) == 6
