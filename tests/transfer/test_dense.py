"""Features of places: maps, attention, segmentation by a probe and by neighbours."""

from __future__ import annotations

import json
import shutil

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import jaccard_score
from timm.utils import AttentionExtract
from torch.nn import functional as F

from tests.loop.running import small_config
from unlabeled import loop
from unlabeled.api import Encoder
from unlabeled.cli.start import main
from unlabeled.config import EncoderConfig, ImageConfig
from unlabeled.encoders.vision import build
from unlabeled.errors import DataError, UsageError
from unlabeled.modalities.image import Image
from unlabeled.transfer import dense, dense_decoder


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw discs and squares of one colour on noise, and the mask of what is where."""
    rng = np.random.default_rng(number)
    image = PIL.Image.fromarray(rng.integers(0, 90, (24, 32, 3), dtype=np.uint8))
    mask = PIL.Image.new("L", image.size)
    for value, left in ((1, 5), (2, 18)):
        x, y = left + int(rng.integers(0, 3)), int(rng.integers(2, 12))
        for place, fill in ((image, (220, 120, 40)), (mask, value)):
            draw = PIL.ImageDraw.Draw(place)
            box = [x, y, x + 8, y + 8]
            draw.ellipse(box, fill=fill) if value == 1 else draw.rectangle(box, fill=fill)
    return np.asarray(image), np.asarray(mask)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("dense")
    for number in range(20):
        image, mask = scene(number)
        for name, array in (("images", image), ("masks", mask)):
            (place / name / "a").mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(array).save(place / name / "a" / f"{number}.png")
    config = small_config("mae", place / "images", steps=3)
    loop.pretrain(config, place / "run", quiet=True)
    return place


def given(count: int = 8, size: int = 24) -> torch.Tensor:
    masks = [scene(number)[1][:, 4:28] for number in range(count)]
    return torch.from_numpy(np.stack(masks)).long()[:, :size, :size]


def test_perfect_features_segment_perfectly_and_useless_ones_do_not():
    masks = given()
    exact = F.one_hot(masks, 3).float()  # one patch a pixel
    for read in (dense.probe, dense.propagate):
        scores = read(exact[:3], masks[:3], exact[3:], 3)
        assert dense.mean_iou(scores, masks[3:]) == 1
        noise = torch.randn(exact.shape, generator=torch.Generator().manual_seed(0))
        assert dense.mean_iou(read(noise[:3], masks[:3], noise[3:], 3), masks[3:]) < 0.4


def test_score_is_sklearns_over_all_pixels_that_are_known():
    masks = given()
    masks[:, :3] = dense.IGNORED
    scores = torch.randn(8, 24, 24, 3, generator=torch.Generator().manual_seed(0))
    known = (masks != dense.IGNORED).numpy()
    expected = jaccard_score(
        masks.numpy()[known], scores.argmax(-1).numpy()[known], average="macro"
    )
    assert dense.mean_iou(scores, masks) == pytest.approx(expected, abs=1e-9)


def test_shares_of_patches_by_hand():
    masks = torch.tensor([[[0, 0, 2, 255], [0, 1, 2, 2], [1, 1, 255, 255], [1, 1, 255, 255]]])
    part = dense.shares(masks, 2, 3)
    assert part[0, 0, 0].tolist() == [0.75, 0.25, 0]
    assert part[0, 0, 1].tolist() == [0, 0, 0.75]
    assert part[0, 1, 0].tolist() == [0, 1, 0]
    assert part[0, 1, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "vit_small_patch14_reg4_dinov2"]
)
@torch.no_grad()
def test_maps_and_attention_are_timms(name):
    options = {"depth": 2, "embed_dim": 48, "num_heads": 3}
    encoder = build(
        EncoderConfig(name=f"timm:{name}", patch=8, options=options), ImageConfig(size=32)
    ).eval()
    x = torch.randn(2, 3, 32, 32)
    first = encoder.num_prefix
    expected = encoder.model.forward_features(x)[:, first:].reshape(2, 4, 4, 48)
    torch.testing.assert_close(encoder.maps(x), expected)
    looks = encoder.attention(x)
    assert looks.shape == (2, 3, 4, 4)
    found = AttentionExtract(encoder.model, names=["blocks.1.attn.attn_drop"], method="hook")(x)
    theirs = next(iter(found.values()))  # (B, heads, N, N), after the softmax
    torch.testing.assert_close(looks.flatten(2), theirs[:, :, 0, first:])


def test_maps_of_a_convolutional_network_are_its_last():
    encoder = build(EncoderConfig(name="timm:resnet10t"), ImageConfig(size=64)).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder.maps(x), encoder.model.forward_features(x).permute(0, 2, 3, 1)
        )


def test_from_the_command_line(run, capsys, monkeypatch):
    monkeypatch.chdir(run)
    assert main(["evaluate", "run", "--masks", "masks", "--test", "run", "--quick"]) == 2
    assert "no use for --test and --quick; leave them out" in capsys.readouterr().err
    assert main(["evaluate", "run", "--masks", "masks", "--counts", "2,99"]) == 0
    shown = capsys.readouterr().out
    assert "pre-trained" in shown
    record = json.loads((run / "run" / "evaluate" / "dense.json").read_text())
    assert (record["classes"], record["images"]) == ([0, 1, 2], 20)
    rows = {(r["features"], r["reading"], r["images"]): r for r in record["rows"]}
    assert len(rows) == 3 * 3 * 2
    assert all(0 < r["mean"] < 1 for r in rows.values())
    assert rows["colours", "probe", 10]["low"] is None  # all of them: there is one draw
    assert main(["embed", "run", "images", "--dense", "--out", "d.parquet"]) == 0
    table = pq.read_table("d.parquet").to_pylist()
    row = next(r for r in table if r["name"] == "a/3.png")
    assert (row["height"], row["width"]) == (4, 4)
    given = Encoder.from_pretrained("run").dense([run / "images" / "a" / "3.png"])
    np.testing.assert_allclose(np.reshape(row["embedding"], given.shape[1:]), given[0], atol=1e-5)


def test_a_mask_is_cut_as_its_image_and_a_bad_one_is_named(run, tmp_path, monkeypatch):
    from unlabeled.runs import Run

    opened = Run.open(run / "run")
    scenes = dense.read_masks(opened, run / "masks")
    image = scenes.inputs * torch.tensor(0.3) + 0.4
    bright = image[:, 0] > 0.6  # what was drawn
    agree = (bright == (scenes.masks > 0)).float().mean()
    assert agree > 0.9
    with pytest.raises(UsageError, match="0 of 20 images have a mask"):
        dense.read_masks(opened, tmp_path)
    (tmp_path / "a").mkdir()
    with monkeypatch.context() as patch:
        read, broken = Image.read, opened.source().payload(0)

        def damaged(self, payload):
            if payload == broken:
                raise DataError("it is damaged")
            return read(self, payload)

        patch.setattr(Image, "read", damaged)
        shutil.copytree(run / "masks", tmp_path / "more")
        shutil.copy(run / "masks" / "a" / "1.png", tmp_path / "more" / "z.png")
        few = dense.read_masks(opened, tmp_path / "more")
    assert (len(few.inputs), len(few.masks)) == (19, 19)
    assert few.notes[0].startswith("1 images with a mask cannot be read (first: a/0.png: it is")
    assert few.notes[1].startswith("1 masks are of no image of the run (first:")
    assert not scenes.notes
    for number in range(4):
        PIL.Image.new("RGB", (32, 24)).save(tmp_path / "a" / f"{number}.png")
    with pytest.raises(UsageError, match="it is RGB, not one class a pixel"):
        dense.read_masks(opened, tmp_path)


def test_texts_have_no_places():
    class Words:
        modality = "text"

    with pytest.raises(UsageError, match="Dense features are of images"):
        dense.require_maps(Words())


def bordered(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return maps of noise whose class is told by the patch to the right, and masks."""
    maps = torch.randn(count, 8, 8, 5, generator=torch.Generator().manual_seed(seed))
    return maps, (maps[..., 0].roll(-1, 2) > 0).long().repeat_interleave(2, 1).repeat_interleave(
        2, 2
    )


def test_a_decoder_sees_neighbours_and_a_probe_does_not():
    maps, masks = bordered(24, 0)
    others, truth = bordered(16, 1)
    blind = dense.mean_iou(dense.probe(maps, masks, others, 2), truth)
    scores, steps = dense_decoder.decode(maps, masks, others, 2)
    assert steps > 0
    assert blind < 0.45
    assert dense.mean_iou(scores, truth) > 0.6


def test_a_decoder_is_the_probe_where_nothing_speaks_for_more():
    masks = given()
    exact = F.one_hot(masks, 3).float() + 0.1 * torch.randn(8, 24, 24, 3)
    for count, rest in ((3, 3), (6, 6)):  # too few to leave some out; the probe is right already
        scores, steps = dense_decoder.decode(exact[:count], masks[:count], exact[rest:], 3)
        assert steps == 0
        probe = dense.probe(exact[:count], masks[:count], exact[rest:], 3)
        torch.testing.assert_close(scores, probe, atol=1e-4, rtol=1e-4)
        again = dense_decoder.decode(exact[:count], masks[:count], exact[rest:], 3)[0]
        assert torch.equal(scores, again)
