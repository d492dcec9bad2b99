"""Nets, training and the checkpoint as a predictor, for every architecture and recipe."""

import numpy as np
import pytest
import torch

from mnistctl import datasets
from mnistctl.errors import UsageError
from mnistctl.nn import augment, batches, classifier, cuda_graphs, devices, nets, trainer
from mnistctl.run.epoch import Epoch
from mnistctl.settings import architectures, recipes
from mnistctl.settings.train_settings import OPTIMIZERS, TrainSettings
from tests.helpers import RECIPES

Splits = tuple[datasets.Split, datasets.Split]


@pytest.fixture(scope="module")
def splits() -> Splits:
    return datasets.load_for_training("digits")


def fresh(config: TrainSettings) -> torch.nn.Module:
    torch.manual_seed(config.seed)
    return nets.build(config.arch, arch_args=dict(config.arch_args), classes=10)


def fit(
    config: TrainSettings, splits: Splits, device: str = "cpu"
) -> tuple[torch.nn.Module, list[Epoch]]:
    net = fresh(config).to(device)
    fitted = list(trainer.fit(net, config, *splits, device=torch.device(device)))
    return fitted[-1].measured, [done.epoch for done in fitted]


def test_every_architecture_has_a_net() -> None:
    assert set(nets.NETS) == set(architectures.ARCHITECTURES)


@pytest.mark.parametrize("arch", architectures.ARCHITECTURES)
def test_every_net_takes_raw_images_and_gives_what_the_contract_says(arch: str) -> None:
    config = TrainSettings(arch=arch)
    reader = classifier.Classifier(fresh(config), temperature=2.0).eval()

    logits, probabilities, familiarity = reader(torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8))

    assert logits.shape == probabilities.shape == (3, 10)
    assert torch.allclose(probabilities, torch.softmax(logits / 2, dim=1))
    assert torch.equal(familiarity, probabilities.max(dim=1).values)


def shortened(name: str) -> TrainSettings:
    """A recipe, for a few hundred steps on the embedded digits."""
    config = recipes.find_recipe(name)
    return config.replace(epochs=8, min_steps=0, batch_size=16 if name == "mlp-sgd" else 64)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_learns(name: str, splits: Splits) -> None:
    _, epochs = fit(shortened(name), splits)

    assert epochs[-1].train_loss < epochs[0].train_loss / 2
    assert epochs[-1].validation_accuracy is not None
    assert epochs[-1].validation_accuracy > 0.85


AUGMENTED = {"elastic": 1.0, "thickness": 0.5, "erase": 0.5, "rotate": 10}
EVERYTHING = {**AUGMENTED, "ema": 0.9, "clip_norm": 1.0}


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "with everything"])
@pytest.mark.parametrize("name", recipes.read_all())
def test_the_same_config_gives_the_same_weights_bit_for_bit(
    name: str, changes: dict[str, float], splits: Splits
) -> None:
    config = recipes.find_recipe(name).replace(epochs=0.5, min_steps=0, batch_size=64, **changes)

    trained = [fit(config.replace(seed=seed), splits)[0] for seed in (0, 0, 1)]

    weights = [torch.cat([weight.flatten() for weight in net.parameters()]) for net in trained]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_leaves_the_callers_random_numbers_alone(
    splits: Splits,
) -> None:
    net = fresh(TrainSettings())
    torch.manual_seed(7)
    expected = torch.rand(3)

    torch.manual_seed(7)
    list(trainer.fit(net, TrainSettings(epochs=0.5), *splits, device=torch.device("cpu")))

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
def test_a_run_divides_into_full_batches(
    changes: dict[str, float], images: int, expected: tuple[int, int, int]
) -> None:
    config = TrainSettings().replace(min_steps=0).replace(**changes)

    assert trainer.plan_steps(config, images) == expected


def test_a_part_of_an_epoch_is_trained_and_marked(
    splits: Splits,
) -> None:
    config = TrainSettings(epochs=1.5, batch_size=125)

    _, epochs = fit(config, splits)

    assert [(epoch.epoch, epoch.steps, epoch.finished) for epoch in epochs] == [
        (1, 11, True),
        (2, 17, False),
    ]


def test_without_validation_there_are_no_validation_figures(
    splits: Splits,
) -> None:
    train, validation = splits
    empty = validation.take(np.arange(0), name="validation")

    _, epochs = fit(TrainSettings(epochs=1), (train, empty))

    assert epochs[0].validation_loss is None
    assert epochs[0].validation_accuracy is None


def test_a_stop_ends_the_run_with_the_epoch_begun(
    splits: Splits,
) -> None:
    seen: list[int] = []
    config = TrainSettings(epochs=3, batch_size=125)

    def stop_at_thirteen(images: int, _: object) -> bool:
        seen.append(images)
        return len(seen) == 13

    fitted = list(
        trainer.fit(
            fresh(config),
            config,
            *splits,
            device=torch.device("cpu"),
            on_step=stop_at_thirteen,
        )
    )

    assert [(epoch.epoch, epoch.steps) for epoch, _, _ in fitted] == [(1, 11), (2, 13)]
    assert seen == [125 * step for step in range(1, 14)]


def test_an_epoch_shows_every_image_at_most_once_and_in_another_order_each_time() -> None:
    first, second = (batches.order(100, 10, seed=0, epoch=epoch) for epoch in (0, 1))

    assert sorted(first.flatten().tolist()) == list(range(100))
    assert not torch.equal(first, second)
    assert torch.equal(first, batches.order(100, 10, seed=0, epoch=0))


def test_every_place_in_a_run_has_a_seed_of_its_own() -> None:
    places = [(seed, epoch, step) for seed in range(5) for epoch in range(20) for step in range(50)]

    assert len({batches.seed_at(*place) for place in places}) == len(places)


def augmented(**amounts: float) -> torch.Tensor:
    torch.manual_seed(0)
    image = torch.zeros(64, 1, 28, 28)
    image[:, :, 8:20, 12:16] = 1
    return augment.apply(image, TrainSettings(**amounts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "amounts", [{"rotate": 20}, {"scale": 0.3}, {"shear": 0.3}, {"shift": 3}, {"thickness": 0.5}]
)
def test_every_image_of_a_batch_is_changed_by_amounts_of_its_own(amounts: dict[str, float]) -> None:
    images = augmented(**amounts)

    assert images.shape == (64, 1, 28, 28)
    assert len({image.numpy().tobytes() for image in images}) == 64
    assert images.min() >= 0
    assert images.max() <= 1 + 1e-5


def test_shifts_stay_within_their_pixels_and_keep_all_ink() -> None:
    images = augmented(shift=3)[:, 0]

    ink = images.sum(dim=(1, 2))
    rows = (images.sum(dim=2) * torch.arange(28)).sum(dim=1) / ink
    assert torch.allclose(ink, torch.tensor(48.0), rtol=1e-4)
    assert (rows - 13.5).abs().max() <= 3 + 1e-4
    assert (rows - 13.5).abs().max() > 2.5


def test_scaling_changes_the_ink_by_the_square_of_the_factor() -> None:
    ink = augmented(scale=0.2).sum(dim=(1, 2, 3)) / 48

    assert 0.63 < ink.min() < 0.75  # e^-0.4 = 0.67
    assert 1.35 < ink.max() < 1.55  # e^0.4 = 1.49


def test_strokes_grow_and_shrink_by_up_to_so_many_pixels_on_every_side() -> None:
    ink = augmented(thickness=1).sum(dim=(1, 2, 3))

    assert 2 * 10 < ink.min() < 26  # of a bar of 4 × 12
    assert 77 < ink.max() < 6 * 14


def test_no_augmentation_is_no_change() -> None:
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
        ("gpu", "unknown device 'gpu'; known: auto, cpu, cuda, cuda:N, mps"),
        ("cuda:x", "unknown device 'cuda:x'"),
        ("cpu:1", "unknown device 'cpu:1'"),
        ("cuda:", "unknown device 'cuda:'"),
        ("cuda:²", "unknown device 'cuda:²'"),
        ("", "unknown device ''"),
    ],
)
def test_a_device_that_is_not_there_is_rejected(name: str, message: str, no_accelerator: None) -> None:
    with pytest.raises(UsageError, match=message):
        devices.resolve(name)


def test_auto_is_the_cpu_where_there_is_nothing_else(no_accelerator: None) -> None:
    assert devices.resolve("auto") == torch.device("cpu")


@pytest.mark.parametrize("name", ["float32", "bf16"])
def test_a_precision_that_was_asked_for_is_taken(name: str) -> None:
    assert devices.resolve_precision(name, torch.device("cpu")) == name


def test_auto_is_bf16_just_where_the_device_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for capabilities, expected in (({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "float32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)

        assert devices.resolve_precision("auto", cpu) == expected
        assert devices.has_bf16(cpu) == (expected == "bf16")
    assert devices.resolve_precision("auto", torch.device("mps")) == "float32"


def test_steps_in_bf16_leave_weights_and_figures_in_float32(splits: Splits) -> None:
    net, epochs = fit(shortened("cnn").replace(precision="bf16"), splits)

    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    assert epochs[-1].validation_accuracy is not None
    assert epochs[-1].validation_accuracy > 0.85


def test_a_cpu_replays_no_graphs_and_comes_first() -> None:
    assert devices.find_all()[0] == torch.device("cpu")
    assert not devices.has_graphs(torch.device("cpu"))


@pytest.mark.cuda
@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "with everything"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_graph_does_what_the_steps_one_by_one_do(
    optimizer: str,
    changes: dict[str, float],
    splits: Splits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = recipes.find_recipe("cnn").replace(optimizer=optimizer, epochs=2, min_steps=0, **changes)
    graphed, _ = fit(config, splits, device="cuda:0")
    monkeypatch.setattr(cuda_graphs, "GraphedStep", lambda step, device: step)

    plain, _ = fit(config, splits, device="cuda:0")

    for ours, theirs in zip(graphed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)  # bf16, and atomic sums


@pytest.mark.cuda
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_goes_on_on_cuda(optimizer: str, splits: Splits) -> None:
    config = recipes.find_recipe("cnn").replace(optimizer=optimizer, epochs=2, min_steps=0, ema=0.9)
    device = torch.device("cuda:0")
    whole, cut, goes_on = (fresh(config).to(device) for _ in range(3))
    for _ in trainer.fit(whole, config, *splits, device=device):
        pass
    done = next(trainer.fit(cut, config, *splits, device=device))

    for _ in trainer.fit(goes_on, config, *splits, device=device, start=done.state()):
        pass

    for name, wanted in whole.state_dict().items():
        torch.testing.assert_close(goes_on.state_dict()[name], wanted, rtol=0, atol=0)


@pytest.mark.cuda
def test_a_step_that_no_graph_can_hold_is_done_one_by_one() -> None:
    device = torch.device("cuda:0")
    total = torch.zeros(1, device=device)

    def add(rows: torch.Tensor) -> None:
        total.add_(rows.sum().item())  # asks the device, which no graph can

    step = cuda_graphs.GraphedStep(add, device)
    for _ in range(10):
        step(torch.ones(2, dtype=torch.int64, device=device))

    assert total.item() == 20


@pytest.mark.cuda
@pytest.mark.parametrize("name", recipes.read_all())
def test_every_recipe_learns_on_cuda(name: str, splits: Splits) -> None:
    _, epochs = fit(shortened(name), splits, device="cuda:0")

    assert epochs[-1].train_loss < epochs[0].train_loss / 2
