"""Classifiers, ensembles of them, and the calibration of a trained net."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.evaluation.report import measure
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import predict_all
from mnistctl.nn import calibration, nets, outliers
from mnistctl.nn.classifier import Classifier, Ensemble
from mnistctl.nn.torch_predictor import TorchPredictor
from mnistctl.settings import architectures, recipes
from mnistctl.types import Images

IMAGES = torch.randint(
    0, 256, (5, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def fresh_net(arch: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return nets.build(arch, arch_args=architectures.resolve(arch, {}), classes=10).eval()


def new_metadata() -> Metadata:
    return Metadata(
        arch="linear",
        arch_args={},
        parameters=1,
        dataset={"name": "digits", "sha256": ""},
        class_names=list("0123456789"),
        config={"seed": 3},
        metrics={},
        versions={},
        created="",
    )


def small_splits(*, validation_images: int) -> tuple[datasets.Split, datasets.Split]:
    train, validation = datasets.load_for_training("digits")
    return (
        train.take(slice(40), name="train"),
        validation.take(slice(validation_images), name="validation"),
    )


def test_an_ensembles_probabilities_are_the_mean_of_its_members() -> None:
    members = [
        Classifier(fresh_net("linear"), temperature=0.5),
        Classifier(fresh_net("lenet5"), temperature=2.0),
    ]

    logits, probabilities, familiarity = Ensemble(members)(IMAGES)

    first, second = (member(IMAGES) for member in members)
    torch.testing.assert_close(probabilities, (first[1] + second[1]) / 2)
    torch.testing.assert_close(familiarity, (first[2] + second[2]) / 2)
    torch.testing.assert_close(logits, probabilities.log())


def test_an_ensembles_logits_are_finite_if_all_members_are_certain() -> None:
    certain = Classifier(fresh_net("linear"), temperature=1e-4)

    logits, probabilities, _ = Ensemble([certain, certain])(IMAGES)

    assert probabilities.amax() == 1
    assert logits.isfinite().all()


@pytest.mark.parametrize("arch", [*architectures.of_task("digit"), "torchvision:squeezenet1_1"])
def test_calibration_does_not_change_the_logits_of_a_net(arch: str) -> None:
    train, validation = small_splits(validation_images=calibration.MIN_IMAGES)
    net = fresh_net(arch)
    expected = net(nets.normalise(nets.scale_pixels(IMAGES)))

    classifier, metadata = calibration.calibrate(net, new_metadata(), train, validation, images_seen=1)
    logits, probabilities, familiarity = classifier(IMAGES)

    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(probabilities, torch.softmax(expected / metadata.temperature, dim=1))
    assert ((familiarity >= 0) & (familiarity <= 1)).all()
    assert metadata.threshold is not None
    assert metadata.calibration_images == calibration.MIN_IMAGES
    assert metadata.parameters == new_metadata().parameters
    total = sum(parameter.numel() for parameter in classifier.parameters())
    assert metadata.familiarity_parameters == total - sum(
        parameter.numel() for parameter in net.parameters()
    )


@pytest.mark.parametrize(("recipe", "maximum"), [("best", 1_000_000), ("small", 300_000)])
def test_a_calibrated_model_stays_within_the_parameter_limit_of_its_recipe(
    recipe: str, maximum: int
) -> None:
    settings = recipes.find_recipe(recipe)
    train, validation = small_splits(validation_images=0)
    net = nets.build(settings.arch, arch_args=dict(settings.arch_args), classes=10)

    _, metadata = calibration.calibrate(net, new_metadata(), train, validation, images_seen=1)

    parameters = sum(parameter.numel() for parameter in net.parameters())
    assert parameters + metadata.familiarity_parameters <= maximum


@pytest.mark.parametrize("images", [0, calibration.MIN_IMAGES - 1])
def test_without_enough_validation_images_there_is_no_temperature_or_threshold(images: int) -> None:
    train, validation = small_splits(validation_images=images)

    _, metadata = calibration.calibrate(
        fresh_net("linear"), new_metadata(), train, validation, images_seen=1
    )

    assert (metadata.temperature, metadata.threshold, metadata.calibration_images) == (1.0, None, 0)
    assert "calibrated_validation_loss" not in metadata.metrics


def test_the_threshold_rejects_six_validation_images_in_a_thousand() -> None:
    familiarity = np.linspace(0, 1, 2001, dtype=np.float32)

    assert (familiarity < calibration.rejection_threshold(familiarity)).sum() == 12


def test_calibration_with_the_same_seed_gives_the_same_classifier() -> None:
    train, validation = datasets.load_for_training("digits")

    first, second = (
        calibration.calibrate(fresh_net("linear"), new_metadata(), train, validation, images_seen=1)[0]
        for _ in range(2)
    )

    for weights, same_weights in zip(first.parameters(), second.parameters(), strict=True):
        assert (weights == same_weights).all()


def test_a_trained_model_rejects_outliers_and_accepts_digits(
    checkpoint_path: Path, digits_test: tuple[Images, object]
) -> None:
    predictor = models.open_predictor(checkpoint_path)
    threshold = predictor.metadata.threshold
    assert threshold is not None
    outlier_images = outliers.make(digits_test[0], list("0123456789"), 400, seed=99)

    familiarity = predict_all(predictor, outlier_images, batch_size=256).familiarity
    report, _ = measure(predictor, datasets.load("digits", "test"), model="cnn", batch_size=256)

    assert (familiarity < threshold).mean() > 0.5  # trained for seconds, on 1,500 images
    assert report.rejected is not None
    assert report.rejected < 0.1  # other writers than those of the validation images


def test_the_temperature_lowers_the_loss_on_the_validation_images(checkpoint_path: Path) -> None:
    predictor = models.open_predictor(checkpoint_path)
    assert isinstance(predictor, TorchPredictor)
    split = datasets.load("digits", "validation")
    report, outputs = measure(predictor, split, model="cnn", batch_size=256)

    log_probabilities = torch.log_softmax(torch.from_numpy(outputs.logits), dim=1)
    uncalibrated_loss = torch.nn.functional.nll_loss(
        log_probabilities, torch.from_numpy(split.labels)
    ).item()

    metrics = predictor.metadata.metrics
    assert predictor.metadata.temperature != 1
    assert report.loss < uncalibrated_loss
    assert metrics["validation_loss"] == pytest.approx(uncalibrated_loss, rel=1e-4)
    assert metrics["calibrated_validation_loss"] == pytest.approx(report.loss, rel=1e-4)
