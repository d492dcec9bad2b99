"""Train on MNIST as PyTorch's well-known example does: the baseline of `bench_training.py`.

Uses a DataLoader, a transform per image, Adadelta with a step schedule, and a test after every epoch.
Net and settings are those of the recipe `pytorch-example`. Prints a line of JSON per epoch, and ends
when the test accuracy reaches --until. MNIST must be in the data folder, whose layout is torchvision's.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from mnistctl.datasets import data_folder


class Net(nn.Module):
    """Two convolutions and two fully connected layers, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities (N, 10) of images (N, 1, 28, 28)."""
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout1(F.max_pool2d(x, 2)).flatten(1)
        return F.log_softmax(self.fc2(self.dropout2(F.relu(self.fc1(x)))), dim=1)


def main() -> None:
    """Train, and test after every epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--until", type=float, default=1.0, help="test accuracy at which to stop")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    root = str(data_folder())
    train = DataLoader(MNIST(root, train=True, transform=transform), batch_size=64, shuffle=True)
    test = DataLoader(MNIST(root, train=False, transform=transform), batch_size=1000)
    net = Net().to(device)
    optimizer = optim.Adadelta(net.parameters(), lr=1.0)
    schedule = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    train_seconds = 0.0
    for epoch in range(1, arguments.epochs + 1):
        started = time.perf_counter()
        net.train()
        for batch, labels in train:
            optimizer.zero_grad()
            loss = F.nll_loss(net(batch.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        schedule.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        train_seconds += time.perf_counter() - started
        net.eval()
        correct = 0
        with torch.no_grad():
            for batch, labels in test:
                correct += (net(batch.to(device)).argmax(dim=1).cpu() == labels).sum().item()
        accuracy = correct / 10_000
        metrics = {"epoch": epoch, "train_seconds": train_seconds, "test_accuracy": accuracy}
        print(json.dumps(metrics | {"images": 60_000 * epoch}), flush=True)
        if accuracy >= arguments.until:
            return


if __name__ == "__main__":
    main()
