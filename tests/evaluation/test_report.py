import csv
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest

from mnistctl import datasets
from mnistctl.api import models
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

    rows = list(csv.DictReader(io.StringIO(predictions_csv(split, outputs))))

    assert [int(row["index"]) for row in rows] == list(range(297))
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
