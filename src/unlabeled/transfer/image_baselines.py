"""What pixels, histograms and codes of patches say of images without any training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer import patch_codes
from unlabeled.transfer.baselines import Plain, principal
from unlabeled.transfer.features import Inputs
from unlabeled.transfer.patch_codes import small_images

_BLOCK = 2048


def for_images(train: Inputs, test: Inputs, pool: Inputs) -> dict[str, Callable[[], Plain]]:
    """Return the baselines of images: PCA of pixels, histograms, codes of patches."""
    return {
        "pca": lambda: principal(pixels, train, test, pool),
        "histogram": lambda: _histogram(train, test),
        **patch_codes.for_images(train, test, pool),
    }


def pixels(inputs: Inputs) -> NDArray[np.float32]:
    """Return the pixels of whole images, at most 32 a side, (N, C*H*W) in [0, 1]."""
    return np.concatenate([x.flatten(1).numpy() for x in small_images(inputs)])


def _histogram(train: Inputs, test: Inputs) -> Plain:
    """Join what the modality offers, apart from pixels, which PCA has."""

    def describe(inputs: Inputs) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(inputs), _BLOCK):
            raws = inputs.raws(range(start, min(start + _BLOCK, len(inputs))))
            found = inputs.modality.plain_features(raws)
            kept = [found[name] for name in sorted(found) if not name.startswith(("pixel", "pca"))]
            parts.append(np.concatenate(kept, axis=1))
        return np.concatenate(parts).astype(np.float32)

    return Plain(describe(train), describe(test), whiten=True)
