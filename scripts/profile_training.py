"""Profile the recipe `fast` on the CPU: the share of time of each part of a training step.

Writes a section of `docs/reference/benchmarks.md`. MNIST must be in the data folder and the machine
idle:

    python scripts/profile_training.py
"""

import argparse
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile

import bench
from mnistctl import datasets
from mnistctl.nn import nets
from mnistctl.nn.trainer import Trainer
from mnistctl.settings import recipes

# Part of a step -> prefixes of the names of its operations.
PARTS = {
    "convolutions, forward": ("aten::mkldnn_convolution",),
    "convolutions, backward": ("aten::convolution_backward",),
    "fully connected layers": ("aten::mm", "aten::addmm"),
    "max pooling": ("aten::max_pool2d", "aten::fill_"),
    "batch normalisation": ("aten::native_batch_norm",),
    "optimizer and schedule": ("Optimizer.", "aten::_fused"),
    "selecting and scaling images, casts, copies": (
        *("aten::index_select", "aten::copy_", "aten::div", "aten::sub", "aten::_to_copy", "aten::to"),
    ),
}
OTHER = "other: ReLU, loss, bookkeeping"
EXPERIENCE = (
    "These were slower or less accurate: pooling after the second convolution instead of the first; a "
    "stride of 3 in the first convolution, or of 2 in both; a 7×7 kernel; no hidden layer; batches of "
    "96 to 160 images; SGD. These helped most: keeping freed memory between steps (a third of the "
    "time), flattening features in the order in which they are stored, selecting images with "
    "`index_select`, and batch normalisation, which makes a learning rate of 0.03 possible."
)


def part_of(operation: str) -> str:
    """The part of a step that an operation belongs to."""
    matches = (part for part, prefixes in PARTS.items() if operation.startswith(prefixes))
    return next(matches, OTHER)


def train() -> float:
    """Train `fast` once, without validation, and return the training time in seconds."""
    settings = recipes.find_recipe("fast")
    train_split, validation = datasets.load_for_training("mnist")
    no_images = validation.take(slice(0), name="validation")
    torch.manual_seed(0)
    net = nets.build(settings.arch, arch_args=settings.arch_args, classes=10)
    trainer = Trainer(net, settings, train_split, no_images, device=torch.device("cpu"))
    for _ in trainer.run():
        pass
    return trainer.measure().train_seconds


def main() -> None:
    """Train twice to warm up, profile a third run and write the section."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    first, second = train(), train()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        train()
    microseconds: Counter[str] = Counter()
    for event in profiler.key_averages():
        microseconds[part_of(event.key)] += event.self_cpu_time_total
    total = sum(microseconds.values())
    bench.write_section(
        "profile_training",
        "Where the time of `fast` goes",
        [
            f"On {torch.get_num_threads()} threads; shares of the time of all operations. The first "
            f"run in the process took {first:.2f} s, the second {second:.2f} s.",
            "",
            "| part | share, % |",
            "| --- | --- |",
            *(f"| {part} | {100 * time / total:.0f} |" for part, time in microseconds.most_common()),
            "",
            EXPERIENCE,
        ],
    )


if __name__ == "__main__":
    main()
