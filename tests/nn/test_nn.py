"""Nets, augmentation, devices and the trainer, for every architecture and recipe."""

import numpy as np
import pytest
import torch

from mnistctl import datasets
from mnistctl.errors import UsageError
from mnistctl.nn import augment, batches, classifier, cuda_graphs, devices, nets
from mnistctl.nn.trainer import Trainer, plan_steps
from mnistctl.run.epoch import Epoch
from mnistctl.settings import architectures, recipes
from mnistctl.settings.train_settings import OPTIMIZERS, TrainSettings
from tests.helpers import RECIPES

Splits = tuple[datasets.Split, datasets.Split]


@pytest.fixture(scope="module")
def splits() -> Splits:
    return datasets.load_for_training("digits")


def build_net(settings: TrainSettings) -> torch.nn.Module:
    torch.manual_seed(settings.seed)
    return nets.build(settings.arch, arch_args=dict(settings.arch_args), classes=10)


def fit(
    settings: TrainSettings, splits: Splits, device: str = "cpu", *, use_graph: bool = True
) -> tuple[torch.nn.Module, list[Epoch]]:
    """Train to the end: the model, and the metrics of every epoch."""
    net = build_net(settings).to(device)
    trainer = Trainer(net, settings, *splits, device=torch.device(device), use_graph=use_graph)
    epochs = [trainer.measure() for _ in trainer.run() if trainer.is_epoch_complete]
    return trainer.model, epochs


def test_every_architecture_has_a_net() -> None:
    assert set(nets.NETS) == set(architectures.ARCHITECTURES)


@pytest.mark.parametrize("arch", architectures.of_task(architectures.DIGIT))
def test_every_net_classifies_raw_images(arch: str) -> None:
    model = classifier.Classifier(build_net(TrainSettings(arch=arch)), temperature=2.0).eval()

    logits, probabilities, familiarity = model(torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8))

    assert logits.shape == probabilities.shape == (3, 10)
    assert torch.allclose(probabilities, torch.softmax(logits / 2, dim=1))
    assert torch.equal(familiarity, probabilities.max(dim=1).values)


def shorten(recipe: str) -> TrainSettings:
    """A recipe's settings for a few hundred steps on the bundled digits."""
    settings = recipes.find_recipe(recipe)
    return settings.replace(epochs=8, min_steps=0, batch_size=16 if recipe == "mlp-sgd" else 64)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_learns(name: str, splits: Splits) -> None:
    _, epochs = fit(shorten(name), splits)

    assert epochs[-1].train_loss < epochs[0].train_loss / 2
    assert epochs[-1].validation_accuracy is not None
    assert epochs[-1].validation_accuracy > 0.85


AUGMENTED = {"elastic": 1.0, "thickness": 0.5, "erase": 0.5, "rotate": 10}
MANY_SETTINGS = {**AUGMENTED, "ema": 0.9, "clip_norm": 1.0}


@pytest.mark.parametrize("changes", [{}, MANY_SETTINGS], ids=["recipe", "recipe and more"])
@pytest.mark.parametrize("name", recipes.of_task(architectures.DIGIT))
def test_the_same_settings_give_the_same_weights_bit_for_bit(
    name: str, changes: dict[str, float], splits: Splits
) -> None:
    settings = recipes.find_recipe(name).replace(epochs=0.5, min_steps=0, batch_size=64, **changes)

    models = [fit(settings.replace(seed=seed), splits)[0] for seed in (0, 0, 1)]

    weights = [torch.cat([weight.flatten() for weight in model.parameters()]) for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_does_not_change_the_random_numbers_of_its_caller(splits: Splits) -> None:
    settings = TrainSettings(epochs=0.5)
    trainer = Trainer(build_net(settings), settings, *splits, device=torch.device("cpu"))
    torch.manual_seed(7)
    expected = torch.rand(3)

    torch.manual_seed(7)
    list(trainer.run())

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("changes", "images", "expected"),
    [
        ({"epochs": 2, "batch_size": 100}, 1_000, (100, 10, 20)),
        ({"epochs": 2, "batch_size": 100}, 1_099, (100, 10, 20)),
        ({"epochs": 0.25, "batch_size": 100}, 1_000, (100, 10, 3)),
        ({"epochs": 0.01, "batch_size": 100}, 1_000, (100, 10, 1)),
        ({"epochs": 2, "batch_size": 100, "min_steps": 70}, 1_000, (100, 10, 70)),
        ({"epochs": 3, "batch_size": 256}, 40, (40, 1, 3)),
    ],
)
def test_a_run_is_divided_into_full_batches(
    changes: dict[str, float], images: int, expected: tuple[int, int, int]
) -> None:
    settings = TrainSettings().replace(min_steps=0).replace(**changes)

    assert plan_steps(settings, images) == expected


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (100, "--batch-size 2: too small for 4 processes; use at least 4"),
        (3, "3 training images: too few for 4 processes"),
    ],
)
def test_a_batch_with_fewer_images_than_processes_is_rejected(images: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_steps(TrainSettings(batch_size=2), images, processes=4)


def test_an_incomplete_last_epoch_is_measured_and_marked(splits: Splits) -> None:
    _, epochs = fit(TrainSettings(epochs=1.5, batch_size=125), splits)

    assert [(epoch.epoch, epoch.steps, epoch.finished) for epoch in epochs] == [
        (1, 11, True),
        (2, 17, False),
    ]


def test_without_validation_images_there_are_no_validation_metrics(splits: Splits) -> None:
    train, validation = splits
    empty = validation.take(np.arange(0), name="validation")

    _, epochs = fit(TrainSettings(epochs=1), (train, empty))

    assert epochs[0].validation_loss is None
    assert epochs[0].validation_accuracy is None


def test_a_run_can_be_ended_after_any_step(splits: Splits) -> None:
    settings = TrainSettings(epochs=3, batch_size=125)
    trainer = Trainer(build_net(settings), settings, *splits, device=torch.device("cpu"))
    epochs = []

    for step in trainer.run():
        if trainer.is_epoch_complete or step == 13:
            epochs.append(trainer.measure())
        if step == 13:
            break

    assert [(epoch.epoch, epoch.steps) for epoch in epochs] == [(1, 11), (2, 13)]
    assert trainer.state().steps == 13


def test_measuring_within_an_epoch_does_not_change_the_training(splits: Splits) -> None:
    settings = TrainSettings().replace(epochs=1, batch_size=125, dropout=0.5)
    expected, _ = fit(settings, splits)

    trainer = Trainer(build_net(settings), settings, *splits, device=torch.device("cpu"))
    for _ in trainer.run():
        trainer.measure()

    for parameter, right in zip(trainer.model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(parameter, right)


def test_an_epoch_uses_every_image_at_most_once_in_an_order_of_its_own() -> None:
    first, second = (batches.draw_order(100, 10, seed=0, epoch=epoch) for epoch in (0, 1))

    assert sorted(first.flatten().tolist()) == list(range(100))
    assert not torch.equal(first, second)
    assert torch.equal(first, batches.draw_order(100, 10, seed=0, epoch=0))


def test_every_epoch_and_step_has_a_different_seed() -> None:
    steps = [(seed, epoch, step) for seed in range(5) for epoch in range(20) for step in range(50)]

    assert len({batches.derive_seed(*step) for step in steps}) == len(steps)


def augmented(**amounts: float) -> torch.Tensor:
    torch.manual_seed(0)
    image = torch.zeros(64, 1, 28, 28)
    image[:, :, 8:20, 12:16] = 1
    return augment.apply(image, TrainSettings(**amounts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "amounts", [{"rotate": 20}, {"scale": 0.3}, {"shear": 0.3}, {"shift": 3}, {"thickness": 0.5}]
)
def test_every_image_of_a_batch_is_augmented_differently(amounts: dict[str, float]) -> None:
    images = augmented(**amounts)

    assert images.shape == (64, 1, 28, 28)
    assert len({image.numpy().tobytes() for image in images}) == 64
    assert images.min() >= 0
    assert images.max() <= 1 + 1e-5


def test_shifts_stay_within_their_limit_and_keep_all_ink() -> None:
    images = augmented(shift=3)[:, 0]

    ink = images.sum(dim=(1, 2))
    rows = (images.sum(dim=2) * torch.arange(28)).sum(dim=1) / ink
    assert torch.allclose(ink, torch.tensor(48.0), rtol=1e-4)
    assert (rows - 13.5).abs().max() <= 3 + 1e-4
    assert (rows - 13.5).abs().max() > 2.5


def test_scaling_changes_the_amount_of_ink_by_the_square_of_the_factor() -> None:
    ink = augmented(scale=0.2).sum(dim=(1, 2, 3)) / 48

    assert 0.63 < ink.min() < 0.75  # e^-0.4 = 0.67
    assert 1.35 < ink.max() < 1.55  # e^0.4 = 1.49


def test_thickness_grows_and_shrinks_strokes_by_up_to_its_pixels_on_every_side() -> None:
    ink = augmented(thickness=1).sum(dim=(1, 2, 3))

    assert 2 * 10 < ink.min() < 26  # the bar is 4 × 12 pixels
    assert 77 < ink.max() < 6 * 14


def test_without_augmentation_images_are_unchanged() -> None:
    images = augmented()

    expected = torch.zeros(64, 1, 28, 28)
    expected[:, :, 8:20, 12:16] = 1
    assert torch.equal(images, expected)


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda", "--device cuda: torch finds no CUDA device on this machine"),
        ("cuda:1", "--device cuda:1: torch finds no CUDA device"),
        ("mps", "--device mps: this machine has no Apple GPU"),
        ("gpu", "unknown device 'gpu'; available: auto, cpu, cuda, cuda:N, mps"),
        ("cuda:x", "unknown device 'cuda:x'"),
        ("cpu:1", "unknown device 'cpu:1'"),
        ("cuda:", "unknown device 'cuda:'"),
        ("cuda:²", "unknown device 'cuda:²'"),
        ("", "unknown device ''"),
    ],
)
def test_an_unavailable_device_is_rejected(name: str, message: str, no_accelerator: None) -> None:
    with pytest.raises(UsageError, match=message):
        devices.resolve(name)


def test_the_auto_device_is_the_cpu_without_an_accelerator(no_accelerator: None) -> None:
    assert devices.resolve("auto") == torch.device("cpu")


@pytest.mark.parametrize("name", ["float32", "bf16"])
def test_a_named_precision_is_used(name: str) -> None:
    assert devices.resolve_precision(name, torch.device("cpu")) == name


def test_the_auto_precision_is_bf16_only_if_the_device_supports_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    for capabilities, expected in (({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "float32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda value=capabilities: value)

        assert devices.resolve_precision("auto", cpu) == expected
        assert devices.has_bf16(cpu) == (expected == "bf16")
    assert devices.resolve_precision("auto", torch.device("mps")) == "float32"


def test_training_in_bf16_keeps_weights_in_float32(splits: Splits) -> None:
    net, epochs = fit(shorten("cnn").replace(precision="bf16"), splits)

    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    assert epochs[-1].validation_accuracy is not None
    assert epochs[-1].validation_accuracy > 0.85


def test_the_cpu_is_listed_first_and_has_no_graphs() -> None:
    assert devices.find_all()[0] == torch.device("cpu")
    assert not devices.has_graphs(torch.device("cpu"))


@pytest.mark.cuda
@pytest.mark.parametrize("changes", [{}, MANY_SETTINGS], ids=["recipe", "recipe and more"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_cuda_graph_gives_the_weights_of_single_steps(
    optimizer: str,
    changes: dict[str, float],
    splits: Splits,
) -> None:
    settings = recipes.find_recipe("cnn").replace(optimizer=optimizer, epochs=2, min_steps=0, **changes)
    graphed, _ = fit(settings, splits, device="cuda:0")

    eager, _ = fit(settings, splits, device="cuda:0", use_graph=False)

    for parameter, expected in zip(graphed.parameters(), eager.parameters(), strict=True):
        # bf16, and sums in any order
        torch.testing.assert_close(parameter, expected, rtol=0.02, atol=0.02)


@pytest.mark.cuda
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_resumes_on_cuda(optimizer: str, splits: Splits) -> None:
    settings = recipes.find_recipe("cnn").replace(optimizer=optimizer, epochs=2, min_steps=0, ema=0.9)
    device = torch.device("cuda:0")
    whole, interrupted, resumed = (build_net(settings).to(device) for _ in range(3))
    for _ in Trainer(whole, settings, *splits, device=device).run():
        pass
    trainer = Trainer(interrupted, settings, *splits, device=device)
    for _ in trainer.run():
        if trainer.is_epoch_complete:
            break

    for _ in Trainer(resumed, settings, *splits, device=device, state=trainer.state()).run():
        pass

    for name, expected in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], expected, rtol=0, atol=0)


@pytest.mark.cuda
def test_a_step_that_cannot_be_recorded_runs_eagerly() -> None:
    device = torch.device("cuda:0")
    total = torch.zeros(1, device=device)

    def add(rows: torch.Tensor) -> None:
        total.add_(rows.sum().item())  # copies a value to the CPU

    step = cuda_graphs.GraphedStep(add, device, lambda: {"total": total})
    for _ in range(10):
        step(torch.ones(2, dtype=torch.int64, device=device))

    assert total.item() == 20


@pytest.mark.cuda
@pytest.mark.parametrize("name", recipes.of_task(architectures.DIGIT))
def test_every_recipe_learns_on_cuda(name: str, splits: Splits) -> None:
    _, epochs = fit(shorten(name), splits, device="cuda:0")

    assert epochs[-1].train_loss < epochs[0].train_loss / 2
