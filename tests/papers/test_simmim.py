"""SimMIM's loss against transformers' class, and what is hidden."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import ViTConfig, ViTForMaskedImageModeling

from tests.vision.small import batch, method
from unlabeled.errors import ConfigError
from unlabeled.nn.masks import take
from unlabeled.nn.patches import patchify, unpatchify


def test_loss_is_that_of_transformers_for_the_same_guess() -> None:
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16,
        image_size=16, patch_size=4, encoder_stride=4,
    )  # fmt: skip
    theirs = ViTForMaskedImageModeling(config).eval()
    simmim = method("simmim").eval()
    seen = batch(simmim)
    images, hidden = seen["global"][0], simmim.hide(seen.keys)
    mask = torch.zeros(8, 16, dtype=torch.bool).scatter_(1, hidden, True)
    with torch.no_grad():
        found = theirs(images, bool_masked_pos=mask)
        simmim.guess = lambda *_: take(patchify(found.reconstruction, 4), hidden)
        ours = simmim.loss(seen, 0.5).total
    assert ours.item() == pytest.approx(found.loss.item(), rel=1e-5)


def test_the_share_of_hidden_patches_is_the_authors() -> None:
    """data_simmim.py: ceil(units * ratio), the same for every image."""
    for unit, count in ((1, math.ceil(16 * 0.6)), (2, 4 * math.ceil(4 * 0.6))):
        simmim = method("simmim", mask_unit=unit)
        hidden = simmim.hide(batch(simmim).keys)
        assert hidden.shape == (8, count)
        assert all(len(set(row.tolist())) == count for row in hidden)


def test_units_are_hidden_whole() -> None:
    simmim = method("simmim", mask_unit=2)
    hidden = simmim.hide(batch(simmim).keys)
    mask = torch.zeros(8, 16, dtype=torch.bool).scatter_(1, hidden, True).view(8, 2, 2, 2, 2)
    units = mask.float().mean((2, 4))
    assert ((units == 0) | (units == 1)).all()


def test_the_loss_does_not_see_what_is_hidden() -> None:
    simmim = method("simmim").eval()
    seen = batch(simmim)
    hidden = simmim.hide(seen.keys)
    before = simmim.guess(seen["global"][0], hidden)
    patches = patchify(seen["global"][0], 4)
    other = patches.scatter(1, hidden[..., None].expand(-1, -1, 48), 9.0)
    torch.testing.assert_close(simmim.guess(unpatchify(other, 4, 3), hidden), before)


def test_units_that_do_not_tile_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"method\.mask_unit=3 does not tile 4 patches"):
        method("simmim", mask_unit=3)


def test_the_report_gets_pictures() -> None:
    simmim = method("simmim").eval()
    seen = batch(simmim)
    made = simmim.reconstruct(seen)
    hidden = simmim.hide(seen.keys)
    torch.testing.assert_close(made.original, seen["global"][0])
    assert not take(patchify(made.masked, 4), hidden).any()
    torch.testing.assert_close(
        take(patchify(made.reconstruction, 4), hidden), simmim.guess(made.original, hidden)
    )
