"""Multi-crop: two large crops of a sample, distorted unlike each other, and several small ones."""

from __future__ import annotations

from functools import partial

from unlabeled.types import View


def multi_crop(num_local: int, local_size: float, split: float) -> dict[str, View]:
    """Return the views of DINO (Caron et al., 2021, arXiv:2104.14294, section 3.1).

    Colour is distorted at half the strength that ImageNet takes.

    Args:
        num_local: small crops, >= 0; without any, large crops may cover as little as 0.14.
        local_size: edge of small crops relative to the encoder's input, in (0, 1].
        split: share of a sample that parts small from large crops, in (0, 1).
    """
    look = partial(View, flip=True, distort=0.5, grey=0.2)
    large = (split if num_local else 0.14, 1.0)
    views = {"global": look(2, large, blur=(1.0, 0.1), solarize=(0.0, 0.2))}
    if num_local:
        views["local"] = look(num_local, (0.05, split), local_size, blur=(0.5,))
    return views
