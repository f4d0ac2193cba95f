"""Product quantisation by straight-through Gumbel softmax, as in vq-wav2vec and wav2vec 2.0."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlabeled.nn.precision import full
from unlabeled.rng import uniform


class Quantized(NamedTuple):
    """What a quantizer makes of S rows.

    Args:
        vectors: (S, D), codes of all groups side by side.
        perplexity: scalar, exp of the entropy of the mean distribution, summed over groups: G
            where one code serves all, G x V where all serve alike.
    """

    vectors: Tensor
    perplexity: Tensor


class GumbelQuantizer(nn.Module):
    """Chooses one of V codes in each of G groups.

    Args:
        width: of a row.
        groups: G.
        entries: V.
        dim: D, a multiple of G.
    """

    def __init__(self, width: int, groups: int, entries: int, dim: int) -> None:
        super().__init__()
        self.groups, self.entries = groups, entries
        self.score = nn.Linear(width, groups * entries)
        self.codes = nn.Parameter(torch.empty(1, groups * entries, dim // groups))
        nn.init.normal_(self.score.weight)
        nn.init.zeros_(self.score.bias)
        nn.init.uniform_(self.codes)

    def noise(self, keys: Tensor, size: int) -> Tensor:
        """Draw the noise of a batch, (B,) -> (B, N, G * V) uniform in [0, 1)."""
        entries = self.groups * self.entries
        return uniform(keys, size * entries, salt=0x6B).view(len(keys), size, entries)

    def forward(self, rows: Tensor, temperature: float, noise: Tensor | None) -> Quantized:
        """Quantise rows, (S, width).

        Args:
            rows: what is quantised.
            temperature: > 0, of the softmax whose gradient is taken.
            noise: (S, G * V) uniform in [0, 1); None chooses the likeliest, without gradient to
                the scores.
        """
        scores = full(self.score(rows)).view(-1, self.groups, self.entries)  # (S, G, V)
        if noise is None:
            chosen = _one_hot(scores)
            shares = chosen
        else:
            gumbel = -torch.log(-torch.log(noise.clamp(1e-7, 1 - 1e-7))).view_as(scores)
            soft = ((scores + gumbel) / temperature).softmax(-1)
            chosen = _one_hot(soft) - soft.detach() + soft
            shares = scores.softmax(-1)
        table = full(self.codes).view(self.groups, self.entries, -1)
        vectors = torch.einsum("sgv,gvd->sgd", chosen, table).flatten(1)
        mean = shares.mean(0)  # (G, V)
        perplexity = torch.exp(-torch.xlogy(mean, mean).sum(-1)).sum()
        return Quantized(vectors, perplexity)


def choices(context: Tensor, truth: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Return scores of the true code and of its distractors, equation 3 of wav2vec 2.0.

    Args:
        context: (S, D) what was guessed.
        truth: (S, D) codes.
        others: (S, K) int64, rows of `truth`.
        temperature: > 0.

    Returns:
        (S, 1 + K); the first is the true one. A distractor equal to it scores -inf.
    """
    wrong = truth[others]  # (S, K, D)
    near = F.cosine_similarity(context[:, None], torch.cat([truth[:, None], wrong], 1), dim=-1)
    same = F.pad((wrong == truth[:, None]).all(-1), (1, 0))
    return (near / temperature).masked_fill(same, float("-inf"))


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """Return x, through which gradients pass times `scale`."""
    return x * scale + x.detach() * (1 - scale)


def _one_hot(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores).scatter_(-1, scores.argmax(-1, keepdim=True), 1.0)
