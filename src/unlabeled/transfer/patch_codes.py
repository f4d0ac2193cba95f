"""What small patches of an image look like, without a network that was trained.

Single-layer features after Coates, Lee and Ng, "An analysis of single-layer networks in
unsupervised feature learning", AISTATS 2011: patches of 6 x 6 are normalised for contrast and
whitened, compared with a dictionary, and the answers are averaged over the four quarters of the
image. The dictionary is either k-means centres of unlabelled patches with their triangle
activation, max(0, mean distance - distance), or random directions with both signs rectified
(random convolutions; Saxe et al., "On random weights and unsupervised feature learning", 2011).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unlabeled import rng
from unlabeled.transfer.baselines import Plain
from unlabeled.transfer.features import Inputs

PATCH, WORDS = 6, 256
_SEEN = 40_000
_CONTRAST, _RIDGE = 10 / 255**2, 0.1
_BLOCK = 64
_IMAGES, _SMALL = 2048, 32
"""Images in a block of small ones, and their edge at most."""


@dataclass(frozen=True)
class Whitening:
    """Makes patches uncorrelated (ZCA), as fitted on unlabelled ones.

    Args:
        mean: (P,).
        turn: (P, P), symmetric.
    """

    mean: Tensor
    turn: Tensor

    @staticmethod
    def fit(patches: Tensor) -> Whitening:
        """Fit on patches normalised for contrast, (M, P); the ridge is 0.1 of their variance."""
        mean = patches.mean(dim=0)
        centred = (patches - mean).double()
        covariance = centred.T @ centred / max(len(centred) - 1, 1)
        values, basis = torch.linalg.eigh(covariance)
        ridge = _RIDGE * values.mean().clamp_min(1e-12)
        turn = (basis / (values.clamp_min(0) + ridge).sqrt()) @ basis.T
        return Whitening(mean, turn.float())

    def __call__(self, patches: Tensor) -> Tensor:
        """Whiten patches, (..., P)."""
        return (patches - self.mean) @ self.turn


def patches_of(images: Tensor) -> Tensor:
    """Return all patches of images, normalised for contrast, (N, C, H, W) -> (N, H', W', P)."""
    size = min(PATCH, *images.shape[-2:])
    found = images.unfold(2, size, 1).unfold(3, size, 1)  # (N, C, H', W', s, s)
    flat = found.permute(0, 2, 3, 1, 4, 5).flatten(3)
    flat = flat - flat.mean(dim=3, keepdim=True)
    return flat / (flat.var(dim=3, keepdim=True, unbiased=False) + _CONTRAST).sqrt()


def triangle(patches: Tensor, centres: Tensor) -> Tensor:
    """Return how much nearer than average each centre is, (..., P), (K, P) -> (..., K)."""
    square = patches.square().sum(-1, keepdim=True) - 2 * patches @ centres.T
    distance = (square + centres.square().sum(1)).clamp_min(0).sqrt()
    return (distance.mean(-1, keepdim=True) - distance).relu()


def rectified(patches: Tensor, directions: Tensor) -> Tensor:
    """Return both signs of the products with each direction, (..., P), (K, P) -> (..., 2 K)."""
    answer = patches @ directions.T
    return torch.cat([answer.relu(), (-answer).relu()], dim=-1)


def quarters(answers: Tensor) -> Tensor:
    """Average over the four quarters of the image, (N, H', W', K) -> (N, 4 K)."""
    return functional.adaptive_avg_pool2d(answers.permute(0, 3, 1, 2), 2).flatten(1)


def small_images(inputs: Inputs) -> Iterator[Tensor]:
    """Yield whole images in blocks, at most 32 a side, (N, C, H, W) in [0, 1]."""
    for start in range(0, len(inputs), _IMAGES):
        cuts = inputs.cuts[start : start + _IMAGES]
        x = cuts.float() / (255 if cuts.dtype == torch.uint8 else 1)
        if x.ndim == 4 and x.shape[-1] <= 4 < x.shape[1]:
            x = x.permute(0, 3, 1, 2)
        if x.ndim == 4 and max(x.shape[-2:]) > _SMALL:
            x = functional.adaptive_avg_pool2d(x, (_SMALL, _SMALL))
        yield x


def for_images(
    train: Inputs, test: Inputs, pool: Inputs, words: int = WORDS
) -> dict[str, Callable[[], Plain]]:
    """Return both baselines: k-means codes and random convolutions.

    Args:
        train: labelled samples.
        test: samples to be scored.
        pool: unlabelled samples that whitening and k-means are fitted on.
        words: size K of the k-means dictionary; half as many random directions.
    """

    @cache
    def fitted() -> tuple[Whitening, Tensor]:
        seen = _sample(pool)
        whiten = Whitening.fit(seen)
        return whiten, whiten(seen)

    def coded(answer: Callable[[Tensor], Tensor]) -> Plain:
        seen, asked = (_coded(part, fitted()[0], answer) for part in (train, test))
        return Plain(seen, asked, whiten=True)

    def codes() -> Plain:
        centres = _centres(fitted()[1], words)
        return coded(lambda x: triangle(x, centres))

    def convolutions() -> Plain:
        width = fitted()[1].shape[1]
        drawn = rng.generator(0).standard_normal((words // 2, width)).astype(np.float32)
        directions = functional.normalize(torch.from_numpy(drawn), dim=1)
        return coded(lambda x: rectified(x, directions))

    return {"codes": codes, "convolutions": convolutions}


def _coded(
    inputs: Inputs, whiten: Whitening, answer: Callable[[Tensor], Tensor]
) -> NDArray[np.float32]:
    """Return the averaged answers of images, (N, D)."""
    parts = [
        quarters(answer(whiten(patches_of(images[i : i + _BLOCK]))))
        for images in small_images(inputs)
        for i in range(0, len(images), _BLOCK)
    ]
    return torch.cat(parts).numpy()


def _sample(pool: Inputs) -> Tensor:
    """Return patches at random places of unlabelled images, (M, P)."""
    random, found = rng.generator(0), []
    share = -(-_SEEN // max(len(pool), 1))
    for images in small_images(pool):
        for start in range(0, len(images), _BLOCK):
            every = patches_of(images[start : start + _BLOCK]).flatten(1, 2)  # (N, H'W', P)
            count = min(share, every.shape[1])
            places = random.permuted(
                np.tile(np.arange(every.shape[1]), (len(every), 1)), axis=1
            )[:, :count]  # fmt: skip
            rows = torch.arange(len(every))[:, None]
            found.append(every[rows, torch.from_numpy(places)].flatten(0, 1))
    return torch.cat(found)


def _centres(patches: Tensor, words: int) -> Tensor:
    """Return k-means centres of whitened patches, (K, P)."""
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    count = min(words, len(patches))
    with threadpool_limits(1):
        found = MiniBatchKMeans(
            count, batch_size=4096, n_init=1, max_iter=20, random_state=0, reassignment_ratio=0.0
        ).fit(patches.numpy())
    return torch.from_numpy(found.cluster_centers_.astype(np.float32))
