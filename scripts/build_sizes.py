"""Count parameters and multiply-adds of every net, and write `src/mnistctl/settings/sizes.json`.

The input size of a torchvision net is the smallest one, from 28 pixels on, that the net accepts; some
nets fix it in their constructor. Counts on the meta device, for 10 classes; takes a minute.
"""

import json
from pathlib import Path

from torch import nn
from torchvision import models

from mnistctl.nn import nets
from mnistctl.settings import architectures
from mnistctl.system import files
from mnistctl.types import IMAGE_SIZE

TARGET = Path(architectures.__file__).parent / "sizes.json"
_PAGE_SIDE = 64  # pixels; a detector takes pages of any size
_INPUT_SIZES = (28, 32, 48, 64, 75, 96, 128, 224)


def count(net: nn.Module, *, side: int = IMAGE_SIZE) -> tuple[int, int]:
    """Parameters, and multiply-adds for an image of this side, of a net on the meta device."""
    return nets.count_parameters(net), nets.count_multiply_adds(net, side=side)


def measure(name: str) -> architectures.Size:
    """The size of an architecture with default arguments."""
    sizes = architectures.sizes()
    if architectures.task_of(name) == architectures.NUMBERS:
        sizes[name] = architectures.Size(_PAGE_SIDE, 0, 0)
        net = nets.build_shapes(name, arch_args=architectures.resolve(name, {}), classes=10)
        return architectures.Size(_PAGE_SIDE, *count(net, side=_PAGE_SIDE))
    is_torchvision = architectures.Architecture.parse(name).is_torchvision
    for input_size in _INPUT_SIZES if is_torchvision else _INPUT_SIZES[:1]:
        sizes[name] = architectures.Size(input_size, 0, 0)  # read by `nets.build_shapes`
        arguments = architectures.resolve(name, {})
        try:
            net = nets.build_shapes(name, arch_args=arguments, classes=10)
            return architectures.Size(input_size, *count(net))
        except (RuntimeError, AssertionError, IndexError, ValueError):  # the images are too small
            continue
    raise SystemExit(f"{name}: accepts no input size up to {_INPUT_SIZES[-1]}")


def main() -> None:
    """Measure all architectures and write the file."""
    if not TARGET.exists():
        TARGET.write_text("{}")
    names = [f"{architectures.TORCHVISION}{name}" for name in models.list_models(module=models)]
    sizes = {name: measure(name) for name in (*architectures.ARCHITECTURES, *names)}
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(list(size))}" for name, size in sizes.items())
    files.write_bytes(TARGET, f"{{\n{rows}\n}}\n".encode())


if __name__ == "__main__":
    main()
