"""Training a detector on composed pages: it learns, resumes bit for bit, and is calibrated."""

import contextlib
import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import mnistctl
from mnistctl.errors import UsageError
from mnistctl.models import checkpoint
from mnistctl.nn import detector, nets, tasks, torch_page_predictor
from mnistctl.nn.trainer import Trainer
from mnistctl.pages import stream
from mnistctl.run.epoch import Epoch
from mnistctl.settings import recipes
from mnistctl.settings.train_settings import TrainSettings
from tests.nn.test_nn import Splits, splits

__all__ = ["splits"]

CPU = torch.device("cpu")


def settings(**changes: object) -> TrainSettings:
    base = recipes.find_recipe("numbers").replace(epochs=0.05, min_steps=0, widths=(8, 8, 8, 8))
    return base.replace(batch_size=8, **changes)


def build(settings: TrainSettings) -> torch.nn.Module:
    torch.manual_seed(settings.seed)
    return nets.build(settings.arch, arch_args=dict(settings.arch_args), classes=10)


def fit(trainer: Trainer) -> Epoch:
    for _ in trainer.run():
        pass
    return trainer.measure()


def test_a_detector_learns_to_find_digits(splits: Splits) -> None:
    train, validation = splits
    config = settings(epochs=0.6, widths=(12, 16, 24, 32), ema=0.0)

    epoch = fit(
        Trainer(build(config), config, train, validation.take(slice(40), name="validation"), device=CPU)
    )

    assert epoch.validation_loss is not None
    assert epoch.validation_accuracy is not None
    assert epoch.train_loss < 6
    assert epoch.validation_loss < 6  # a fresh net has about 40


def test_the_same_settings_give_the_same_detector_and_another_seed_another(splits: Splits) -> None:
    train, _ = splits
    none = train.take(slice(0), name="validation")
    configs = [settings(seed=seed) for seed in (0, 0, 1)]
    trainers = [Trainer(build(configs[0]), config, train, none, device=CPU) for config in configs]

    losses = [fit(trainer).train_loss for trainer in trainers]

    assert losses[0] == losses[1] != losses[2]


def test_a_detector_resumed_in_an_epoch_is_the_same_bit_for_bit(splits: Splits) -> None:
    train, _ = splits
    none = train.take(slice(0), name="validation")
    config = settings()
    whole, first, rest = build(config), build(config), build(config)
    fit(Trainer(whole, config, train, none, device=CPU))

    trainer = Trainer(first, config, train, none, device=CPU)
    with contextlib.closing(trainer.run()) as steps:
        for _ in itertools.islice(steps, 2):
            pass
    fit(Trainer(rest, config, train, none, device=CPU, state=trainer.state()))

    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, rest.state_dict()[name]), name


def test_the_pages_of_a_batch_do_not_depend_on_the_number_of_processes(
    splits: Splits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, _ = splits
    batches = []
    for cores in (2, 4):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        composed = stream.compose_batches(train, seed=1, batches=iter(range(5)), pages=range(3))
        batches.append(list(composed))

    for one, two in zip(*batches, strict=True):
        assert all(np.array_equal(*arrays) for arrays in zip(one, two, strict=True))
    assert not np.array_equal(batches[0][0].pages, batches[0][1].pages)


def test_the_composing_processes_end_with_the_iterator(splits: Splits) -> None:
    import multiprocessing

    composed = stream.compose_batches(splits[0], seed=1, batches=itertools.count(), pages=range(3))
    next(composed)
    assert multiprocessing.active_children()

    composed.close()

    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


def test_digits_missed_and_false_alarms_are_no_right_answers() -> None:
    heat, weight = torch.zeros(1, 10, 16, 48), torch.ones(1, 1, 16, 48)
    heat[0, 3, 8, 10] = heat[0, 4, 8, 20] = heat[0, 5, 8, 30] = 1
    logits = torch.full((1, 14, 16, 48), -9.0)
    logits[0, 3, 8, 11] = 5  # found, a cell beside its centre
    logits[0, 9, 8, 20] = 5  # found, but with another label
    logits[0, 1, 2, 40] = 5  # a false alarm
    logits[0, 1, 12, 40] = 5  # another, where it does not matter
    weight[0, 0, 10:14, 38:42] = 0

    correct, answers = detector.count_correct(logits, heat, weight, score=0.3)

    assert (int(correct), int(answers)) == (1, 4)


def test_other_classes_than_the_ten_digits_are_rejected(splits: Splits) -> None:
    import dataclasses

    letters = dataclasses.replace(splits[0], class_names=tuple("abcdefghij"))

    with pytest.raises(UsageError, match="composed of the ten digits"):
        tasks.build(settings(), letters, letters, device=CPU)


def test_a_run_of_numbers_saves_a_calibrated_model_that_is_opened_again(tmp_path: Path) -> None:
    result = mnistctl.train(
        recipe="numbers", dataset="digits", device="cpu", epochs=0.1, widths=(8, 8, 8, 8), plots=False
    )

    model = checkpoint.load(Path(result.run) / "model.safetensors")
    predictor = torch_page_predictor.from_checkpoint(model, device=CPU)
    outputs = predictor(np.zeros((2, 32, 48), dtype=np.uint8))

    assert model.metadata.task == "numbers"
    assert model.metadata.threshold is not None
    assert model.metadata.calibration_images > 100
    assert outputs.scores.shape == (2, 10, 8, 12)
    assert outputs.boxes.shape == (2, 4, 8, 12)
