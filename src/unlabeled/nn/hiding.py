"""Which tokens of a row are hidden, and what stands in their place."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from unlabeled.nn import token_masks
from unlabeled.rng import uniform

Unit = Literal["token", "word", "ngram", "span"]


class Hiding(nn.Module):
    """Chooses tokens and replaces them, as a function of ids and keys.

    Args:
        text: the modality with its tokenizer, which has a mask token.
        unit: what is chosen as a whole: tokens; words; n-grams of words (ALBERT); spans of words,
            each replaced in one way (SpanBERT).
        mask: share of the chosen tokens that become the mask.
        random: share that becomes a random ordinary token; the rest stays.
    """

    special: Tensor
    ordinary: Tensor
    edges: Tensor

    def __init__(self, text: Any, unit: Unit, mask: float, random: float) -> None:
        super().__init__()
        self.unit, self.mask, self.random = unit, mask, random
        self.mask_id = int(text.mask_id)
        special = torch.zeros(int(text.vocab_size), dtype=torch.bool)
        special[list(text.special_ids)] = True
        self.register_buffer("special", special, persistent=False)
        self.register_buffer("ordinary", (~special).nonzero().flatten(), persistent=False)
        edges = text.word_edges() if unit != "token" else special[:0]
        self.register_buffer("edges", edges, persistent=False)

    def free(self, x: Tensor) -> Tensor:
        """Return which tokens may be chosen, (B, 2 or more, T) -> (B, T)."""
        return (x[:, 1] >= 0) & ~self.special[x[:, 0]]

    def forward(self, x: Tensor, keys: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
        """Return ids with chosen tokens hidden, and which were chosen, both (B, T).

        Args:
            x: (B, 2 or more, T) ids and document numbers.
            keys: (B,) what the choice comes from.
            ratio: share of the ordinary tokens that is chosen; at least one in each row.
        """
        chosen, draw = self._choose(x, keys, ratio)
        ids = x[:, 0]
        swapped = torch.where(draw < self.mask + self.random, self.words(ids, keys), ids)
        swapped = torch.where(draw < self.mask, self.mask_id, swapped)
        return torch.where(chosen, swapped, ids), chosen

    def words(self, ids: Tensor, keys: Tensor) -> Tensor:
        """Return ordinary tokens drawn uniformly, (B, T)."""
        word = (uniform(keys, ids.shape[1], salt=3) * len(self.ordinary)).long()
        return self.ordinary[word]

    def _choose(self, x: Tensor, keys: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
        """Return which tokens are chosen, and the number that says what becomes of each."""
        ids, documents, free = x[:, 0], x[:, 1], self.free(x)
        noise, draw = (uniform(keys, ids.shape[1], salt=salt) for salt in (1, 2))
        if self.unit == "token":
            return token_masks.choose_tokens(noise, free, ratio), draw
        begins = self.edges[0][ids]
        begins[:, 1:] |= ~self.edges[1][ids[:, :-1]]
        starts = token_masks.word_starts(begins, free, documents)
        if self.unit == "word":
            return token_masks.choose_words(noise, free, starts, ratio), draw
        sizes = uniform(keys, ids.shape[1], salt=4)
        if self.unit == "ngram":
            lengths = token_masks.harmonic_lengths(sizes, 3)
        else:
            lengths = token_masks.geometric_lengths(sizes, 0.2, 10)
        runs = token_masks.choose_spans(noise, lengths, free, starts, documents, ratio)
        if self.unit == "span":  # one number for all tokens of a span
            draw = draw.gather(1, (runs - 1).clamp(min=0))
        return runs > 0, draw


def sample(logits: Tensor, noise: Tensor) -> Tensor:
    """Draw a token from each row of logits, in fp32.

    Args:
        logits: (S, K), any precision; no gradient passes.
        noise: (S,) in [0, 1): where in the cumulated probability the token lies.

    Returns:
        (S,) int64.

    >>> sample(torch.tensor([[0.0, 0.0], [0.0, -99.0]]), torch.tensor([0.7, 0.7])).tolist()
    [1, 0]
    """
    passed = logits.detach().float().softmax(-1).cumsum(-1)  # (S, K)
    place = noise.to(passed.dtype)[:, None] * passed[:, -1:]
    return torch.searchsorted(passed, place, right=True)[:, 0].clamp(max=logits.shape[1] - 1)


def shuffle(ids: Tensor, documents: Tensor, chosen: Tensor, noise: Tensor) -> Tensor:
    """Permute the chosen tokens of each document.

    Args:
        ids: (B, T).
        documents: (B, T) document numbers, ascending in a row.
        chosen: (B, T) bool; the others stay.
        noise: (B, T) in [0, 1), the order that is drawn.

    Returns:
        (B, T).
    """
    length = ids.shape[1]
    place = torch.arange(length, device=ids.device, dtype=torch.float64) / length
    orders = [
        (documents + key.double()).masked_fill(~chosen, torch.inf).sort(dim=1, stable=True).indices
        for key in (place.expand_as(noise), noise)
    ]
    return ids.scatter(1, orders[0], ids.gather(1, orders[1]))
