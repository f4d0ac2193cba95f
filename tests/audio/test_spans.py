"""Masks and distractors against transformers' functions, by their rules and their shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.wav2vec2.modeling_wav2vec2 import (
    _compute_mask_indices,
    _sample_negative_indices,
)

from unlabeled.nn.spans import negatives, span_masks


def keys(count: int) -> torch.Tensor:
    return torch.arange(count) * 7919 + 1


@pytest.mark.parametrize(
    ("size", "share", "expected"),
    [(749, 0.65, 0.491), (299, 0.65, 0.49), (49, 0.65, 0.507), (749, 0.8, 0.57)],
)
def test_share_of_hidden_tokens_is_that_of_transformers(
    size: int, share: float, expected: float
) -> None:
    np.random.seed(0)
    # Theirs rounds once a batch, so many small batches are drawn.
    batches = [_compute_mask_indices((4, size), share, 10, min_masks=2) for _ in range(150)]
    theirs = np.concatenate(batches).mean()
    ours = span_masks(keys(400), torch.full((400,), size), size, share, 10).float().mean().item()
    assert abs(ours - theirs) < 0.012
    assert abs(ours - expected) < 0.02


def test_spans_have_their_length_and_lie_inside_the_clip() -> None:
    lengths = torch.tensor([100, 60, 21, 12, 3, 2, 1] * 20)
    masks = span_masks(keys(140), lengths, 100, 0.65, 10)
    for row, length in zip(masks, lengths.tolist(), strict=True):
        assert row.any()
        assert not row[length:].any()
        if length > 1:
            assert not row[:length].all()
        runs = np.diff(np.flatnonzero(np.diff(np.r_[0, row.numpy().astype(int), 0])))[::2]
        assert runs.min() >= min(10, max(1, length // 2))


def test_every_start_is_equally_likely() -> None:
    masks = span_masks(keys(8000), torch.full((8000,), 20), 20, 0.25, 5, least=1)  # one start
    first = masks.float().argmax(1).bincount(minlength=16)
    assert len(first) == 16
    assert (first - 500).abs().max() < 5 * 500**0.5


def test_distractors_follow_the_rules_of_transformers() -> None:
    masks = span_masks(keys(5), torch.tensor([40, 30, 20, 40, 8]), 40, 0.65, 5)
    found = negatives(keys(5), masks, 50)
    clip = masks.nonzero()[:, 0]
    rows = torch.arange(len(found))[:, None]
    several = masks.sum(1)[clip] > 1
    assert found.shape == (int(masks.sum()), 50)
    assert (clip[found] == clip[:, None]).all()  # of the same clip, and hidden
    assert (found != rows)[several].all()  # never itself
    theirs = _sample_negative_indices((5, 40), 50, masks.numpy())
    place = masks.flatten().nonzero().flatten()  # ours count hidden tokens, theirs all of them
    for row in range(len(found)):
        if several[row]:
            at = masks.nonzero()[row]
            allowed = set(place[found[row]].tolist()) | set(theirs[at[0], at[1]].tolist())
            inside = {int(at[0]) * 40 + int(i) for i in masks[at[0]].nonzero()}
            assert allowed <= inside - {int(place[row])}


def test_distractors_are_drawn_evenly() -> None:
    masks = torch.ones(1, 11, dtype=torch.bool)
    found = negatives(keys(1), masks, 20_000)
    counts = torch.stack([row.bincount(minlength=11) for row in found])
    assert (counts.diagonal() == 0).all()
    rest = counts[~torch.eye(11, dtype=torch.bool)]
    assert (rest - 2000).abs().max() < 5 * 2000**0.5


def test_what_is_drawn_for_a_clip_does_not_depend_on_the_others() -> None:
    lengths = torch.tensor([30, 20, 25])
    whole = span_masks(keys(3), lengths, 30, 0.65, 5)
    alone = span_masks(keys(3)[1:2], lengths[1:2], 30, 0.65, 5)
    torch.testing.assert_close(whole[1:2], alone)
