"""Special files, odd names, closed streams, signals and surroundings."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnistctl.run.run_folder import Run
from tests.attacks.attack import attack
from tests.helpers import environment_without_coverage

PROGRAM = str(Path(sys.executable).with_name("mnistctl"))
LONG = "n" * 5_000
TRAIN = ("train", "--dataset", "digits", "--arch", "linear", "--no-plots", "--device", "cpu")


@pytest.fixture
def special_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of this kind, which must not be read like a regular one."""
    path = tmp_path / "special.png"
    match request.param:
        case "a pipe":
            os.mkfifo(path)
        case "a link to a pipe":
            os.mkfifo(tmp_path / "pipe")
            path.symlink_to("pipe")
        case "an endless device":
            path.symlink_to("/dev/zero")
        case "a folder":
            path.mkdir()
        case "a link to itself":
            path.symlink_to(path.name)
        case "a broken link":
            path.symlink_to("nothing")
        case "10 GB":
            with path.open("wb") as file:
                file.truncate(10_000_000_000)  # sparse: it takes no disk space
    return path


KINDS = (
    *("a pipe", "a link to a pipe", "an endless device", "a folder", "a link to itself"),
    *("a broken link", "10 GB"),
)


@pytest.mark.parametrize("special_file", [kind for kind in KINDS if kind != "a folder"], indirect=True)
def test_a_special_file_in_place_of_a_picture_is_not_read(special_file: Path, tmp_path: Path) -> None:
    outcome = attack("predict", special_file, folder=tmp_path)

    outcome.check_survived()
    assert outcome.code == 6
    assert len(outcome.err.splitlines()) <= 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("info", "special.png"), 4),
        (("predict", "--from-file", "special.png"), 2),
        (("train", "--config", "special.png"), 2),
    ],
)
@pytest.mark.parametrize("special_file", KINDS, indirect=True)
def test_a_special_file_in_place_of_another_file_is_not_read(
    arguments: tuple[str, ...], code: int, special_file: Path, tmp_path: Path
) -> None:
    outcome = attack(*arguments, folder=tmp_path)

    outcome.check_failed(code, "special.png")


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "result.json"])
@pytest.mark.parametrize("special_file", ["a pipe", "an endless device", "10 GB"], indirect=True)
def test_a_special_file_in_a_run_folder_is_not_read(
    name: str, special_file: Path, run_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    for path in run_folder.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / name).unlink()
    (folder / name).symlink_to(special_file)

    for arguments in (("runs",), ("train", "--resume", "run")):
        outcome = attack(*arguments, folder=tmp_path)
        outcome.check_survived()


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", LONG),
        ("eval", LONG),
        ("predict", "x.png", "--model", LONG),
        ("predict", "--from-file", LONG),
        ("export", "bundled", "-o", LONG),
        ("train", "--arch", f"{LONG}.py:Net"),
        ("train", "--config", LONG),
        ("train", "--init", LONG),
        ("train", "--resume", LONG),
        ("train", "--name", LONG),
        ("train", "--dataset", LONG),
        ("train", "--dataset", "mnist", "--data-dir", LONG),
        ("label", LONG),
        ("plot", LONG),
        ("compare", LONG, "bundled"),
        ("ensemble", LONG, "bundled"),
        ("ensemble", "bundled", "bundled", "-o", LONG),
        ("benchmark", LONG),
        ("benchmark", "bundled", "-o", f"{LONG}.png"),
        ("download", "mnist", "--from", LONG),
        ("data", "--dataset", LONG),
    ],
    ids=lambda arguments: " ".join(arguments).replace(LONG, "LONG"),
)
def test_a_name_that_is_too_long_gives_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    outcome = attack(*arguments, folder=tmp_path, variables={"MNISTCTL_DATA_DIR": str(tmp_path)})

    outcome.check_survived()
    assert outcome.code in {1, 2, 3, 4}
    (line,) = (line for line in outcome.err.splitlines() if line.startswith("mnistctl: "))
    assert len(line) < 1_000


def test_a_data_folder_whose_name_is_too_long_gives_one_line(tmp_path: Path) -> None:
    outcome = attack("data", folder=tmp_path, variables={"MNISTCTL_DATA_DIR": LONG})

    outcome.check_survived()
    assert outcome.code in {1, 2, 3}


def test_a_name_with_a_zero_byte_costs_that_picture_alone(tmp_path: Path, picture: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a\0b.png\n" + os.fsencode(picture) + b"\n")

    outcome = attack("predict", "--from-file", "list.txt", "--csv", folder=tmp_path)

    outcome.check_survived()
    assert outcome.code == 6
    assert picture.name in outcome.out


def run_in_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line, PROGRAM],
        cwd=folder,
        env=environment_without_coverage(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize("option", ["", "--csv", "--json", "--jsonl"])
def test_a_closed_standard_output_is_an_error_and_no_lost_result(
    option: str, picture: Path, tmp_path: Path
) -> None:
    answer = run_in_shell(f'"$0" predict {picture.name} {option} >&-', tmp_path)

    assert answer.returncode == 1
    assert answer.stderr == "mnistctl: standard output is closed; send it to a file or to /dev/null\n"


@pytest.mark.parametrize(
    "line",
    [
        '"$0" predict - <&-',
        '"$0" predict --from-file - <&-',
        'yes | head -c 600000000 | "$0" predict -',
    ],
)
def test_a_closed_or_endless_standard_input_gives_one_line(line: str, tmp_path: Path) -> None:
    answer = run_in_shell(line, tmp_path)

    assert answer.returncode in {2, 6}
    assert "Traceback" not in answer.stderr
    assert answer.stderr.count("\n") <= 3


def test_a_closed_standard_error_does_not_stop_a_command(picture: Path, tmp_path: Path) -> None:
    answer = run_in_shell(f'"$0" predict {picture.name} --csv 2>&-', tmp_path)

    assert answer.returncode == 0
    assert picture.name in answer.stdout


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"TORCHELASTIC_RUN_ID": "x"}, 2),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "abc", "RANK": "0"}, 2),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "-1"}, 2),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "port"}, 2),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "9999999"}, 1),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "9"}, 1),
    ],
)
def test_variables_of_torchrun_set_by_hand_give_one_line(
    variables: dict[str, str], code: int, tmp_path: Path
) -> None:
    variables = {"MASTER_ADDR": "127.0.0.1", **variables}

    outcome = attack(*TRAIN, "--epochs", "1", folder=tmp_path, variables=variables, cpu_s=60)

    outcome.check_failed(code, "torchrun")


@pytest.mark.parametrize("limit_mb", [300, 600, 1_000, 2_000])
@pytest.mark.parametrize("command", ["eval bundled", "train --dataset digits --epochs 1 --no-plots"])
def test_too_little_address_space_gives_one_line(command: str, limit_mb: int, tmp_path: Path) -> None:
    line = f'ulimit -v {limit_mb * 1000}; OPENBLAS_NUM_THREADS=1 "$0" {command}'

    answer = run_in_shell(line, tmp_path)

    assert "Traceback" not in answer.stderr
    assert answer.returncode in {0, 1, 3}


HUGE_NETS = (
    ("--arch", "mlp", "--hidden", ",".join(["8192"] * 100)),
    ("--arch", "cnn", "--widths", ",".join(["8192"] * 20)),
)


@pytest.mark.parametrize("net", HUGE_NETS, ids=lambda net: net[1])
def test_a_net_that_does_not_fit_gives_one_line(net: tuple[str, ...], tmp_path: Path) -> None:
    line = f'ulimit -v 8000000; "$0" {" ".join(TRAIN[:3])} --no-plots --epochs 1 {" ".join(net)}'

    answer = run_in_shell(line, tmp_path)

    assert answer.returncode in {1, 2}
    assert "Traceback" not in answer.stderr
    assert "mnistctl: " in answer.stderr


@pytest.mark.parametrize("content", [b"text.usetex: True\n", b"\xff\xfe", b"axes.titlesize: none\n"])
def test_a_matplotlibrc_in_the_working_folder_is_ignored(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_bytes(content)

    outcome = attack("data", "--dataset", "digits", "-o", "plot.png", folder=tmp_path)

    outcome.check_succeeded()
    assert (tmp_path / "plot.png").stat().st_size > 1_000


@pytest.mark.parametrize("home", [None, "/nonexistent", "/proc/1"])
def test_a_home_folder_that_cannot_be_written_adds_no_message(
    home: str | None, picture: Path, onnx_path: Path, tmp_path: Path
) -> None:
    prefix = "env -u HOME -u XDG_CACHE_HOME" if home is None else f"env -u XDG_CACHE_HOME HOME={home}"
    command = f"predict {picture.name} --model {onnx_path} --annotate out.png"

    answer = run_in_shell(f'{prefix} "$0" {command}', tmp_path)

    assert answer.returncode == 0, answer.stderr
    assert "atplotlib" not in answer.stderr
    assert "elemetry" not in answer.stderr


@contextlib.contextmanager
def long_training(folder: Path, *, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """A training that has saved its state at least once, and would take long."""
    command = (*prefix, PROGRAM, *TRAIN, "--epochs", "4000", "--name", "long", "--save-every", "1steps")
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment_without_coverage(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            while not (folder / "runs/long/last.safetensors").exists():
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ((signal.SIGHUP,), 129),
        ((signal.SIGHUP, signal.SIGHUP), 129),
        ((signal.SIGINT,), 130),
        ((signal.SIGTERM,), 143),
    ],
)
def test_a_signal_ends_training_with_a_saved_state(
    numbers: tuple[signal.Signals, ...], code: int, tmp_path: Path
) -> None:
    with long_training(tmp_path) as process:
        for number in numbers:
            process.send_signal(number)
        _, err = process.communicate(timeout=60)

    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "mnistctl train --resume long" in err


def test_a_closed_terminal_ends_training_with_a_saved_state(tmp_path: Path) -> None:
    import pty

    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execv(PROGRAM, [PROGRAM, *TRAIN, "--epochs", "4000", "--name", "long"])
    while b" *" not in os.read(terminal, 4096):  # until a row of the table has been printed
        pass
    os.close(terminal)
    _, status = os.waitpid(process, 0)

    assert os.waitstatus_to_exitcode(status) == 129
    assert (tmp_path / "runs/long/last.safetensors").exists()


def test_training_below_nohup_ignores_a_closed_terminal(tmp_path: Path) -> None:
    with long_training(tmp_path, prefix=("nohup",)) as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(1)

        assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGALRM, signal.SIGKILL])
def test_a_signal_that_ends_the_process_at_once_leaves_a_run_to_resume(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with long_training(tmp_path) as process:
        process.send_signal(number)
        process.communicate(timeout=60)

    assert process.returncode == -number
    monkeypatch.chdir(tmp_path)
    assert Run(Path("runs/long")).is_interrupted()


@pytest.mark.parametrize("leftover", [".lock", ".0a1b2c3d.partial/lock", None])
def test_a_run_that_was_killed_before_it_started_can_be_started_again(
    leftover: str | None, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    if leftover is not None:
        (folder / leftover).parent.mkdir(exist_ok=True)
        (folder / leftover).touch()

    outcome = attack(*TRAIN, "--epochs", "1", "--name", "run", folder=tmp_path, cpu_s=60)

    outcome.check_succeeded()
    assert (folder / "result.json").is_file()
    assert not list(folder.glob("*.partial"))


def test_a_folder_with_other_files_is_not_taken_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "notes.txt").touch()

    outcome = attack(*TRAIN, "--epochs", "1", "--name", "run", folder=tmp_path)

    outcome.check_failed(2, "run 'run' exists")


def test_asking_for_an_interrupted_run_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with long_training(tmp_path) as process:
        process.kill()
        process.communicate()
    folder = tmp_path / "runs" / "long"
    (folder / ".0a1b2c3d.partial" / "new").mkdir(parents=True)
    (folder / ".0a1b2c3d.partial" / "lock").touch()
    before = sorted(folder.rglob("*"))

    outcome = attack(*TRAIN, "--epochs", "1", "--name", "long", folder=tmp_path)

    outcome.check_failed(2, "resume it with: mnistctl train --resume long")
    assert sorted(folder.rglob("*")) == before
