"""Every recipe can be trained, saved, opened and exported."""

from pathlib import Path

import numpy as np
import pytest

import mnistctl
from mnistctl import datasets
from mnistctl.api import models
from tests.helpers import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_an_export_of_every_recipe_gives_the_outputs_of_its_checkpoint(name: str) -> None:
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
    for checkpoint_output, onnx_output in zip(*outputs, strict=True):
        np.testing.assert_allclose(checkpoint_output, onnx_output, atol=1e-4)  # the parity limit
