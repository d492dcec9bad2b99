"""Every recipe goes the whole way: train, save, load, export, parity."""

from pathlib import Path

import numpy as np
import pytest

import mnistctl
from mnistctl import datasets
from mnistctl.api import models
from tests.conftest import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_exported_is_what_was_trained(name: str) -> None:
    run = mnistctl.train(recipe=name, dataset="digits", device="cpu", epochs=1, plots=False)
    report = mnistctl.evaluate(run.run, split="validation")
    (exported,) = mnistctl.export(run.run)

    images = datasets.load("digits", "test").images[:50]
    outputs = [
        models.open_predictor(path)(images)
        for path in (Path(run.run) / "model.safetensors", Path(exported.path))
    ]
    assert report.accuracy == pytest.approx(run.validation_accuracy)
    assert exported.parity["holds"] is True
    for ours, theirs in zip(*outputs, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)  # as parity has it
