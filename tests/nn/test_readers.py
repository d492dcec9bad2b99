"""Readers, ensembles of them, and what makes a trained net an honest one."""

import numpy as np
import pytest
import torch

from mnistctl import datasets
from mnistctl.api import models
from mnistctl.evaluation.report import measure
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import predict_all
from mnistctl.nn import calibration, classifier, nets, outliers
from mnistctl.nn.torch_predictor import TorchPredictor
from mnistctl.settings import architectures, recipes
from mnistctl.types import Images

CPU = torch.device("cpu")
IMAGES = torch.randint(
    0, 256, (5, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def fresh(arch: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return nets.build(arch, arch_args=architectures.resolve(arch, {}), classes=10).eval()


def about(**changes: object) -> Metadata:
    values = {
        "arch": "linear",
        "arch_args": {},
        "parameters": 1,
        "dataset": {"name": "digits", "sha256": ""},
        "class_names": list("0123456789"),
        "config": {"seed": 3},
        "metrics": {},
        "versions": {},
        "created": "",
    }
    return Metadata(**(values | changes))  # type: ignore[arg-type]


def test_an_ensembles_probabilities_are_the_mean_of_its_members() -> None:
    members = [
        classifier.Classifier(fresh("linear"), temperature=0.5),
        classifier.Classifier(fresh("lenet5"), temperature=2.0),
    ]

    logits, probabilities, familiarity = classifier.Ensemble(members)(IMAGES)

    of_members = [member(IMAGES) for member in members]
    torch.testing.assert_close(probabilities, (of_members[0][1] + of_members[1][1]) / 2)
    torch.testing.assert_close(familiarity, (of_members[0][2] + of_members[1][2]) / 2)
    torch.testing.assert_close(logits, probabilities.log())


def test_an_ensembles_logits_are_finite_where_all_are_sure() -> None:
    sure = classifier.Classifier(fresh("linear"), temperature=1e-4)

    logits, probabilities, _ = classifier.Ensemble([sure, sure])(IMAGES)

    assert probabilities.amax() == 1
    assert logits.isfinite().all()


@pytest.mark.parametrize("arch", [*architectures.ARCHITECTURES, "torchvision:squeezenet1_1"])
def test_completing_a_net_leaves_its_answers_as_they_are(arch: str) -> None:
    train, validation = datasets.load_for_training("digits")
    few = train.take(slice(40), name="train")
    net = fresh(arch)
    before = net(nets.normalise(nets.scale_pixels(IMAGES)))

    reader, metadata = calibration.complete(
        net, about(), few, validation.take(slice(30), name="validation"), images_seen=1
    )
    logits, probabilities, familiarity = reader(IMAGES)

    torch.testing.assert_close(logits, before)
    torch.testing.assert_close(probabilities, torch.softmax(before / metadata.temperature, dim=1))
    assert ((familiarity >= 0) & (familiarity <= 1)).all()
    assert metadata.threshold is not None
    assert metadata.calibration_images == 30
    assert metadata.parameters > sum(item.numel() for item in net.parameters())


@pytest.mark.parametrize(("recipe", "most"), [("best", 1_000_000), ("small", 300_000)])
def test_a_whole_model_has_no_more_parameters_than_its_recipe_is_for(recipe: str, most: int) -> None:
    config = recipes.find_recipe(recipe)
    train, validation = datasets.load_for_training("digits")
    few = train.take(slice(40), name="train")
    none = validation.take(slice(0), name="validation")

    net = nets.build(config.arch, arch_args=dict(config.arch_args), classes=10)
    _, metadata = calibration.complete(net, about(), few, none, images_seen=1)

    assert metadata.parameters <= most


def test_without_validation_nothing_is_calibrated() -> None:
    train, validation = datasets.load_for_training("digits")

    _, metadata = calibration.complete(
        fresh("linear"), about(), train, validation.take(slice(0), name="validation"), images_seen=1
    )

    assert (metadata.temperature, metadata.threshold, metadata.calibration_images) == (1.0, None, 0)


def test_the_threshold_refuses_six_validation_images_in_a_thousand() -> None:
    familiarity = np.linspace(0, 1, 2001, dtype=np.float32)

    assert (familiarity < calibration.threshold(familiarity)).sum() == 12


def test_the_same_seed_fits_the_same_reader() -> None:
    train, validation = datasets.load_for_training("digits")

    made = [
        calibration.complete(fresh("linear"), about(), train, validation, images_seen=1)[0]
        for _ in range(2)
    ]

    for first, again in zip(made[0].parameters(), made[1].parameters(), strict=True):
        assert (first == again).all()


def test_a_trained_model_knows_digits_from_what_is_none(
    checkpoint_path: str, digits_test: tuple[Images, object]
) -> None:
    predictor = models.open_predictor(checkpoint_path)  # type: ignore[arg-type]
    threshold = predictor.metadata.threshold
    assert threshold is not None
    strange = outliers.make(digits_test[0], list("0123456789"), 400, seed=99)

    refused = (predict_all(predictor, strange, batch_size=256).familiarity < threshold).mean()
    report, _ = measure(predictor, datasets.load("digits", "test"), model="it", batch_size=256)

    assert refused > 0.5  # a net of seconds, on 1,500 images
    assert report.rejected is not None
    assert report.rejected < 0.1  # other writers than those it was fitted on


def test_calibrating_makes_probabilities_hold_better(checkpoint_path: str) -> None:
    predictor = models.open_predictor(checkpoint_path)  # type: ignore[arg-type]
    assert isinstance(predictor, TorchPredictor)
    split = datasets.load("digits", "validation")
    report, outputs = measure(predictor, split, model="it", batch_size=256)

    as_it_came = torch.softmax(torch.from_numpy(outputs.logits), dim=1)
    loss = torch.nn.functional.nll_loss(as_it_came.log(), torch.from_numpy(split.labels)).item()

    assert predictor.metadata.temperature != 1
    assert report.loss < loss
