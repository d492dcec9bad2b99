"""Commands whose stderr is a terminal: the live display does not change the results on stdout."""

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnistctl.cli import app
from tests.cli.test_json_keys import COMMANDS, inputs  # noqa: F401 - a fixture
from tests.helpers import ROOT

pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")

PICTURES = 40
PROGRAM = ("-m", "mnistctl")

# A program with one small dataset that has no mirrors.
TINY_PROGRAM = """
from pathlib import Path
from mnistctl.cli import app
from mnistctl.datasets import catalog
from mnistctl.system import files
from tests.helpers import tiny_dataset
content = Path("source/labels-idx1-ubyte").read_bytes()
file = catalog.RawFile("labels-idx1-ubyte", len(content), files.sha256(content))
catalog.DATASETS = {"tiny": tiny_dataset(file)}
app.run()
"""


# The output of these commands has times, which differ from one run to the next.
TIMED = ("train", "benchmark", "doctor")
# These do less than in COMMANDS.
QUICK = {
    "train": "train --dataset digits --device cpu --arch linear --epochs 0.2 --no-plots",
    "eval": "eval {onnx} --no-plots",
    "benchmark": "benchmark {onnx}",
    "tune": "tune b --dataset digits --device cpu --arch linear --epochs 0.2 --trials 1 --confirm 0",
    "data": "data --dataset digits --json",  # as text, it draws samples on a terminal only
}


def stdout_with_terminal(*arguments: str | Path, program: tuple[str, ...] = PROGRAM) -> str:
    """What a command writes to a pipe on stdout while its stderr is a pseudo-terminal."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
    )
    os.close(terminal)
    drain = threading.Thread(target=_drain, args=(controller,))
    drain.start()
    out, _ = process.communicate(timeout=120)
    drain.join()
    os.close(controller)
    assert process.returncode == 0
    return out


def _drain(controller: int) -> None:
    try:
        while os.read(controller, 65_536):
            pass
    except OSError:  # the other end is closed
        pass


@pytest.fixture
def pictures(picture: Path) -> Path:
    """A folder of many copies of one picture."""
    folder = Path("pictures")
    folder.mkdir()
    for number in range(PICTURES):
        (folder / f"{number:02}.png").write_bytes(picture.read_bytes())
    return folder


def test_predict_prints_every_picture_as_jsonl(pictures: Path) -> None:
    out = stdout_with_terminal("predict", pictures, "--jsonl", "--model", "bundled")

    assert len([json.loads(line) for line in out.splitlines()]) == PICTURES


def test_predict_prints_every_picture_as_json(pictures: Path) -> None:
    out = stdout_with_terminal("predict", pictures, "--json", "--model", "bundled")

    assert len(json.loads(out)) == PICTURES


def test_predict_prints_every_picture_as_csv(pictures: Path) -> None:
    out = stdout_with_terminal("predict", pictures, "--csv", "--model", "bundled")

    assert len(out.splitlines()) == PICTURES + 1


def test_predict_prints_every_picture_as_text(pictures: Path) -> None:
    out = stdout_with_terminal("predict", pictures, "--model", "bundled")

    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        str(pictures / f"{number:02}.png") for number in range(PICTURES)
    ]


def test_train_prints_whole_json() -> None:
    out = stdout_with_terminal("train", "--dataset", "digits", "--epochs", "1", "--json")

    assert json.loads(out)["dataset"] == "digits"


def test_eval_prints_whole_json() -> None:
    out = stdout_with_terminal("eval", "bundled", "--dataset", "digits", "--robustness", "--json")

    assert json.loads(out)["images"] == 297


def test_export_prints_whole_json(run_folder: Path) -> None:
    out = stdout_with_terminal("export", run_folder, "--output", "model.onnx", "--json")

    assert json.loads(out)[0]["bytes"] == Path("model.onnx").stat().st_size


def test_download_prints_whole_json() -> None:
    source = Path("source/labels-idx1-ubyte")
    source.parent.mkdir()
    source.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 3]))

    out = stdout_with_terminal(
        "download", "tiny", "--from", "source", "--json", program=("-c", TINY_PROGRAM)
    )

    assert [file["status"] for file in json.loads(out)] == ["copied"]


def test_data_prints_whole_json() -> None:
    out = stdout_with_terminal("data", "--dataset", "digits", "--json")

    assert json.loads(out)["dataset"] == "digits"


@contextlib.contextmanager
def collected(write_end: int, read_end: int, chunks: list[bytes]) -> Iterator[None]:
    """Collect what is written to one end of a pipe or a pseudo-terminal, until the block ends.

    It does not wait until all copies of that end are closed: a helper process that Python started in
    the block, and that outlives it, may have one.
    """
    is_over = threading.Event()

    def collect() -> None:
        while True:
            was_over = is_over.is_set()
            if select.select([read_end], [], [], 0.01)[0]:
                chunks.append(os.read(read_end, 65_536))
            elif was_over:
                return

    reader = threading.Thread(target=collect, daemon=True)
    reader.start()
    try:
        yield
    finally:
        is_over.set()
        reader.join()
        os.close(write_end)
        os.close(read_end)


def stdout_of(arguments: list[str], kind: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What a command writes to a file, a pipe or a terminal as stdout, while stderr is a terminal."""
    chunks: list[bytes] = []
    controller, terminal = pty.openpty()
    with contextlib.ExitStack() as stack:
        stack.enter_context(collected(terminal, controller, []))
        if kind == "file":
            write_end = os.open("stdout", os.O_RDWR | os.O_CREAT)
        else:
            read_end, write_end = os.pipe() if kind == "pipe" else pty.openpty()
            stack.enter_context(collected(write_end, read_end, chunks))
        with (
            monkeypatch.context() as patch,
            open(write_end, "w", encoding="utf-8", closefd=False) as stdout,
            open(terminal, "w", encoding="utf-8", closefd=False) as stderr,
            open(terminal, encoding="utf-8", closefd=False) as stdin,
        ):
            patch.setattr(sys, "stdin", stdin)
            patch.setattr(sys, "stdout", stdout)
            patch.setattr(sys, "stderr", stderr)
            app.main(arguments)
        if kind == "file":
            os.close(write_end)
            return Path("stdout").read_bytes()
    return b"".join(chunks)


def cases_of(name: str) -> list[str]:
    """The arguments of a command that print everything that it can print, and work little."""
    cases = [arguments for case, arguments in COMMANDS.items() if re.match(rf"{name}\b", case)]
    if name == "predict":
        return [
            *cases,
            *(f"{case} {style}" for case in cases for style in ("--json", "--jsonl", "--csv")),
        ]
    return [QUICK.get(name, case) for case in cases[:1]]


@pytest.mark.parametrize(
    "name", sorted({str(command.name) for command in app.app.registered_commands} - {"serve"})
)
def test_stdout_has_the_same_bytes_in_a_file_a_pipe_and_a_terminal(
    name: str,
    inputs: dict[str, Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Wide enough that no table is folded.
    variables = {"COLUMNS": "500", "LINES": "50", "TERM": "xterm-256color", "MNISTCTL_DATA_DIR": "data"}
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    cases = cases_of(name)
    assert cases, f"no arguments for {name} in COMMANDS"
    start = Path.cwd()
    folder = start.with_name(f"{start.name}-run")
    for case in cases:
        outputs = []
        for kind in ("file", "pipe", "terminal"):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(start, folder)
            monkeypatch.chdir(folder)
            out = stdout_of([word.format(**inputs) for word in case.split()], kind, monkeypatch)
            if kind == "terminal":
                out = re.sub(rb"\x1b\[[\d;]*m", b"", out.replace(b"\r\n", b"\n"))  # colours
            if name in TIMED:  # times differ, and so do the widths of their columns
                out = re.sub("( |─|━)+".encode(), b" ", re.sub(rb"[\d.,]+", b"0", out))
            outputs.append(out)

        assert outputs[0] or "damaged" in case, case
        assert outputs[0] == outputs[1] == outputs[2], case
