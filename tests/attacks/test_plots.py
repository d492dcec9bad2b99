"""`plot` and `eval` with odd names, values, files and surroundings."""

import json
import os
import resource
import sys
from pathlib import Path

import pytest

from mnistctl.run.epoch import Epoch
from tests.attacks.attack import attack

LONG = "a" * 300


def write_run(folder: Path, *, loss: float = 0.5, epochs: int = 3) -> Path:
    """A run folder with metrics, and with a file in place of the model."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"never opened")
    lines = [
        Epoch(number, number, loss, 0.9, loss, 0.9, 0.1, 1.0, finished=True).to_json()
        for number in range(1, epochs + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A working folder with the runs a and b."""
    for name in ("a", "b"):
        write_run(tmp_path / "runs" / name)
    return tmp_path


# The file that is written


@pytest.mark.parametrize("name", ["x.bmp", "x", ".png", "x.png.gz", "x.svgz", "x.PNG "])
def test_plot_refuses_a_name_of_another_format(runs: Path, name: str) -> None:
    outcome = attack("plot", "a", "b", "-o", name, folder=runs)

    outcome.check_failed(2, "expected a name that ends in .png, .svg or .pdf")
    assert sorted(path.name for path in runs.iterdir()) == ["runs"]


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")]
)
def test_a_plot_has_the_format_of_its_name(runs: Path, suffix: str, start: bytes) -> None:
    attack("plot", "a", "b", "-o", f"x.{suffix}", folder=runs).check_succeeded()

    assert (runs / f"x.{suffix}").read_bytes().startswith(start)


@pytest.mark.parametrize(("name", "code"), [(f"{LONG}.png", 1), ("a.png/x.png", 1), ("folder.png", 2)])
def test_plot_survives_a_file_that_cannot_be_written(runs: Path, name: str, code: int) -> None:
    (runs / "a.png").write_bytes(b"")
    (runs / "folder.png").mkdir()

    outcome = attack("plot", "a", "b", "-o", name, folder=runs)

    outcome.check_survived()
    assert outcome.code in (code, 2)
    assert "mnistctl: " in outcome.err


def test_a_disk_that_is_full_leaves_no_part_of_a_plot(runs: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    command = (
        "sh",
        "-c",
        'ulimit -f 4; exec "$0" "$@"',
        str(Path(sys.executable).with_name("mnistctl")),
    )

    outcome = attack("plot", "a", "b", "-o", "x.png", folder=runs, command=command)

    outcome.check_failed(1, "x.png: cannot be written: File too large")
    assert not list(runs.glob("*x.png*"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == limit


# Titles, labels and names


@pytest.mark.parametrize(
    "title",
    [b"$\\frac{", b"\xff\xfe", b"\x1b[31m", b"a\nb", b"t" * 2_000, b"", "数字 \U0001f600".encode()],
)
def test_any_title_and_any_label_can_be_drawn(runs: Path, title: bytes) -> None:
    label = title.replace(b",", b" ")
    arguments = ("plot", "a", "b", "-o", "x.png", "--title", title, "--labels", label + b"," + label)

    attack(*arguments, folder=runs).check_succeeded()

    assert (runs / "x.png").stat().st_size < 1_000_000


@pytest.mark.parametrize("labels", ["A", "A,B,C", "," * 100])
def test_plot_refuses_another_number_of_labels(runs: Path, labels: str) -> None:
    attack("plot", "a", "b", "--labels", labels, folder=runs).check_failed(2, "for 2 runs")


def test_a_run_with_an_odd_name_can_be_drawn(runs: Path) -> None:
    os.rename(os.fsencode(runs / "runs" / "b"), os.fsencode(runs / "runs") + b"/\xffb\n$\x1b[31m")

    attack("plot", "a", b"runs/\xffb\n$\x1b[31m", "-o", "x.svg", folder=runs).check_succeeded()


@pytest.mark.parametrize("loss", [0.0, 1e-300, 1e38])
def test_any_valid_loss_can_be_drawn(tmp_path: Path, loss: float) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / "runs" / name, loss=loss, epochs=1)

    attack("plot", "a", "b", "-o", "x.png", folder=tmp_path).check_succeeded()


# The working folder


@pytest.mark.parametrize(
    "content", [b"text.usetex: True\nbackend: nonsense\nfont.size: 60\n", b"\xff\xfe", b"\0" * 100]
)
def test_a_matplotlibrc_in_the_working_folder_changes_no_plot(runs: Path, content: bytes) -> None:
    attack("plot", "a", "b", "-o", "before.png", folder=runs).check_succeeded()
    (runs / "matplotlibrc").write_bytes(content)

    attack("plot", "a", "b", "-o", "after.png", folder=runs).check_succeeded()

    assert (runs / "after.png").read_bytes() == (runs / "before.png").read_bytes()


# eval

DIGITS = ("eval", "bundled", "--dataset", "digits", "--no-plots")


@pytest.mark.parametrize(
    ("split", "text"),
    [
        ("test,validatoin", "did you mean 'validation'?"),
        ("", "unknown split"),
        (",", "unknown split"),
        ("test, train", "unknown split"),
        ("../test", "unknown split"),
    ],
)
def test_eval_refuses_an_unknown_split(tmp_path: Path, split: str, text: str) -> None:
    attack(*DIGITS, "--split", split, folder=tmp_path).check_failed(2, text)


def test_eval_measures_a_split_that_is_named_twice_once(tmp_path: Path) -> None:
    outcome = attack(*DIGITS, "--split", "test,test", "--json", folder=tmp_path)

    outcome.check_succeeded()
    assert len(json.loads(outcome.out)) == 1


@pytest.mark.parametrize("size", ["0", "-1", str(10**30), "1e3", "nan"])
def test_eval_survives_an_odd_batch_size(tmp_path: Path, size: str) -> None:
    outcome = attack(*DIGITS, "--batch-size", size, folder=tmp_path)

    outcome.check_survived()
    assert outcome.code in (0, 2)


@pytest.mark.parametrize(
    "name", ["existing.csv", "folder", "/dev/null", "/dev/full", "/dev/null/x.csv", f"{LONG}.csv"]
)
def test_eval_survives_predictions_in_odd_places(tmp_path: Path, name: str) -> None:
    (tmp_path / "existing.csv").write_text("mine")
    (tmp_path / "folder").mkdir()

    outcome = attack(*DIGITS, "--predictions", name, folder=tmp_path)

    outcome.check_survived()
    assert outcome.code in (1, 2)
    assert (tmp_path / "existing.csv").read_text() == "mine"


@pytest.mark.parametrize("name", ["file", "file/plots", "/dev/null", LONG])
def test_eval_survives_plots_in_odd_places(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")

    outcome = attack("eval", "bundled", "--dataset", "digits", "--plots", name, folder=tmp_path)

    outcome.check_survived()
    assert outcome.code in (1, 2)
