"""Build `src/mnistctl/datasets/digits.npz`, the bundled digits, from scikit-learn's copy.

Run it in the development environment. It prints the size and SHA-256 for `datasets/catalog.py`.
"""

import io
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from mnistctl.system import files

TARGET = Path(__file__).parents[1] / "src" / "mnistctl" / "datasets" / "digits.npz"


def build() -> bytes:
    """The content of the file: images uint8 (1797, 8, 8), 0 to 16, and labels uint8 (1797,)."""
    digits = load_digits()
    archive = io.BytesIO()
    np.savez_compressed(
        archive, images=digits.images.astype(np.uint8), labels=digits.target.astype(np.uint8)
    )
    return archive.getvalue()


if __name__ == "__main__":
    content = build()
    files.write_bytes(TARGET, content)
    print(f"{TARGET.name}: {len(content)} bytes, SHA-256 {files.sha256(content)}")
