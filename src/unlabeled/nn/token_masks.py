"""Which tokens of a row are hidden: exactly a share, and at least one."""

from __future__ import annotations

import torch
from torch import Tensor


def _budget(free: Tensor, ratio: float) -> Tensor:
    """Return how many tokens of each row are chosen, (B, 1)."""
    count = free.sum(1, keepdim=True)
    return (count * ratio).round().clamp(min=1).minimum(count)


def choose_tokens(noise: Tensor, free: Tensor, ratio: float) -> Tensor:
    """Choose the share of free tokens whose noise is least.

    Args:
        noise: (B, T) in [0, 1).
        free: (B, T) bool, tokens that may be chosen.
        ratio: share of the free tokens, rounded to a whole number, at least 1.

    Returns:
        (B, T) bool.

    >>> noise, free = torch.tensor([[0.5, 0.1, 0.2]]), torch.tensor([[True, False, True]])
    >>> choose_tokens(noise, free, 0.15).tolist()
    [[False, False, True]]
    """
    ranked = noise.masked_fill(~free, 2.0).sort(dim=1, stable=True)
    index = torch.arange(noise.shape[1], device=noise.device)
    chosen = torch.zeros_like(free).scatter_(1, ranked.indices, index < _budget(free, ratio))
    return chosen & free


def word_starts(begins: Tensor, free: Tensor, documents: Tensor) -> Tensor:
    """Return which tokens begin a word when words end with their document.

    Args:
        begins: (B, T) bool, tokens that begin a word by themselves.
        free: (B, T) bool; what is not free stands alone.
        documents: (B, T) document numbers.
    """
    starts = begins | ~free
    starts[:, 0] = True
    starts[:, 1:] |= (documents[:, 1:] != documents[:, :-1]) | ~free[:, :-1]
    return starts


def choose_words(noise: Tensor, free: Tensor, starts: Tensor, ratio: float) -> Tensor:
    """Choose whole words until the share of tokens is used up.

    The rule of BERT's `create_masked_lm_predictions`: words are tried in random order, and one
    that would overdraw the budget, which counts tokens, is passed over for later ones that fit. A
    row of words that are all longer than its budget keeps the first, so that it has a target.

    Args:
        noise: (B, T) in [0, 1); a word has the noise of its first token.
        free: (B, T) bool, tokens that may be chosen.
        starts: (B, T) bool, see `word_starts`.
        ratio: share of the free tokens.

    Returns:
        (B, T) bool.

    >>> noise, free = torch.tensor([[0.1, 0.0, 0.0, 0.9]]), torch.ones(1, 4, dtype=torch.bool)
    >>> starts = torch.tensor([[True, False, False, True]])
    >>> choose_words(noise, free, starts, 0.25).tolist()
    [[False, False, False, True]]
    """
    index = torch.arange(noise.shape[1], device=noise.device)
    first = torch.where(starts, index, 0).cummax(1).values  # (B, T) first token of the word
    sizes = torch.zeros_like(first).scatter_add_(1, first, free.long())  # (B, T) at first tokens
    order = noise.masked_fill(sizes == 0, 2.0).sort(dim=1, stable=True).indices
    asked, left = sizes.gather(1, order), _budget(free, ratio)[:, 0].long()
    taken = torch.zeros_like(free)  # (B, T) in that order
    for turn in range(int((sizes > 0).sum(1).max())):
        size = asked[:, turn]
        taken[:, turn] = (size > 0) & (size <= left)
        left = left - size * taken[:, turn]
    taken[:, 0] |= ~taken.any(1) & (asked[:, 0] > 0)
    return torch.zeros_like(free).scatter_(1, order, taken).gather(1, first) & free


def choose_spans(
    noise: Tensor, lengths: Tensor, free: Tensor, starts: Tensor, documents: Tensor, ratio: float
) -> Tensor:
    """Choose runs of whole words until the share of tokens is used up.

    Words are tried as beginnings in the order of their noise. A run ends with its document and
    where another one lies; one that would overdraw the share is cut after its last word that
    fits. The first run of a row keeps its first word whatever it costs.

    Args:
        noise: (B, T) in [0, 1).
        lengths: (B, T) int, words in the run that would begin at a token, >= 1.
        free: (B, T) bool, tokens that may be chosen.
        starts: (B, T) bool, see `word_starts`.
        documents: (B, T) document numbers.
        ratio: share of the free tokens.

    Returns:
        (B, T) int64: the number of the run from 1, 0 where nothing is chosen.
    """
    word, budget = starts.long().cumsum(1), _budget(free, ratio)
    candidate = starts & free
    order = noise.masked_fill(~candidate, 2.0).sort(dim=1, stable=True).indices
    runs = torch.zeros_like(word)
    for turn in range(int(candidate.sum(1).max())):
        used = (runs > 0).sum(1, keepdim=True)
        if bool((used >= budget).all()):
            break
        anchor = order[:, turn : turn + 1]  # (B, 1)
        begin, end = word.gather(1, anchor), (word + lengths).gather(1, anchor)
        allowed = free & (runs == 0) & (documents == documents.gather(1, anchor))
        asked = (word >= begin) & (word < end)
        reached = asked & ((asked & ~allowed).long().cumsum(1) == 0)
        over = reached & (used + reached.long().cumsum(1) > budget)
        limit = word.masked_fill(~over, word.shape[1] + 1).amin(1, keepdim=True)
        limit = torch.where(used == 0, limit.maximum(begin + 1), limit)
        taken = reached & (word < limit) & candidate.gather(1, anchor)
        runs = runs + taken * (turn + 1)
    return runs


def geometric_lengths(noise: Tensor, chance: float, longest: int) -> Tensor:
    """Return lengths with P(n) proportional to (1 - chance)^(n - 1) for n = 1 ... longest.

    SpanBERT (Joshi et al. 2020, arXiv:1907.10529, section 3.1): 0.2 and 10, 3.8 on average.
    """
    shares = (1 - chance) ** torch.arange(longest, dtype=torch.float64, device=noise.device)
    return _drawn(noise, shares)


def harmonic_lengths(noise: Tensor, longest: int) -> Tensor:
    """Return lengths with P(n) proportional to 1/n for n = 1 ... longest.

    ALBERT (Lan et al. 2020, arXiv:1909.11942, equation of section 4.1): 3.
    """
    shares = 1 / torch.arange(1, longest + 1, dtype=torch.float64, device=noise.device)
    return _drawn(noise, shares)


def _drawn(noise: Tensor, shares: Tensor) -> Tensor:
    edges = (shares / shares.sum()).cumsum(0)[:-1]
    return 1 + torch.bucketize(noise.double(), edges, right=True)
