"""The image size, the array types of images and labels, and the base of all results."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

IMAGE_SIZE = 28  # pixels, both ways


@dataclass(frozen=True)
class Result:
    """Base of the results that functions return."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, under the names of the fields."""
        return asdict(self)


if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np
    import numpy.typing as npt

    Images: TypeAlias = npt.NDArray[np.uint8]  # (N, 28, 28), 0 = paper, 255 = ink
    Floats: TypeAlias = npt.NDArray[np.float32]
    Labels: TypeAlias = npt.NDArray[np.int64]  # (N,), the index of each image's class
else:
    _DTYPES = {"Images": "uint8", "Floats": "float32", "Labels": "int64"}

    def __getattr__(name: str) -> Any:
        """The alias of this name; importing NumPy takes 0.07 s, so it waits for the first use."""
        if name not in _DTYPES:
            raise AttributeError(f"module 'mnistctl.types' has no attribute '{name}'")
        import numpy as np
        import numpy.typing as npt

        return npt.NDArray[getattr(np, _DTYPES[name])]
