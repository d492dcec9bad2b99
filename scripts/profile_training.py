"""Say where the time of the recipe `fast` goes on the CPU, part by part.

Writes its section of `docs/benchmarks.md`. MNIST must be in the data folder, and the machine must do
nothing else:

    python scripts/profile_training.py
"""

import argparse
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile

import bench
from mnistctl import datasets
from mnistctl.nn import nets, trainer
from mnistctl.settings import recipes

# Part of a step -> how the names of its operations begin.
PARTS = {
    "convolutions, forward": ("aten::mkldnn_convolution",),
    "convolutions, backward": ("aten::convolution_backward",),
    "fully connected layers": ("aten::mm", "aten::addmm"),
    "max pooling": ("aten::max_pool2d", "aten::fill_"),
    "batch normalisation": ("aten::native_batch_norm",),
    "optimizer and schedule": ("Optimizer.", "aten::_fused"),
    "choosing and scaling images, casts, copies": (
        *("aten::index_select", "aten::copy_", "aten::div", "aten::sub", "aten::_to_copy", "aten::to"),
    ),
}


def part_of(operation: str) -> str:
    """The part of a step that an operation belongs to."""
    found = (part for part, names in PARTS.items() if operation.startswith(names))
    return next(found, "all else: ReLU, loss, bookkeeping")


def main() -> None:
    """Profile one run after another that warms up, and write the section."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    config = recipes.find_recipe("fast")
    train, validation = datasets.load_for_training("mnist")
    nothing = validation.take(slice(0), name="validation")

    def run() -> float:
        torch.manual_seed(0)
        net = nets.build(config.arch, arch_args=config.arch_args, classes=10)
        ((epoch, _, _),) = trainer.fit(net, config, train, nothing, device=torch.device("cpu"))
        return epoch.train_seconds

    cold, warm = run(), run()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run()
    microseconds: Counter[str] = Counter()
    for event in profiled.key_averages():
        microseconds[part_of(event.key)] += event.self_cpu_time_total
    total = sum(microseconds.values())
    bench.write_section(
        "profile_training",
        "Where the time of `fast` goes",
        [
            f"On {torch.get_num_threads()} threads; shares of the time of all operations. The first "
            f"run of the process took {cold:.2f} s, the second {warm:.2f} s.",
            "",
            "| part | share, % |",
            "| --- | --- |",
            *(f"| {part} | {100 * time / total:.0f} |" for part, time in microseconds.most_common()),
            "",
            "Tried, and slower or less accurate: pooling after the second convolution in place of",
            "the first; a stride of 3 in the first, or of 2 in both; a 7×7 kernel; no hidden layer;",
            "batches of 96 to 160; SGD. What helped most: memory that is kept between steps (a",
            "third), features flattened in the order they lie in, whole images chosen by",
            "`index_select`, and batch normalisation, with which a learning rate of 0.03 works.",
        ],
    )


if __name__ == "__main__":
    main()
