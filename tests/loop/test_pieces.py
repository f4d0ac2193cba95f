"""Order, randomness, schedules, optimisers, checkpoints and health by themselves."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from unlabeled import checkpoint, rng
from unlabeled.config import OptimConfig
from unlabeled.data.loader import Order
from unlabeled.errors import ConfigError, DataError
from unlabeled.health import PATIENCE, Health, Reading, read_features
from unlabeled.method import Method
from unlabeled.muon import Muon
from unlabeled.optim import LARS, Optim
from unlabeled.schedule import cosine, linear, ramp, warm_up
from unlabeled.tensors import load_tensors


def test_every_epoch_is_a_permutation_whatever_the_batch() -> None:
    order = Order(num_samples=101, batch=16, seed=5)
    stream = [pair for step in range(40) for pair in order.of_step(step)]
    for epoch in range(6):
        assert sorted(p for p, e in stream if e == epoch) == list(range(101))


def test_ranks_share_a_step_without_overlap() -> None:
    """R18: the same number of samples for every rank, together those of one rank."""
    whole = Order(101, 16, seed=5).of_step(9)
    halves = [Order(101, 16, 5, rank, 2).of_step(9) for rank in (0, 1)]
    assert halves[0] + halves[1] == whole
    assert len(halves[0]) == len(halves[1]) == 8


def test_batch_that_ranks_cannot_share() -> None:
    with pytest.raises(ConfigError, match="multiple"):
        Order(100, 15, 0, 0, 2)


def test_uniform_is_uniform_and_independent() -> None:
    draws = rng.uniform(torch.arange(2000), 50)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert abs(draws.mean().item() - 0.5) < 0.005
    assert abs(draws.var().item() - 1 / 12) < 0.001
    counts = torch.histc(draws, 20, 0, 1)
    chi2 = ((counts - counts.mean()).square() / counts.mean()).sum()
    assert chi2 < 45  # 19 degrees of freedom: p < 0.001 above
    together = torch.corrcoef(torch.stack([draws[:, 0], draws[:, 1], draws[:, 2]]))
    assert together.fill_diagonal_(0).abs().max() < 0.08
    other = rng.uniform(torch.arange(2000), 50, salt=1)
    assert torch.corrcoef(torch.stack([draws[:, 0], other[:, 0]]))[0, 1].abs() < 0.08


def test_keys_differ_between_samples_and_epochs() -> None:
    keys = {rng.sample_key(0, epoch, index) for epoch in range(20) for index in range(500)}
    assert len(keys) == 10_000
    assert all(0 <= key < 1 << 63 for key in keys)


@pytest.mark.parametrize("progress", np.linspace(0, 1, 10))
def test_schedules_at_ten_points(progress: float) -> None:
    half = 0.5 * (1 + math.cos(math.pi * progress))
    assert cosine(3.0, 1.0, progress) == pytest.approx(1 + 2 * half)
    assert linear(3.0, 1.0, progress) == pytest.approx(3 - 2 * progress)
    expected = progress / 0.2 if progress < 0.2 else 1 - 0.9 * (progress - 0.2) / 0.8
    assert warm_up(progress, 0.2, "linear", 0.1) == pytest.approx(expected)


@pytest.mark.parametrize("step", range(0, 100, 11))
def test_schedules_are_those_of_lightly_and_of_dino_at_ten_points(step: int) -> None:
    """DINO's is written out; lightly's counts steps from 0 to max_steps - 1."""
    from lightly.utils.scheduler import cosine_schedule, cosine_warmup_schedule

    progress = step / 99
    assert cosine(0.996, 1.0, progress) == pytest.approx(cosine_schedule(step, 100, 0.996, 1.0))
    theirs = cosine_warmup_schedule(step, 100, 0.04, 0.4, 0, 0.0)
    assert cosine(0.04, 0.4, progress) == pytest.approx(theirs, rel=1e-9)
    steps, warm, base, final = 100, 20, 5e-4, 1e-6  # main_dino.cosine_scheduler, by iteration
    rise = np.linspace(0, base, warm)
    rest = np.arange(steps - warm)
    fall = final + 0.5 * (base - final) * (1 + np.cos(np.pi * rest / len(rest)))
    expected = np.concatenate([rise, fall])[step]
    ours = base * warm_up(step / steps, warm / steps, "cosine", final / base)
    # Theirs reaches the peak a step earlier (linspace holds both ends), ours has no flat step.
    assert ours == pytest.approx(expected, abs=base / warm)
    if step >= warm:
        assert ours == pytest.approx(expected, rel=1e-9)
    flat = warm_up(step / 100, 0.2, "constant", 0.3)
    assert flat == pytest.approx(min(1.0, step / 20))
    assert ramp(0.04, 0.07, step / 100, 0.3) == pytest.approx(0.04 + 0.03 * min(1, step / 30))


def test_lars_follows_the_official_rule() -> None:
    """Five steps against the formula written out: trust |p| / |g + wd p|, vectors plain."""
    torch.manual_seed(0)
    matrix, vector = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(3))
    ours = LARS([matrix, vector], lr=0.5, momentum=0.9, weight_decay=0.1, trust=0.02)
    p, q = matrix.detach().clone(), vector.detach().clone()
    bp, bq = torch.zeros_like(p), torch.zeros_like(q)
    for _ in range(5):
        g, h = torch.randn(4, 3), torch.randn(3)
        matrix.grad, vector.grad = g.clone(), h.clone()
        ours.step()
        d = g + 0.1 * p
        bp = 0.9 * bp + d * 0.02 * p.norm() / d.norm()
        bq = 0.9 * bq + h
        p, q = p - 0.5 * bp, q - 0.5 * bq
    torch.testing.assert_close(matrix.detach(), p)
    torch.testing.assert_close(vector.detach(), q)


def test_lars_is_not_the_rule_of_other_libraries() -> None:
    """They divide by |g| + wd |p|, which is at least |g + wd p|: their steps are shorter."""
    from lightly.utils.lars import LARS as OTHER

    torch.manual_seed(0)
    start, grad = torch.randn(6, 5), torch.randn(6, 5)
    moved = []
    for kind, name in ((LARS, "trust"), (OTHER, "trust_coefficient")):
        p = nn.Parameter(start.clone())
        p.grad = grad.clone()
        kind([p], lr=1.0, momentum=0.9, weight_decay=0.5, **{name: 0.01}).step()
        moved.append((p.detach() - start).norm())
    assert moved[0].item() == pytest.approx(0.01 * start.norm().item(), rel=1e-4)
    assert moved[1] < 0.99 * moved[0]


def test_the_trust_of_lars_is_an_option() -> None:
    method = _Tiny()
    before = method.hidden.weight.detach().clone()
    optim = Optim(method, OptimConfig(name="lars", lr=1.0, trust=0.05, weight_decay=0.0, warmup=0))
    for p in method.parameters():
        p.grad = torch.ones_like(p)
    optim.set(0.0)
    optim.step()
    moved = (method.hidden.weight.detach() - before).norm()
    assert moved.item() == pytest.approx(0.05 * before.norm().item(), rel=1e-4)


class _Tiny(Method):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.hidden = nn.Linear(4, 4)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars", "muon"])
def test_optimiser_state_round_trips(name: str) -> None:
    """State by parameter name restores the next step bit for bit."""

    def moved(steps: int, resume_at: int | None) -> list[torch.Tensor]:
        torch.manual_seed(1)
        method = _Tiny()
        optim = Optim(method, OptimConfig(name=name, lr=0.1, weight_decay=0.1))
        for step in range(steps):
            if step == resume_at:
                state = {k: v.clone() for k, v in optim.state().items()}
                optim = Optim(method, OptimConfig(name=name, lr=0.1, weight_decay=0.1))
                optim.load_state(state)
            for p in method.parameters():
                p.grad = torch.full_like(p, 0.1) + p.detach() * step
            optim.set(step / steps)
            optim.step()
            optim.zero()
        return [p.detach() for p in method.parameters()]

    for a, b in zip(moved(6, None), moved(6, 3), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("shape", [(8, 8), (6, 24), (24, 6)])
def test_muon_equals_torchs(shape: tuple[int, int]) -> None:
    """Five steps of three matrices in a batch, against torch's one by one."""
    torch.manual_seed(0)
    mine = [nn.Parameter(torch.randn(shape)) for _ in range(3)]
    theirs = [nn.Parameter(p.detach().clone()) for p in mine]
    ours = Muon(mine, lr=0.1, weight_decay=0.1)
    torchs = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.1)
    for _ in range(5):
        for p, q in zip(mine, theirs, strict=True):
            p.grad = torch.randn(shape)
            q.grad = p.grad.clone()
        ours.step()
        torchs.step()
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=0.02, atol=0.01)


def test_muon_moves_hidden_matrices_only() -> None:
    method = _Tiny()
    optim = Optim(method, OptimConfig(name="muon"))
    muon, adamw = optim.parts
    assert [id(p) for g in muon.param_groups for p in g["params"]] == [id(method.hidden.weight)]
    assert len([p for g in adamw.param_groups for p in g["params"]]) == 2


def test_checkpoint_keeps_the_newest_and_is_checked(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        checkpoint.save(tmp_path, step, {"a": torch.full((3,), float(step))}, {"x": step}, keep=2)
    assert [p.name for p in checkpoint.steps(tmp_path)] == ["step-00000003", "step-00000004"]
    saved, said = checkpoint.newest(tmp_path)
    assert saved is not None
    assert saved.step == 4
    assert not said
    assert saved.record["x"] == 4
    assert saved.tensors["a"].tolist() == [4.0] * 3


def test_checkpoint_is_flushed_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R12: file, folder, rename, parent."""
    calls: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(handle: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        real_fsync(handle)

    def rename(self: Path, target: Path) -> Path:
        calls.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    checkpoint.save(tmp_path, 1, {"a": torch.zeros(2)}, {}, keep=2)
    assert calls == ["file", "file", "folder", "rename", "folder"]


def _bomb(header: bytes, tail: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + tail


def _entry(shape: int) -> bytes:
    return json.dumps({"a": {"dtype": "F32", "shape": [shape], "data_offsets": [0, 4]}}).encode()


_EMPTY = b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
HOSTILE = {
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "list": _bomb(b"[1]"),
    "not json": _bomb(b"{not json"),
    "claims more": _bomb(_entry(1 << 40)),
    "too long": _bomb(_entry(1), b"12345"),
    "many": _bomb(b"{" + b",".join(_EMPTY % i for i in range(150_000)) + b"}"),
    "short": b"abc",
    "pickle": b"\x80\x04\x95payload",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_safetensors_are_refused(kind: str, tmp_path: Path) -> None:
    """X3."""
    path = tmp_path / "evil.safetensors"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(DataError, match="not a usable safetensors file"):
        load_tensors(path)


def test_readings_have_closed_forms() -> None:
    torch.manual_seed(0)
    sphere = read_features(torch.randn(4000, 16))
    assert sphere.spread == pytest.approx(1.0, abs=0.01)
    assert sphere.effective_rank == pytest.approx(16, abs=0.1)
    assert abs(sphere.mean_cosine) < 0.01
    point = read_features(torch.ones(100, 16))
    assert point.spread < 1e-6
    assert point.effective_rank < 1.01
    assert point.mean_cosine == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("parts", "reading", "word"),
    [
        ({}, Reading(0.0001, 5, 0.999), "one point"),
        ({"projection_spread": 0.001}, Reading(0.5, 5, 0.5), "one point"),
        ({}, Reading(0.5, 1.01, 0.5), "one direction"),
        ({"target_entropy": math.log(64)}, Reading(0.5, 5, 0.5), "uniform"),
        ({"entropy": 0.01}, Reading(0.5, 5, 0.5), "one prototype"),
    ],
)
def test_collapse_is_named_after_some_patience(
    parts: dict[str, float], reading: Reading, word: str
) -> None:
    health = Health("x", prototypes=64, first=Reading(0.5, 30, 0.5))
    for _ in range(PATIENCE - 1):
        assert health.check(reading, parts, 1.0, 0.1) == []
    assert not health.collapsed()
    assert word in health.check(reading, parts, 1.0, 0.1)[0]
    assert health.collapsed()


@pytest.mark.parametrize(("prototypes", "word"), [(64, "teacher_temperature"), (None, "optim.lr")])
def test_a_loss_of_guessing_is_explained_by_what_the_method_guesses(
    prototypes: int | None, word: str
) -> None:
    health = Health("x", math.log(64), prototypes=prototypes, first=Reading(0.5, 30, 0.5))
    for _ in range(PATIENCE):
        said = health.check(Reading(0.5, 30, 0.5), {}, math.log(64), 0.5)
    assert len(said) == 1
    assert word in said[0]
    assert not health.collapsed()


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({"code_perplexity": 2.0}, "gets one code"),  # two groups of one code each
        ({"guess_spread": 0.005}, "hardly differ"),
        ({"mask_share": 0.95}, "share of sound that is hidden"),
        ({"code_perplexity": 18.0, "guess_spread": 0.5, "mask_share": 0.49}, ""),
    ],
)
def test_unhealthy_targets_of_sound_are_named(parts: dict[str, float], word: str) -> None:
    health = Health("x", first=Reading(0.5, 30, 0.5))
    said: list[str] = []
    for _ in range(PATIENCE):
        said = health.check(Reading(0.5, 30, 0.5), parts, 1.0, 0.5)
    assert len(said) == bool(word)
    assert not said or word in said[0]
    assert not health.collapsed()


def test_a_sign_that_goes_away_is_forgotten() -> None:
    health = Health("x", first=Reading(0.5, 30, 0.5))
    bad, good = Reading(0.0001, 5, 1.0), Reading(0.5, 30, 0.5)
    for _ in range(5):
        health.check(bad, {}, 1.0, 0.1)
        health.check(good, {}, 1.0, 0.1)
    assert not health.collapsed()
