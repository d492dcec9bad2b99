"""`eval` of several splits, and the files that `plot` writes."""

import json
from pathlib import Path

from tests.helpers import Cli


def test_several_splits_are_shown_side_by_side(cli: Cli, onnx_path: Path) -> None:
    answer = cli("eval", onnx_path, "--split", "train,validation,test", "--no-plots", "-q")

    lines = answer.out.splitlines()
    assert answer.code == 0, answer.err
    assert lines[0].split() == ["digits", "train", "validation", "test"]
    assert lines[1].split() == ["images", "1,375", "125", "297"]
    assert [line.split("  ")[0] for line in lines[2:]] == [
        *("accuracy", "95% interval, from", "to", "calibrated loss", "calibration error", "rejected")
    ]
    assert max(map(len, lines)) < 60


def test_several_splits_are_a_list_of_reports_in_json(cli: Cli, onnx_path: Path) -> None:
    arguments = ("eval", onnx_path, "--no-plots", "--json", "--split")
    several = json.loads(cli(*arguments, "validation,test").out)
    alone = [json.loads(cli(*arguments, split).out) for split in ("validation", "test")]

    assert several == alone


def test_the_minimum_accuracy_holds_for_every_split(cli: Cli, onnx_path: Path) -> None:
    accuracies = {
        report["split"]: report["accuracy"]
        for report in json.loads(
            cli("eval", onnx_path, "--no-plots", "--json", "--split", "train,test").out
        )
    }
    worst = min(accuracies, key=lambda split: accuracies[split])
    limit = sum(accuracies.values()) / 2

    answer = cli("eval", onnx_path, "--split", "train,test", "--min-accuracy", str(limit))

    assert answer.code == 6
    assert f"on digits {worst} is below --min-accuracy" in answer.err


def test_plots_of_several_splits_have_their_names(cli: Cli, onnx_path: Path) -> None:
    answer = cli("eval", onnx_path, "--split", "train,test", "--plots", "drawn")

    names = {path.name for path in Path("drawn").iterdir()}
    assert {"train-confusion.png", "test-confusion.png"} < names
    assert f"{len(names)} plots in drawn" in answer.out


def test_plot_writes_the_curves_of_one_run_into_a_file_of_any_format(
    cli: Cli, run_folder: Path
) -> None:
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        answer = cli("plot", run_folder, "--output", f"slide{suffix}", "--title", "Exercise 1")

        assert answer.out.splitlines() == [f"slide{suffix}"]
        assert Path(f"slide{suffix}").read_bytes().startswith(start)


def test_plot_labels_the_runs_and_has_a_title(cli: Cli, run_folder: Path) -> None:
    arguments = ("plot", run_folder, run_folder, "--output")
    cli(*arguments, "plain.svg")
    cli(*arguments, "labelled.svg", "--title", "Exercise 1", "--labels", "Adam, SGD")

    plain, labelled = (Path(f"{name}.svg").read_text() for name in ("plain", "labelled"))
    assert all(f"<!-- {text} -->" in labelled for text in ("Exercise 1", "Adam", "SGD"))
    assert f"<!-- {run_folder.name} -->" in plain
