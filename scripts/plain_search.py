"""Search settings of an MLP as Optuna's examples for PyTorch do: a baseline of `bench_tune.py`.

One process, a DataLoader with a transform per image, Adam or AdamW at a constant rate. The search
space and the images for validation are those of `mnistctl tune --arch mlp`. Prints JSON: the best
settings, their accuracy in the search, and those of other seeds on another split. MNIST must be in the
data folder, whose layout is torchvision's.
"""

import argparse
import json
import warnings
from typing import Any

import optuna
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

from mnistctl import datasets
from mnistctl.datasets import splits

HIDDEN = ("64", "128", "256", "512", "128-64", "256-128", "512-256")


def train(
    params: dict[str, Any], *, epochs: int, seed: int, split_seed: int, trial: Any = None
) -> float:
    """Train an MLP, and return the best of its validation accuracies."""
    torch.manual_seed(seed)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    mnist = MNIST(str(datasets.data_folder()), train=True, transform=transform)
    rows = splits.hold_out(mnist.targets.numpy(), size=None, split_seed=split_seed)
    train_set, validation = (Subset(mnist, part.tolist()) for part in rows)
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = 784
    for size in map(int, params["hidden"].split("-")):
        layers += [nn.Linear(inputs, size), nn.ReLU(), nn.Dropout(params["dropout"])]
        inputs = size
    net = nn.Sequential(*layers, nn.Linear(inputs, 10))
    kind = {"adam": optim.Adam, "adamw": optim.AdamW}[params["optimizer"]]
    optimizer = kind(net.parameters(), lr=params["learning_rate"])
    batches = DataLoader(train_set, batch_size=params["batch_size"], shuffle=True)
    best = 0.0
    for epoch in range(1, epochs + 1):
        net.train()
        for images, labels in batches:
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            correct = sum(
                int((net(images).argmax(dim=1) == labels).sum())
                for images, labels in DataLoader(validation, batch_size=1000)
            )
        accuracy = correct / len(validation)
        best = max(best, accuracy)
        if trial is not None:
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
    return best


def main() -> None:
    """Search, then train the best settings again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--confirm", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--random", action="store_true", help="random search without pruning")
    arguments = parser.parse_args()
    seed = arguments.seed
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")

    def objective(trial: optuna.Trial) -> float:
        params = {
            "hidden": trial.suggest_categorical("hidden", HIDDEN),
            "learning_rate": trial.suggest_float("learning_rate", 3e-4, 3e-2, log=True),
            "optimizer": trial.suggest_categorical("optimizer", ("adam", "adamw")),
            "batch_size": trial.suggest_categorical("batch_size", (64, 128, 256, 512)),
            "dropout": trial.suggest_float("dropout", 0, 0.5),
        }
        return train(params, epochs=arguments.epochs, seed=seed, split_seed=0, trial=trial)

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed)
        if arguments.random
        else optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.NopPruner() if arguments.random else optuna.pruners.MedianPruner(),
    )
    study.optimize(objective, n_trials=arguments.trials)
    confirmed = [
        train(study.best_params, epochs=arguments.epochs, seed=seed + number, split_seed=1)
        for number in range(1, arguments.confirm + 1)
    ]
    print(json.dumps({"settings": study.best_params, "best": study.best_value, "confirmed": confirmed}))


if __name__ == "__main__":
    main()
