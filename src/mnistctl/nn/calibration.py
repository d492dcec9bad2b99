"""What a trained net still needs to be honest: a temperature, and a measure of the unknown."""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim

from mnistctl.datasets import Split
from mnistctl.evaluation import metrics
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import predict_all
from mnistctl.nn import augment, batches, nets, outliers, torch_predictor
from mnistctl.nn.classifier import Classifier, familiarity_head
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.types import IMAGE_SIZE, Floats, Images

REJECTED = 0.006  # of the validation images, by the threshold on `familiarity`

_FEWEST, _MOST = 20, 24_000  # pictures that are made up
_PER_PICTURE = 50  # images trained on for each of them: so this takes a small part of the time
_EPOCHS, _BATCH_SIZE = 13, 512
_LEARNING_RATE, _WEIGHT_DECAY, _DROPOUT = 3e-3, 2.0, 0.2
# Of what is made up; and of the digits, so that a turned one is no stranger.
_AUGMENTED = TrainSettings(rotate=10, scale=0.1, shear=0.15, shift=1)
_MANY = 500  # images read at a time
_MOST_LAYERS = 3  # whose inputs tell how much an image is familiarity


def complete(
    net: nn.Module, metadata: Metadata, train: Split, validation: Split, *, images_seen: int
) -> tuple[Classifier, Metadata]:
    """Make a reader of a trained net, with its `familiarity`, its temperature and its threshold.

    Args:
        net: stays as it is.
        metadata: of its model.
        train: what it was trained on, one image or more.
        validation: what temperature and threshold are fitted on; where it is empty they are not.
        images_seen: how many images it was trained on, repetitions counted: the effort to spend.

    Returns:
        The reader, and the metadata with what was found.
    """
    net.eval()
    seed = int(metadata.config.get("seed", 0))
    layers = _telling_layers(net)
    reader = Classifier(net, familiarity_layers=layers)
    reader.familiarity = _fit_familiarity(reader, train, images_seen=images_seen, seed=seed)
    metadata = dataclasses.replace(
        metadata,
        familiarity_layers=layers,
        parameters=sum(item.numel() for item in reader.parameters()),
    )
    if len(validation.images):
        device = next(net.parameters()).device
        predictor = torch_predictor.TorchPredictor(reader, metadata, device=device)
        logits, _, familiarity = predict_all(predictor, validation.images, batch_size=_MANY)
        reader.temperature = metrics.fit_temperature(logits, validation.labels)
        probabilities = torch.softmax(torch.from_numpy(logits) / reader.temperature, dim=1).numpy()
        loss = metrics.cross_entropy(probabilities, validation.labels)
        metadata = dataclasses.replace(
            metadata,
            metrics=metadata.metrics | {"validation_loss": loss},
            temperature=reader.temperature,
            threshold=threshold(familiarity),
            calibration_images=len(validation.images),
        )
    return reader, metadata


def threshold(familiarity: Floats) -> float:
    """Where to begin to refuse: below it lies `REJECTED` of the validation images' `familiarity`, (N,)."""
    return float(np.quantile(familiarity, REJECTED))


def _telling_layers(net: nn.Module) -> list[str]:
    """The layers whose inputs are looked at: some between the first and the last, or only the last.

    Those that see something else than one thing an image are left out.
    """
    weighty = [name for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    inner = weighty[1:-1] or weighty[-1:]
    places = [round((step + 1) * len(inner) / _MOST_LAYERS) - 1 for step in range(_MOST_LAYERS)]
    wanted = dict.fromkeys(inner[place] for place in places if 0 <= place < len(inner))
    device = next(net.parameters()).device
    blank = nets.scale_pixels(torch.zeros(3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8, device=device))
    return [name for name in wanted if _sees_images(net, name, blank)]


@torch.no_grad()
def _sees_images(net: nn.Module, name: str, pixels: Tensor) -> bool:
    seen: list[tuple[int, ...]] = []
    hook = net.get_submodule(name).register_forward_pre_hook(
        lambda _, inputs: seen.append(tuple(inputs[0].shape))
    )
    net(pixels)
    hook.remove()
    return len(seen) == 1 and len(seen[0]) in (2, 3, 4) and seen[0][0] == len(pixels)


def _fit_familiarity(reader: Classifier, train: Split, *, images_seen: int, seed: int) -> nn.Module:
    """A classifier of the net's features: of training images, or of pictures that are made up?

    Source: Hendrycks et al. 2019, "Deep Anomaly Detection with Outlier Exposure".
    """
    device = next(reader.net.parameters()).device
    count = min(max(images_seen // _PER_PICTURE, _FEWEST), _MOST)
    # Others than those that the net was trained with.
    strange = outliers.make(train.images, train.class_names, count, seed=batches.seed_at(seed, 1))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        rows = torch.randperm(len(train.images))[: 2 * count].numpy()
        taught = train.images[rows]
        parts = [_features(reader, images, device) for images in (taught, strange)]
        features = torch.cat([part for pair in parts for part in pair])
        is_taught = torch.zeros(len(features), 1, device=device)
        is_taught[: 2 * len(taught)] = 1
        return _classify(features, is_taught)


@torch.no_grad()
def _features(reader: Classifier, images: Images, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of images as they are, and of the same augmented: (N, F) each."""
    plain, augmented = [], []
    for part in torch.tensor(images).split(_MANY):
        pixels = nets.scale_pixels(part.to(device))
        plain.append(reader.features(nets.normalise(pixels))[1])
        moved = augment.apply(pixels, _AUGMENTED)
        augmented.append(reader.features(nets.normalise(moved))[1])
    return torch.cat(plain), torch.cat(augmented)


def _classify(features: Tensor, truth: Tensor) -> nn.Module:
    """A trained classifier that takes features (N, F) as they are; truth is 0 or 1, (N, 1)."""
    mean, spread = features.mean(dim=0), features.std(dim=0)
    # Some features hardly change: rounding must not look like news.
    spread = spread + 0.1 * features.abs().mean() + 1e-12
    features = (features - mean) / spread
    made = familiarity_head(features.shape[1]).to(features.device)
    steps = max(100, _EPOCHS * len(features) // _BATCH_SIZE)
    optimizer = optim.AdamW(
        made.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY, fused=True
    )
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps + 1)
    for _ in range(steps):
        rows = torch.randint(len(features), (_BATCH_SIZE,), device=features.device)
        hidden = F.dropout(made[:2](features.index_select(0, rows)), _DROPOUT)
        loss = F.binary_cross_entropy_with_logits(made[2](hidden), truth.index_select(0, rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    first = made[0]
    assert isinstance(first, nn.Linear)  # noqa: S101 - for the type checker
    with torch.no_grad():  # the first layer takes on what was done to the features
        first.weight.div_(spread)
        first.bias.sub_(first.weight @ mean)
    return made.eval()
