"""Drawn digits are added to the training images of a run."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mnistctl
from mnistctl import datasets
from mnistctl.api.training import session
from mnistctl.settings.train_settings import TrainSettings


def test_variants_follow_the_training_images_and_leave_the_validation_images_alone() -> None:
    train, validation = session.load_splits(TrainSettings(dataset="digits"), None, None)
    settings = TrainSettings(dataset="digits", variants=50)

    larger, same_validation = session.load_splits(settings, None, None)

    assert len(larger.images) == len(larger.labels) == len(train.images) + 50
    assert np.array_equal(larger.images[:-50], train.images)
    assert np.array_equal(same_validation.images, validation.images)


def test_a_dataset_with_other_classes_gets_no_variants(caplog: pytest.LogCaptureFixture) -> None:
    letters = replace(
        datasets.load("digits", "train"), class_names=list("abcdefghij"), dataset="letters"
    )

    with caplog.at_level(logging.INFO):
        train = session._add_variants(letters, TrainSettings(variants=50))

    assert train is letters
    assert "no variants are added: they are digits, and letters has other classes" in caplog.text


@pytest.mark.mnist
def test_the_bundled_digits_are_added_with_the_variants(mnist_dir: Path) -> None:
    settings = TrainSettings(dataset="mnist", variants=1)

    train, _ = session.load_splits(replace(settings, variants=0), None, mnist_dir)
    larger, _ = session.load_splits(settings, None, mnist_dir)

    others = datasets.load("digits", "train")
    assert len(larger.images) == len(train.images) + 1 + len(others.images)
    assert np.array_equal(larger.images[-len(others.images) :], others.images)


def test_a_run_with_variants_takes_more_steps() -> None:
    steps = []
    for variants in (0, 500):
        run = mnistctl.train(
            arch="linear",
            dataset="digits",
            epochs=1,
            min_steps=0,
            batch_size=100,
            variants=variants,
            plots=False,
            device="cpu",
        )
        (row,) = (Path(run.run) / "metrics.jsonl").read_text().splitlines()
        steps.append(json.loads(row)["steps"])

    assert steps[1] == steps[0] + 5
