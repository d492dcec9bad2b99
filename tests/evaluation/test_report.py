import csv
import dataclasses
import io
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnistctl
from mnistctl import datasets
from mnistctl.api import models, plot
from mnistctl.errors import CheckFailedError, UsageError
from mnistctl.evaluation.report import measure, predictions_csv
from mnistctl.models.predictor import Outputs, interpret


def test_checkpoint_and_onnx_give_the_same_report(checkpoint_path: Path, onnx_path: Path) -> None:
    split = datasets.load("digits", "test")

    reports = [
        measure(models.open_predictor(path), split, model="model", batch_size=100)[0]
        for path in (checkpoint_path, onnx_path)
    ]

    assert reports[0].confusion == reports[1].confusion
    assert reports[0].loss == pytest.approx(reports[1].loss, abs=1e-5)
    assert sum(map(sum, reports[0].confusion)) == reports[0].images == 297
    assert reports[0].accuracy > 0.8


def test_the_batch_size_does_not_change_the_report(onnx_path: Path) -> None:
    split = datasets.load("digits", "validation")
    predictor = models.open_predictor(onnx_path)

    reports = [measure(predictor, split, model="model", batch_size=size)[0] for size in (1, 1_000)]

    assert reports[0].confusion == reports[1].confusion


def test_a_dataset_with_other_classes_is_rejected(onnx_path: Path) -> None:
    split = datasets.load("digits", "test")
    other = datasets.Split("letters", "test", split.images, split.labels, ("a", "b"), "")

    with pytest.raises(UsageError, match=r"the model has 10 classes .* 'letters' has 2"):
        measure(models.open_predictor(onnx_path), other, model="model", batch_size=9)

    names = (*split.class_names[:-1], "ten")
    renamed = dataclasses.replace(split, class_names=names)
    with pytest.raises(UsageError, match="class 9 is '9' in the model, but 'ten' in dataset 'digits'"):
        measure(models.open_predictor(onnx_path), renamed, model="model", batch_size=9)


def test_an_empty_split_is_rejected(onnx_path: Path) -> None:
    empty = datasets.load("digits", "test").take(np.arange(0), name="test")

    with pytest.raises(UsageError, match="the test split of 'digits' is empty"):
        measure(models.open_predictor(onnx_path), empty, model="model", batch_size=9)


def test_an_accuracy_below_the_minimum_fails_the_check(onnx_path: Path) -> None:
    split = datasets.load("digits", "test")
    report, _ = measure(models.open_predictor(onnx_path), split, model="model", batch_size=256)

    report.check_min_accuracy(None)
    report.check_min_accuracy(report.accuracy)
    with pytest.raises(CheckFailedError, match=r"is below --min-accuracy 1\.0"):
        report.check_min_accuracy(1.0)
    almost = dataclasses.replace(report, accuracy=0.98996)
    with pytest.raises(CheckFailedError, match=r"accuracy 0\.98996 .* is below --min-accuracy 0\.99"):
        almost.check_min_accuracy(0.99)


def test_the_predictions_file_has_a_row_per_image(onnx_path: Path) -> None:
    split = datasets.load("digits", "test")
    report, outputs = measure(models.open_predictor(onnx_path), split, model="model", batch_size=256)

    rows = list(csv.DictReader(io.StringIO(predictions_csv([(split, outputs)]))))

    assert [(row["split"], int(row["index"])) for row in rows] == [("test", n) for n in range(297)]
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert right / 297 == report.accuracy
    for row in rows[:20]:
        shares = {name: float(row[f"p_{name}"]) for name in split.class_names}
        assert max(shares, key=lambda name: shares[name]) == row["predicted"]
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)


def test_top_predictions_are_sorted_and_ties_go_to_the_first_class() -> None:
    image = np.full((1, 28, 28), 255, dtype=np.uint8)
    probabilities = np.array([[0.2, 0.4, 0.4]], dtype=np.float32)
    outputs = Outputs(probabilities, probabilities, probabilities.max(axis=1))

    (prediction,) = interpret(image, outputs, ["a", "b", "c"], top=9, threshold=None)

    assert prediction.label == "b"
    assert [label for label, _ in prediction.top] == ["b", "c", "a"]


def test_several_splits_give_a_report_each_and_one_predictions_file(
    onnx_path: Path, tmp_path: Path
) -> None:
    reports = mnistctl.evaluate(
        onnx_path, split=["validation", "test"], predictions=tmp_path / "all.csv", plots=tmp_path
    )
    alone = mnistctl.evaluate(onnx_path, plots=False)

    assert [(report.split, report.images) for report in reports] == [("validation", 125), ("test", 297)]
    assert dataclasses.replace(reports[1], plots=[]) == alone
    rows = csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text()))
    assert Counter(row["split"] for row in rows) == {"validation": 125, "test": 297}
    assert {f"{report.split}-confusion.png" for report in reports} < set(os.listdir(tmp_path))


def test_no_image_is_read_before_all_splits_are_checked(
    onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load_split", None)

    with pytest.raises(UsageError, match="did you mean 'validation'"):
        mnistctl.evaluate(onnx_path, split=["test", "validaton"], dataset="digits")


@pytest.mark.parametrize(
    ("layers", "reason"), [([], "the run was interrupted"), (["0"], "too few validation images")]
)
def test_a_report_says_why_a_model_is_not_calibrated(
    onnx_path: Path, layers: list[str], reason: str
) -> None:
    split = datasets.load("digits", "test")
    predictor = models.open_predictor(onnx_path)
    calibrated, _ = measure(predictor, split, model="model", batch_size=256)
    metadata = dataclasses.replace(
        predictor.metadata, calibration_images=0, familiarity_layers=layers, threshold=None
    )
    monkeypatched: Any = predictor
    monkeypatched.metadata = metadata

    report, _ = measure(predictor, split, model="model", batch_size=256)

    assert (calibrated.not_calibrated, report.not_calibrated) == (None, reason)
    assert report.rejected is None


def test_a_plot_of_mistakes_is_removed_when_there_are_none_any_more(
    onnx_path: Path, tmp_path: Path
) -> None:
    split = datasets.load("digits", "test")
    report, outputs = measure(models.open_predictor(onnx_path), split, model="model", batch_size=256)
    right = outputs.logits.argmax(axis=1) == split.labels
    paths = []
    for rows in (np.arange(len(right)), np.flatnonzero(right)):
        part = Outputs(*(values[rows] for values in outputs))
        paths.append(plot.draw_results(tmp_path, report, split.take(rows, name="test"), part))

    assert {path.name for path in paths[0]} - {path.name for path in paths[1]} == {"mistakes.png"}
    assert not (tmp_path / "mistakes.png").exists()
