"""Post-training calibration: temperature scaling, familiarity and the rejection threshold."""

import dataclasses
import logging

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

_log = logging.getLogger(__name__)

MIN_IMAGES = 100  # validation images; a temperature or threshold fitted on fewer would mislead
REJECTED_SHARE = 0.006  # share of the validation images that the threshold rejects

_MIN_OUTLIERS, _MAX_OUTLIERS = 20, 24_000
_IMAGES_PER_OUTLIER = 50  # images trained on for each outlier, so that this is a small part of training
_EPOCHS, _BATCH_SIZE = 13, 512
_LEARNING_RATE, _WEIGHT_DECAY, _DROPOUT = 3e-3, 2.0, 0.2
# Applied to the outliers, and to the training images so that a rotated digit counts as familiar.
_AUGMENTATION = TrainSettings(rotate=10, scale=0.1, shear=0.15, shift=1)
_CHUNK = 500  # images per forward pass
_MAX_LAYERS = 3  # layers whose inputs are the features of the familiarity


def calibrate(
    net: nn.Module, metadata: Metadata, train: Split, validation: Split, *, images_seen: int
) -> tuple[Classifier, Metadata]:
    """Build a calibrated classifier from a trained net.

    Fits the familiarity on training images and synthetic outliers. Then fits the temperature and the
    threshold on validation images, which the net was not trained on.

    Args:
        net: takes normalised images, returns logits; its weights are not changed.
        metadata: of the model; `config["seed"]` seeds the fit.
        train: the images that the net was trained on, at least one.
        validation: with fewer than `MIN_IMAGES` the temperature stays 1 and there is no threshold.
        images_seen: number of images trained on, repetitions included; sets the number of outliers.

    Returns:
        The classifier, and the metadata with temperature, threshold, calibrated validation loss and
        familiarity layers filled in.
    """
    net.eval()
    seed = int(metadata.config.get("seed", 0))
    layers = _familiarity_layers(net)
    classifier = Classifier(net, familiarity_layers=layers)
    classifier.familiarity = _fit_familiarity(classifier, train, images_seen=images_seen, seed=seed)
    metadata = dataclasses.replace(
        metadata,
        familiarity_layers=layers,
        familiarity_parameters=nets.count_parameters(classifier.familiarity),
    )
    if can_calibrate(validation):
        device = next(net.parameters()).device
        predictor = torch_predictor.TorchPredictor(classifier, metadata, device=device)
        logits, _, familiarity = predict_all(predictor, validation.images, batch_size=_CHUNK)
        classifier.temperature = metrics.fit_temperature(logits, validation.labels)
        probabilities = torch.softmax(torch.from_numpy(logits) / classifier.temperature, dim=1).numpy()
        loss = metrics.cross_entropy(probabilities, validation.labels)
        metadata = dataclasses.replace(
            metadata,
            metrics=metadata.metrics | {"calibrated_validation_loss": loss},
            temperature=classifier.temperature,
            threshold=rejection_threshold(familiarity),
            calibration_images=len(validation.images),
        )
    return classifier, metadata


def can_calibrate(validation: Split) -> bool:
    """Whether there are enough validation images for a temperature and a threshold; logs it."""
    count = len(validation.images)
    if count < MIN_IMAGES:
        _log.info(
            "not calibrated, and no image will be rejected: "
            f"{count} validation images, at least {MIN_IMAGES} needed"
        )
        return False
    _log.info(f"calibrating on {count:,} validation images")
    return True


def rejection_threshold(familiarity: Floats) -> float:
    """The threshold that rejects `REJECTED_SHARE` of the validation images.

    Args:
        familiarity: of the validation images, float32 (N,), N at least 1.
    """
    return float(np.quantile(familiarity, REJECTED_SHARE))


def _familiarity_layers(net: nn.Module) -> list[str]:
    """Names of up to three layers, spread over the depth of the net, whose inputs are the features.

    The first and the last layer are left out if there are others. Layers that do not run once per image
    are left out too: some nets run a layer on windows of an image.
    """
    weighted = [name for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    inner = weighted[1:-1] or weighted[-1:]
    positions = [round((step + 1) * len(inner) / _MAX_LAYERS) - 1 for step in range(_MAX_LAYERS)]
    candidates = dict.fromkeys(inner[index] for index in positions if 0 <= index < len(inner))
    device = next(net.parameters()).device
    blank = nets.scale_pixels(torch.zeros(3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8, device=device))
    return [name for name in candidates if _runs_once_per_image(net, name, blank)]


@torch.no_grad()
def _runs_once_per_image(net: nn.Module, layer_name: str, pixels: Tensor) -> bool:
    """Whether the layer runs once per pass, on an input whose first axis is the batch."""
    shapes: list[tuple[int, ...]] = []
    hook = net.get_submodule(layer_name).register_forward_pre_hook(
        lambda _, inputs: shapes.append(tuple(inputs[0].shape))
    )
    net(pixels)
    hook.remove()
    return len(shapes) == 1 and len(shapes[0]) in (2, 3, 4) and shapes[0][0] == len(pixels)


def _fit_familiarity(classifier: Classifier, train: Split, *, images_seen: int, seed: int) -> nn.Module:
    """Train a head on the net's features to tell training images from synthetic outliers.

    Source: Hendrycks et al. 2019, "Deep Anomaly Detection with Outlier Exposure".
    """
    device = next(classifier.net.parameters()).device
    count = min(max(images_seen // _IMAGES_PER_OUTLIER, _MIN_OUTLIERS), _MAX_OUTLIERS)
    # A seed derived from the run's, because `seed` itself draws the rows and the augmentation below.
    outlier_images = outliers.make(
        train.images, train.class_names, count, seed=batches.derive_seed(seed, 1)
    )
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        rows = torch.randperm(len(train.images))[: 2 * count].numpy()
        familiar_images = train.images[rows]
        familiar = _features(classifier, familiar_images, device)
        unfamiliar = _features(classifier, outlier_images, device)
        features = torch.cat([familiar, unfamiliar])
        is_familiar = torch.zeros(len(features), 1, device=device)
        is_familiar[: len(familiar)] = 1
        return _train_head(features, is_familiar)


@torch.no_grad()
def _features(classifier: Classifier, images: Images, device: torch.device) -> Tensor:
    """Features of the images, then of the same images augmented: (2·N, F)."""
    plain, augmented = [], []
    for chunk in torch.tensor(images).split(_CHUNK):
        pixels = nets.scale_pixels(chunk.to(device))
        plain.append(classifier.features(nets.normalise(pixels))[1])
        warped = augment.apply(pixels, _AUGMENTATION)
        augmented.append(classifier.features(nets.normalise(warped))[1])
    return torch.cat(plain + augmented)


def _train_head(features: Tensor, is_familiar: Tensor) -> nn.Module:
    """Train a familiarity head.

    Args:
        features: float32 (N, F), not standardised. The head takes such features too.
        is_familiar: float32 (N, 1), 0 or 1.
    """
    mean, deviation = features.mean(dim=0), features.std(dim=0)
    # Some features hardly vary; without a floor, rounding errors in them would look like outliers.
    deviation = deviation + 0.1 * features.abs().mean() + 1e-12
    features = (features - mean) / deviation
    head = familiarity_head(features.shape[1]).to(features.device)
    steps = max(100, _EPOCHS * len(features) // _BATCH_SIZE)
    optimizer = optim.AdamW(
        head.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY, fused=True
    )
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps + 1)
    for _ in range(steps):
        rows = torch.randint(len(features), (_BATCH_SIZE,), device=features.device)
        hidden = F.dropout(head[:2](features.index_select(0, rows)), _DROPOUT)
        loss = F.binary_cross_entropy_with_logits(head[2](hidden), is_familiar.index_select(0, rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    first = head[0]
    assert isinstance(first, nn.Linear)  # noqa: S101 - for the type checker
    with torch.no_grad():  # fold the standardisation into the first layer
        first.weight.div_(deviation)
        first.bias.sub_(first.weight @ mean)
    return head.eval()
