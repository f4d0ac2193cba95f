"""Handwritten digits that scikit-learn ships, for runs that must learn something real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

LOOK = {
    "size": 16, "channels": 1, "mean": (0.31,), "std": (0.35,), "blur": False, "flip": False,
    "jitter": "none", "bend": 1.0, "widen": 1.0, "least": 1.0,
}  # fmt: skip
"""How `pretrain` reads drawings."""


def write(folder: Path) -> Any:
    """Write 1,797 images of 8 x 8 pixels, enlarged to 16 x 16; return their classes by number."""
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    for number, row in enumerate(pixels.reshape(-1, 8, 8)):
        image = Image.fromarray((row * 15.9).astype(np.uint8)).resize((16, 16))
        image.save(folder / f"{number:04d}.png")
    return classes
