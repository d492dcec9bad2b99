"""Count parameters and multiply-adds of every net and write `src/mnistctl/settings/sizes.json`.

The input size of a net of torchvision's is the smallest, from 28 pixels on, that it takes; nets whose
constructor fixes it have that one. Counted on the meta device, for 10 classes; takes a minute.
"""

import json
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from mnistctl.nn import nets
from mnistctl.settings import architectures
from mnistctl.system import files
from mnistctl.types import IMAGE_SIZE

TARGET = Path(architectures.__file__).parent / "sizes.json"
_INPUT_SIZES = (28, 32, 48, 64, 75, 96, 128, 224)


def count(net: nn.Module) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image, of a net on the meta device."""
    net.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE, device="meta"))
    return sum(item.numel() for item in net.parameters()), counter.get_total_flops() // 2


def measure(name: str) -> architectures.Size:
    """The size of an architecture as it comes."""
    known = architectures.sizes()
    for size in _INPUT_SIZES if architectures.Architecture.parse(name).is_torchvision else _INPUT_SIZES[:1]:
        known[name] = architectures.Size(size, 0, 0)
        arguments = architectures.resolve(name, {})
        try:
            return architectures.Size(
                size, *count(nets.build_shapes(name, arch_args=arguments, classes=10))
            )
        except (RuntimeError, AssertionError, IndexError, ValueError):  # too small for it
            continue
    raise SystemExit(f"{name}: takes no size up to {_INPUT_SIZES[-1]}")


def main() -> None:
    """Measure all."""
    if not TARGET.exists():
        TARGET.write_text("{}")
    names = [f"{architectures.TORCHVISION}{name}" for name in models.list_models(module=models)]
    found = {name: measure(name) for name in (*architectures.ARCHITECTURES, *names)}
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(list(size))}" for name, size in found.items())
    files.write_bytes(TARGET, f"{{\n{rows}\n}}\n".encode())


if __name__ == "__main__":
    main()
