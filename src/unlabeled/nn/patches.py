"""Images as rows of patches, and back."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from unlabeled.nn.precision import full


class Reconstruction(NamedTuple):
    """Samples as the encoder sees them: images (B, C, H, W), or logs (B, T, C)."""

    original: Tensor
    masked: Tensor
    reconstruction: Tensor


def patchify(images: Tensor, patch: int) -> Tensor:
    """Cut images into square patches, row by row; values lie as (height, width, channel).

    Args:
        images: (B, C, H, W), H and W multiples of `patch`.
        patch: edge of a patch in pixels.

    Returns:
        (B, N, P) with P = patch * patch * C.
    """
    size, channels, height, width = images.shape
    x = images.reshape(size, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(size, -1, patch * patch * channels)


def unpatchify(patches: Tensor, patch: int, channels: int) -> Tensor:
    """Put patches of a square image back in place: the inverse of `patchify`.

    Args:
        patches: (B, N, P), N a square number.
        patch: edge of a patch in pixels.
        channels: C.

    Returns:
        (B, C, H, H).
    """
    size, number, _ = patches.shape
    side = round(number**0.5)
    x = patches.reshape(size, side, side, patch, patch, channels)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(size, channels, side * patch, side * patch)


def standardise(patches: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor, Tensor]:
    """Give every patch mean 0 and variance 1, so that contrast and not brightness is guessed.

    He et al., 2021 (arXiv:2111.06377), section 4: variance without bias, as in the authors' code.

    Args:
        patches: (B, N, P), P > 1.
        eps: added to the variance.

    Returns:
        The patches in fp32, and the mean and deviation (B, N, 1) that undo it.
    """
    patches = full(patches)
    mean = patches.mean(-1, keepdim=True)
    deviation = (patches.var(-1, keepdim=True) + eps).sqrt()
    return (patches - mean) / deviation, mean, deviation
