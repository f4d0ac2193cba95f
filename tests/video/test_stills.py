"""Networks that look at frames apart, and the methods that compare frames by the time between."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from tests.loop.running import NARROW, small_config
from unlabeled import encoders, loop
from unlabeled.choices import Request
from unlabeled.config import EncoderConfig, VideoConfig
from unlabeled.encoders.stills import Stills
from unlabeled.errors import ConfigError
from unlabeled.export import export
from unlabeled.methods.tcn import TCN
from unlabeled.methods.vip import VIP
from unlabeled.modalities.video import Video
from unlabeled.nn.moments import at, between, rising
from unlabeled.plan import plan
from unlabeled.rng import sample_key
from unlabeled.runs import Run
from unlabeled.transfer.evaluate import evaluate
from unlabeled.types import Batch

VIDEO = VideoConfig(size=16, frames=6)


def _encoder() -> Any:
    torch.manual_seed(0)
    return encoders.build(EncoderConfig.model_validate(NARROW), VIDEO).eval()


def _keys(count: int) -> torch.Tensor:
    return torch.tensor([sample_key(0, 0, index) for index in range(count)])


def test_a_clip_is_the_mean_of_its_frames_which_do_not_see_each_other() -> None:
    encoder = _encoder()
    clips = torch.randn(2, 5, 3, 16, 16)
    with torch.no_grad():
        apart = torch.stack([encoder.still(clips[:, t]) for t in range(5)], 1)
        torch.testing.assert_close(encoder(clips), apart.mean(1), rtol=1e-4, atol=1e-5)


def test_moments_rise_and_every_set_is_alike_likely() -> None:
    drawn = rising(_keys(4000), 4, 2)
    assert (drawn[:, 0] < drawn[:, 1]).all()
    share = torch.bincount(drawn[:, 0] * 4 + drawn[:, 1], minlength=16) / 4000
    assert (share[share > 0] - 1 / 6).abs().max() < 0.024  # 4 deviations of a binomial
    assert (share > 0).sum() == 6
    first, last = drawn.unbind(1)
    now = between(_keys(4000), first, last)
    assert ((first <= now) & (now < last)).all()
    wide = (first == 0) & (last == 3)
    shares = torch.bincount(now[wide], minlength=3) / wide.sum()
    assert (shares - 1 / 3).abs().max() < 0.075


def test_loss_of_time_contrast_is_equation_1_of_r3m_both_ways() -> None:
    method = TCN(TCN.Config(small=0.5, sparse=0.25), _encoder(), Video(VIDEO)).eval()
    clips, keys = torch.randn(4, 6, 3, 16, 16), _keys(4)
    with torch.no_grad():
        found = method.loss(Batch({"global": clips[None]}, keys), 0.0)
        z = method.encoder.embed(at(clips, rising(keys, 6, 3))).double()
    total = 0.0
    for b in range(4):
        for a, far in ((0, 2), (2, 0)):
            score = lambda x, a=a, b=b: math.exp(-float((z[b, a] - x).norm()))  # noqa: E731
            near, wrong = score(z[b, 1]), score(z[b, far])
            others = sum(score(z[o, far]) for o in range(4) if o != b)
            total -= math.log(near / (near + wrong + others)) / 8
    size = 0.5 * z.norm(dim=-1).mean() + 0.25 * z.abs().sum(-1).mean()
    assert found.total.item() == pytest.approx(total + float(size), rel=1e-4)


def test_what_features_that_are_all_alike_score() -> None:
    same = torch.ones(5, 7)
    tcn = TCN(TCN.Config(), _encoder(), Video(VIDEO))
    loss = torch.nn.functional.cross_entropy(
        tcn.logits(same, same, same), torch.zeros(5, dtype=torch.int64)
    )
    assert loss.item() == pytest.approx(tcn.chance(5), abs=1e-5)
    vip = VIP(VIP.Config(), _encoder(), Video(VIDEO))
    assert vip.objective(torch.zeros(5, 3)).item() == pytest.approx(vip.chance(5))


def test_objective_of_vip_is_that_of_algorithm_1() -> None:
    method = VIP(VIP.Config(discount=0.9, small=0.0, sparse=0.0), _encoder(), Video(VIDEO)).eval()
    clips, keys = torch.randn(4, 6, 3, 16, 16), _keys(4)
    with torch.no_grad():
        found = method.loss(Batch({"global": clips[None]}, keys), 0.0).total.item()
        z = method.encoder.embed(clips).double()
    first, goal = rising(keys, 6, 2).unbind(1)
    now = between(keys, first, goal)
    value = lambda t: -torch.stack([(z[b, t[b]] - z[b, goal[b]]).norm() for b in range(4)])  # noqa: E731
    inside = torch.exp(-(-1 + 0.9 * value(now + 1) - value(now))).mean().log()
    expected = 0.1 * -value(first).mean() + inside
    assert found == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("name", ["tcn", "vip"])
def test_the_gradient_is_finite_where_frames_are_equal(name: str) -> None:
    method = {"tcn": TCN, "vip": VIP}[name](
        {"tcn": TCN, "vip": VIP}[name].Config(), _encoder(), Video(VIDEO)
    )
    still = torch.randn(2, 1, 3, 16, 16).repeat(1, 6, 1, 1, 1)
    method.loss(Batch({"global": still[None]}, _keys(2)), 0.0).total.backward()
    grads = [p.grad for p in method.parameters() if p.grad is not None]
    assert grads
    assert all(bool(torch.isfinite(g).all()) for g in grads)


def test_a_run_learns_is_evaluated_and_opens_in_timm(clip_folder: Path, tmp_path: Path) -> None:
    """From clips to an image network that a policy can start from."""
    run = Run.open(
        loop.pretrain(small_config("tcn", clip_folder, steps=3), tmp_path / "r", quiet=True)
    )
    found = evaluate(run, counts=[2], draws=1, arms=["probe", "untrained"], quick=True)
    assert {row["reading"] for row in found["rows"]} == {"probe", "untrained"}
    for form in ("timm", "hf"):
        assert export(run, form).max_difference < 1e-4
    again = encoders.load(run.folder / "encoder").eval()
    assert isinstance(again, Stills)
    assert again.video == run.config.modality
    model = timm.create_model(f"local-dir:{run.folder / 'encoder'}", pretrained=True, num_classes=0)
    frames = torch.randn(2, 3, 16, 16)
    enlarged = frames.repeat_interleave(4, 2).repeat_interleave(4, 3)  # the stem of small images
    with torch.no_grad():
        given = model.eval()(enlarged)
        torch.testing.assert_close(again(frames[:, None]), given, rtol=1e-4, atol=1e-4)
    later = plan(Request(str(clip_folder), steps=1, method="vip", init=str(run.folder / "encoder")))
    assert later.config.encoder.options["channels"] == NARROW["options"]["channels"]
    assert later.config.encoder.small_stem
    assert (later.config.optim.hold, later.config.optim.layer_decay) == (0.0, 0.75)
    started: Any = encoders.build(later.config.encoder, later.config.modality)
    torch.testing.assert_close(started.state_dict(), again.state_dict())


def test_what_is_chosen_for_frames_apart(clip_folder: Path) -> None:
    planned = plan(Request(str(clip_folder), steps=1, method="vip"))
    assert planned.config.encoder.name == "timm:resnet18"
    assert planned.config.encoder.small_stem
    with pytest.raises(ConfigError, match=r"tcn needs an encoder that looks at one frame at a"):
        TCN(TCN.Config(), encoders.build(EncoderConfig(name="hf:videomae-1x32h2", patch=4), VIDEO),
            Video(VIDEO))  # fmt: skip
    short = encoders.build(EncoderConfig.model_validate(NARROW), VideoConfig(size=16, frames=2))
    with pytest.raises(ConfigError, match=r"compares 3 frames of a clip, and modality\.frames=2"):
        TCN(TCN.Config(), short, Video(VideoConfig(size=16, frames=2)))
