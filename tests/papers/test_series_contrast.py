"""TS2Vec, CPC and MTM against their definitions, written out one by one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.loop.running import small_config
from unlabeled.loop import prepare
from unlabeled.nn.hierarchical import hierarchical
from unlabeled.nn.interpolate import interpolate
from unlabeled.state import batches, build


def _row(own: np.ndarray, aim: np.ndarray, others: list[np.ndarray]) -> float:
    """Return -log(exp(own aim) / (exp(own aim) + sum exp(own other)))."""
    scores = np.array([own @ aim, *(own @ other for other in others)])
    return float(np.log(np.exp(scores).sum()) - scores[0])


def _dual(one: np.ndarray, two: np.ndarray) -> tuple[float, float]:
    """Return the contrast between samples and between times, by Equations 1 and 2."""
    B, T, _ = one.shape  # noqa: N806
    samples, times = [], []
    for x, y in ((one, two), (two, one)):
        for i in range(B):
            for t in range(T):
                others = [z[j, t] for z in (x, y) for j in range(B) if j != i]
                samples.append(_row(x[i, t], y[i, t], others))
                others = [z[i, s] for z in (x, y) for s in range(T) if s != t]
                times.append(_row(x[i, t], y[i, t], others))
    return float(np.mean(samples)), float(np.mean(times))


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
def test_hierarchical_contrast_is_the_sum_of_its_equations(steps: int) -> None:
    draw = np.random.default_rng(steps)
    one, two = draw.normal(size=(2, 3, steps, 4))
    got = hierarchical(torch.tensor(one), torch.tensor(two), 0.3).item()
    total, scales = 0.0, 0
    while True:
        samples, times = _dual(one, two)
        total += 0.3 * samples + (0.7 * times if one.shape[1] > 1 else 0.0)
        scales += 1
        if one.shape[1] == 1:
            break
        half = one.shape[1] // 2
        one, two = (x[:, : 2 * half].reshape(3, half, 2, 4).max(2) for x in (one, two))
    assert got == pytest.approx(total / scales, rel=1e-10)


def test_one_sample_at_one_time_has_nothing_to_be_told_from() -> None:
    x = torch.randn(1, 1, 4)
    assert hierarchical(x, x).item() == 0


@pytest.fixture
def made(tmp_path: Path, folders: dict[str, Path]):
    def make(name: str, **options: object):
        config = small_config(name, folders["series"])
        config = config.model_copy(update={"method": {**config.method, **options}})
        state = build(config, tmp_path, prepare(config, tmp_path))
        return state.method, next(batches(state))

    return make


def test_crops_of_ts2vec_overlap_where_it_says(made) -> None:
    method, batch = made("ts2vec")
    x = torch.arange(48.0).view(1, 48, 1).expand(8, 48, 6)
    for progress in np.linspace(0, 1, 40):
        first, second, start, length = method._crops(x, batch.keys, float(progress))
        stack = method.encoder.stack
        assert 2 <= length <= 48 // stack
        torch.testing.assert_close(first[:, -length * stack :], second[:, : length * stack])
        torch.testing.assert_close(second[:, 0, 0], (start * stack).float())


def test_what_is_kept_of_ts2vec_is_the_mean_over_steps(made) -> None:
    method, _ = made("ts2vec")
    method.train()
    weight = next(method.encoder.parameters())
    seen = []
    for step in range(3):
        with torch.no_grad():
            weight.fill_(float(step**2))
        seen.append(float(step**2))
        method.after_step(0.5)
    assert next(method.exported().parameters()).mean().item() == pytest.approx(np.mean(seen))


def test_cpc_knows_nothing_when_all_tokens_are_alike(made) -> None:
    method, batch = made("cpc", num_negatives=7)
    torch.nn.init.zeros_(method.target.weight)
    loss = method.loss(batch, 0.5)
    assert method.chance(8) == pytest.approx(math.log(8))
    # A drawn token that is the right one is left out, so chance is reached from below.
    assert math.log(7) < loss.total.item() <= math.log(8) + 1e-6


def test_cpc_does_not_see_what_it_foretells(made) -> None:
    """The guess of token n + k is a function of tokens up to n."""
    method, batch = made("cpc")
    x = batch["plain"][0].clone()
    before = method.encoder.tokens(x)
    x[:, 24:] = torch.randn_like(x[:, 24:])
    after = method.encoder.tokens(x)
    stack = method.encoder.stack
    torch.testing.assert_close(before[:, : 24 // stack], after[:, : 24 // stack])


def test_mtm_hides_states_and_actions_apart_and_always_something(made) -> None:
    method, batch = made("mtm", future=0.0, least=0.3, most=0.3)
    x = batch["plain"][0].repeat(200, 1, 1)
    keys = torch.arange(len(x))
    hidden = method.hidden(x, keys).float()  # (B, T, 3): two states and an action
    torch.testing.assert_close(hidden[..., 0], hidden[..., 1])
    assert hidden[..., 0].amax(1).min() == 1
    assert hidden[..., 2].mean().item() == pytest.approx(0.3, abs=0.01)
    both = (hidden[..., 0] * hidden[..., 2]).mean().item()
    assert both == pytest.approx(float(hidden[..., 0].mean() * hidden[..., 2].mean()), abs=0.01)
    pairs = hidden[:, :48].view(len(x), -1, method.encoder.stack, 3)
    assert (pairs == pairs[:, :, :1]).all()


def test_mtm_loses_the_future_of_half_of_the_samples(made) -> None:
    method, batch = made("mtm", future=0.5, least=0.01, most=0.02)
    x = batch["plain"][0].repeat(200, 1, 1)
    hidden = method.hidden(x, torch.arange(len(x)))
    assert hidden[:, -1].all(1).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_mtm_does_not_see_what_is_hidden(made) -> None:
    method, batch = made("mtm")
    method.eval()
    x = batch["plain"][0].clone().requires_grad_()
    hidden = method.hidden(x, batch.keys)
    steps = method.encoder
    values, flags = x.chunk(2, -1)
    seen = flags.detach() * ~hidden
    layout = steps.layout(x.detach())
    told = steps.blocks(steps.embed(torch.cat([values * seen, seen], -1), layout), layout)
    (grad,) = torch.autograd.grad(told.square().sum(), x)
    assert grad[..., :3][hidden].abs().max() == 0
    assert grad[..., :3][~hidden].abs().max() > 0


def test_a_line_is_numpys() -> None:
    draw = np.random.default_rng(0)
    values, seen = draw.normal(size=(5, 30, 2)), draw.random((5, 30, 2)) < 0.4
    got = interpolate(torch.tensor(values), torch.tensor(seen)).numpy()
    for b in range(5):
        for c in range(2):
            known = np.flatnonzero(seen[b, :, c])
            wanted = np.interp(np.arange(30), known, values[b, known, c])
            np.testing.assert_allclose(got[b, :, c], wanted, rtol=1e-6)
