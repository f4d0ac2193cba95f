"""What is drawn in strokes is bent and widened, not cropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
from torchvision.transforms.v2 import functional as theirs

from unlabeled.choices import Request
from unlabeled.config import ImageConfig
from unlabeled.modalities import pixels, strokes
from unlabeled.modalities.image import Image
from unlabeled.plan import plan
from unlabeled.types import View

DRAWN = View(count=2, extent=(0.1, 1.0), flip=True, distort=0.5)


def _half(**columns: float) -> torch.Tensor:
    """Draws of which all but those named change nothing."""
    draws = torch.full((1, strokes.NUM_DRAWS), 0.5)
    for name, value in columns.items():
        draws[0, int(name[1:])] = value
    return draws


def _letter(edge: int = 28) -> torch.Tensor:
    """A blurred L of light ink, (1, 1, E, E) in [0, 1]."""
    x = np.zeros((edge, edge), np.float32)
    x[7:21, 9:12] = 1
    x[18:21, 9:19] = 1
    return torch.from_numpy(scipy.ndimage.gaussian_filter(x, 1.0))[None, None]


def test_draws_in_the_middle_change_nothing() -> None:
    x = _letter()
    torch.testing.assert_close(strokes.bend(x, 1.0, _half()), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(strokes.widen(x, 1.0, _half()), x)


@pytest.mark.parametrize("draw", [0.0, 0.25, 0.999999])
def test_a_turn_is_that_of_torchvision(draw: float) -> None:
    x = _letter(29)
    degrees = 15 * (2 * draw - 1)
    expected = theirs.affine(
        x, angle=-degrees, translate=[0, 0], scale=1.0, shear=[0.0, 0.0],
        interpolation=theirs.InterpolationMode.BILINEAR,
    )  # fmt: skip
    found = strokes.bend(x, 1.0, _half(_0=draw))
    torch.testing.assert_close(found[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], atol=2e-3, rtol=0)


def test_a_shift_moves_by_its_share_of_half_an_edge() -> None:
    edge = 40  # 0.15 of half of it are 3 pixels
    x = _letter(edge)
    found = strokes.bend(x, 1.0, _half(_4=1.0))
    torch.testing.assert_close(found[..., :-3], x[..., 3:], atol=1e-5, rtol=0)


def test_what_lies_beyond_the_border_is_the_ground_whichever_is_dark() -> None:
    torch.manual_seed(0)
    draws = torch.rand(8, strokes.NUM_DRAWS)
    x = _letter().expand(8, -1, -1, -1)
    torch.testing.assert_close(
        strokes.bend(1 - x, 1.0, draws), 1 - strokes.bend(x, 1.0, draws), atol=1e-5, rtol=0
    )


def test_strokes_become_wider_by_dilation_and_narrower_by_erosion() -> None:
    x = _letter()
    plane = x[0, 0].numpy()
    wide = torch.from_numpy(scipy.ndimage.grey_dilation(plane, size=3, mode="nearest"))
    thin = torch.from_numpy(scipy.ndimage.grey_erosion(plane, size=3, mode="nearest"))
    last = f"_{strokes.NUM_DRAWS - 1}"
    widened = strokes.widen(x, 1.0, _half(**{last: 1.0}))[0, 0]
    torch.testing.assert_close(widened, x[0, 0] + 0.8 * (wide - x[0, 0]))
    narrowed = strokes.widen(x, 0.5, _half(**{last: 0.0}))[0, 0]
    torch.testing.assert_close(narrowed, x[0, 0] + 0.4 * (thin - x[0, 0]))


def test_only_distorted_views_are_bent_and_a_batch_is_as_its_images() -> None:
    reader = Image(ImageConfig(size=28, channels=1, jitter="values", bend=1, widen=1, blur=False))
    cuts = (_letter().expand(2, 3, 1, -1, -1) * 255).to(torch.uint8)
    keys = torch.tensor([3, 5, 8])
    whole = reader.distort(cuts, DRAWN, keys)
    assert not torch.allclose(whole[0, 0], whole[1, 0], atol=0.1)
    torch.testing.assert_close(reader.distort(cuts[:, 1:2], DRAWN, keys[1:2])[:, 0], whole[:, 1])
    plain = Image(reader.config.model_copy(update={"bend": 0.0, "widen": 0.0}))
    for view in (View(), View(count=2, extent=(0.2, 1.0))):
        torch.testing.assert_close(
            reader.distort(cuts, view, keys), plain.distort(cuts, view, keys), rtol=0, atol=0
        )


def test_without_jitter_values_stay_as_they_are() -> None:
    reader = Image(ImageConfig(size=28, channels=1, jitter="none", mean=(0.0,), std=(1.0,)))
    cuts = (_letter().expand(2, 3, 1, -1, -1) * 255).to(torch.uint8)
    torch.testing.assert_close(
        reader.distort(cuts, DRAWN, torch.tensor([3, 5, 8])), cuts.to(torch.float32) / 255
    )


def test_crops_cover_at_least_what_is_asked_for() -> None:
    raw = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64, 1)
    reader = Image(ImageConfig(size=64, channels=1, least=1.0, flip=False))
    cuts = reader.cut(raw, DRAWN, np.random.default_rng(0))
    assert all((cut.numpy().transpose(1, 2, 0) == raw).all() for cut in cuts)


def test_drawings_are_known_from_scans_and_photographs() -> None:
    rng = np.random.default_rng(0)
    ink = [(rng.random((100, 1)) < 0.2) * 255.0 for _ in range(5)]
    assert pixels.drawn(ink) == pixels.drawn([255 - x for x in ink]) == 1.0
    scan = [np.where(rng.random((100, 1)) < 0.6, 0, rng.normal(120, 25, (100, 1))) for _ in "abc"]
    assert pixels.drawn(scan) == 0.0
    assert pixels.drawn([rng.normal(120, 40, (100, 1)) for _ in "abc"]) == 0.0


def test_drawings_are_bent_and_other_grey_images_are_not(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    rng = np.random.default_rng(0)
    for name, drawing in (("drawn", True), ("grey", False)):
        (tmp_path / name).mkdir()
        for i in range(6):
            soft = rng.integers(60, 200, (28, 28)).astype(np.uint8)
            hard = ((scipy.ndimage.gaussian_filter(soft, 2.0) > 132) * 255).astype(np.uint8)
            Pillow.fromarray(hard if drawing else soft).save(tmp_path / name / f"{i}.png")
    drawn = plan(Request(str(tmp_path / "drawn"), steps=1)).config.modality
    grey = plan(Request(str(tmp_path / "grey"), steps=1)).config.modality
    assert isinstance(drawn, ImageConfig)
    assert isinstance(grey, ImageConfig)
    assert (drawn.bend, drawn.widen, drawn.least, drawn.flip) == (1.0, 1.0, 1.0, False)
    assert (grey.bend, grey.widen, grey.least, grey.flip) == (0.0, 0.0, 0.0, True)
    assert (drawn.jitter, grey.jitter) == ("none", "values")
