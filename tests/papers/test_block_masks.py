"""Block masks: DINOv2's algorithm sample by sample, in distribution and in layout."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from lightly.models.utils import random_block_mask, random_block_mask_image

from unlabeled.nn.block_masks import block_masks, crop_masks, draw_ratios, spread_ratios
from unlabeled.rng import sample_key, uniform


def _keys(count: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor([sample_key(seed, 0, index) for index in range(count)])


@pytest.mark.parametrize(("side", "wanted"), [(14, 60), (8, 25), (8, 6)])
def test_counts_and_places_are_distributed_as_lightlys(side: int, wanted: int) -> None:
    random.seed(0)
    theirs = torch.stack([random_block_mask_image((side, side), wanted) for _ in range(600)])
    ours = block_masks(_keys(3000), torch.full((3000,), wanted), side).view(-1, side, side)
    one, two = theirs.sum((1, 2)).float(), ours.sum((1, 2)).float()
    assert two.max() <= wanted
    assert two.mean().item() == pytest.approx(one.mean().item(), abs=4 * (one.std() / 24).item())
    assert two.std().item() == pytest.approx(one.std().item(), rel=0.25, abs=0.15)
    centre = slice(side // 4, side - side // 4)
    middle = [x[:, centre, centre].float().mean().item() for x in (theirs, ours)]
    assert middle[0] == pytest.approx(middle[1], abs=0.02)
    edges = [x.float().diff(dim=2).abs().sum((1, 2)).mean().item() for x in (theirs, ours)]
    assert edges[0] == pytest.approx(edges[1], rel=0.06)  # as blocky as theirs


def test_a_mask_depends_on_its_key_alone() -> None:
    keys, wanted = _keys(20), torch.arange(20)
    whole = block_masks(keys, wanted, 8)
    alone = torch.cat([block_masks(keys[i : i + 1], wanted[i : i + 1], 8) for i in range(20)])
    assert torch.equal(whole, alone)
    assert not torch.equal(whole, block_masks(keys, wanted, 8, salt=1))
    assert not whole[0].any()


def test_all_blocks_fit_and_none_is_of_full_height() -> None:
    one_block = block_masks(_keys(500), torch.full((500,), 12), 8, smallest=12)
    for mask in one_block.view(-1, 8, 8).numpy():
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert 0 < len(rows) < 8
        assert 0 < len(columns) < 8


def test_half_of_a_batch_has_ratios_laid_out_on_a_line() -> None:
    """DINOv2: ratio i of n lies in the i-th interval of linspace(0.1, 0.5, n + 1)."""
    ratios = spread_ratios(uniform(_keys(64), 2), 0.5, 0.1, 0.5)
    hidden = ratios[ratios > 0].sort().values
    assert len(hidden) == 32
    lines = torch.linspace(0.1, 0.5, 33)
    assert (hidden >= lines[:-1] - 1e-6).all()
    assert (hidden <= lines[1:] + 1e-6).all()
    random.seed(0)
    theirs = random_block_mask((64, 14, 14)).flatten(1).sum(1)
    assert int((theirs > 0).sum()) == len(hidden)


def test_ratios_drawn_alone_have_the_same_distribution() -> None:
    draws = uniform(_keys(4000), 2)
    alone, spread = draw_ratios(draws, 0.5, 0.1, 0.5), spread_ratios(draws, 0.5, 0.1, 0.5)
    assert (alone > 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    for quantile in (0.6, 0.75, 0.9):
        assert alone.quantile(quantile).item() == pytest.approx(
            spread.quantile(quantile).item(), abs=0.02
        )


def test_both_crops_of_a_sample_are_hidden_differently() -> None:
    one, two = crop_masks(_keys(32), 8, 1.0, (0.3, 0.5)).chunk(2)
    assert one.any(1).all()
    assert (one != two).any(1).all()
    half = crop_masks(_keys(32), 8, 0.5, (0.1, 0.5), spread=True)
    assert int(half.any(1).sum()) == 32
