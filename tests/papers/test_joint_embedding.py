"""Joint-embedding losses against lightly's, against the papers' pseudo-code, and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import BarlowTwinsLoss, NTXentLoss, SwaVLoss, VICRegLoss
from lightly.models.modules import NNMemoryBankModule
from torch import Tensor

from unlabeled.nn.contrast import batch_nce, queue_nce
from unlabeled.nn.decorrelate import barlow_twins, vicreg
from unlabeled.nn.distill import distill
from unlabeled.nn.queue import Queue
from unlabeled.nn.sinkhorn import sinkhorn

Pair = Callable[[Tensor, Tensor], Tensor]


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wave(rows: int, columns: int, phase: float) -> Tensor:
    """Return fixed numbers that need no generator: sin(i + phase) over a grid."""
    count = torch.arange(rows * columns, dtype=torch.float64)
    return torch.sin(count * 0.7 + phase).view(rows, columns)


def assert_same(ours: Pair, theirs: Pair, one: Tensor, two: Tensor) -> None:
    """Compare values and both gradients to 1e-10."""
    found = []
    for loss in (ours, theirs):
        a, b = one.clone().requires_grad_(), two.clone().requires_grad_()
        value = loss(a, b)
        value.sum().backward()
        found.append(torch.cat([value.detach().reshape(1), a.grad.flatten(), b.grad.flatten()]))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


def test_queue_nce_equals_lightlys_memory_bank() -> None:
    one, two, rows = draw(6, 8), draw(6, 8, seed=1), draw(20, 8, seed=2)
    oracle = NTXentLoss(0.2, memory_bank_size=(20, 8))
    oracle.memory_bank.bank = F.normalize(rows, dim=1)
    a, b = one.clone().requires_grad_(), one.clone().requires_grad_()
    ours, theirs = queue_nce(a, two, rows, 0.2)[0], oracle(b, two)
    ours.backward()
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.2])
def test_queue_nce_of_orthogonal_keys_is_the_closed_form(temperature: float) -> None:
    axes = torch.eye(10, dtype=torch.float64)
    loss, found = queue_nce(axes[:2], axes[:2], axes[2:], temperature)
    assert loss.item() == pytest.approx(math.log(1 + 8 * math.exp(-1 / temperature)), rel=1e-9)
    assert found.item() == 1.0
    unrelated, _ = queue_nce(axes[:1], axes[1:2], axes[2:], temperature)
    assert unrelated.item() == pytest.approx(math.log(9))


def test_keys_of_the_queue_and_of_the_teacher_get_no_gradient() -> None:
    query, key, rows = (draw(4, 8, seed=s).requires_grad_() for s in range(3))
    queue_nce(query, key, rows, 0.2)[0].backward()
    assert query.grad is not None
    assert key.grad is None
    assert rows.grad is None


def contrast(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """MoCo v3, algorithm 1: ``ctr``, with its factor of twice the temperature."""
    q, k = F.normalize(q, dim=1), F.normalize(k, dim=1)
    logits = torch.mm(q, k.t())
    labels = torch.arange(len(q))
    return 2 * temperature * F.cross_entropy(logits / temperature, labels)


def test_batch_nce_is_moco_three_over_twice_the_temperature() -> None:
    def ours(q: Tensor, k: Tensor) -> Tensor:
        return 2 * 0.3 * batch_nce(q, k, 0.3)[0]

    assert_same(ours, lambda q, k: contrast(q, k, 0.3), draw(6, 8), draw(6, 8, seed=1))


def nnclr_pseudo_code(neighbours: Tensor, predictions: Tensor, temperature: float) -> Tensor:
    """NNCLR, algorithm 1: ``L(nn, p)``."""
    neighbours = neighbours / neighbours.norm(dim=1, keepdim=True)
    predictions = predictions / predictions.norm(dim=1, keepdim=True)
    logits = neighbours @ predictions.T / temperature
    return -(logits.diagonal() - logits.logsumexp(1)).mean()


def test_batch_nce_is_nnclrs_with_gradient_to_the_predictions() -> None:
    def ours(nn: Tensor, p: Tensor) -> Tensor:
        return batch_nce(nn, p, 0.1)[0]

    theirs: Pair = lambda nn, p: nnclr_pseudo_code(nn, p, 0.1)  # noqa: E731
    assert_same(ours, theirs, draw(5, 8), draw(5, 8, seed=1))


def test_neighbours_are_lightlys() -> None:
    oracle = NNMemoryBankModule((32, 8))
    oracle.bank = F.normalize(draw(32, 8, seed=3).float(), dim=1)
    queue = Queue(32, 8)
    queue.rows.copy_(oracle.bank)
    seen = draw(6, 8).float()
    torch.testing.assert_close(queue.nearest(seen), oracle(seen, update=False))


def test_barlow_twins_equals_lightlys() -> None:
    oracle = BarlowTwinsLoss(lambda_param=0.0051)

    def ours(one: Tensor, two: Tensor) -> Tensor:
        return barlow_twins(one, two, 0.0051).loss

    assert_same(ours, oracle, draw(16, 8), draw(16, 8, seed=1))


def test_barlow_twins_by_the_printed_formula() -> None:
    """Eq. 1 and 2 written with sums, on fixed tensors."""
    one, two = wave(9, 3, 0.0), wave(9, 3, 1.0)
    a = (one - one.mean(0)) / (one.var(0, correction=0) + 1e-5).sqrt()
    b = (two - two.mean(0)) / (two.var(0, correction=0) + 1e-5).sqrt()
    expected = 0.0
    for i in range(3):
        for j in range(3):
            c = float((a[:, i] * b[:, j]).sum()) / 9
            expected += (1 - c) ** 2 if i == j else 0.0051 * c**2
    assert barlow_twins(one, two, 0.0051).loss.item() == pytest.approx(expected, rel=1e-12)


def test_repeated_dimensions_cost_barlow_twins_their_pairs() -> None:
    z = draw(64, 1).expand(64, 4)
    found = barlow_twins(z, z, 0.5)
    assert found.loss.item() == pytest.approx(0.5 * 12, rel=1e-3)
    assert found.diagonal.item() == pytest.approx(1, rel=1e-3)
    assert found.redundancy.item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("scale", [0.2, 3.0])
def test_vicreg_equals_lightlys(scale: float) -> None:
    oracle = VICRegLoss(25.0, 25.0, 1.0)

    def ours(one: Tensor, two: Tensor) -> Tensor:
        return torch.stack(vicreg(one, two)) @ torch.tensor([25.0, 25.0, 1.0]).double()

    assert_same(ours, oracle, scale * draw(16, 8), scale * draw(16, 8, seed=1))


def test_vicreg_by_the_printed_formulas() -> None:
    """Eq. 1-5 with the code's mean over views, on fixed tensors."""
    one, two = 0.5 * wave(7, 3, 0.0), 0.5 * wave(7, 3, 1.0)

    def variance(z: Tensor) -> float:
        return sum(max(0.0, 1 - math.sqrt(float(c.var()) + 1e-4)) for c in z.T) / 3

    def covariance(z: Tensor) -> float:
        c = torch.cov(z.T)
        return sum(float(c[i, j]) ** 2 for i in range(3) for j in range(3) if i != j) / 3

    invariance = sum(float((a - b).square().mean()) for a, b in zip(one, two, strict=True)) / 7
    found = vicreg(one, two)
    assert found.invariance.item() == pytest.approx(invariance, rel=1e-12)
    assert found.variance.item() == pytest.approx((variance(one) + variance(two)) / 2, rel=1e-12)
    assert found.covariance.item() == pytest.approx(covariance(one) + covariance(two), rel=1e-12)


@pytest.mark.parametrize("queued", [False, True])
def test_swapped_prediction_equals_lightlys(queued: bool) -> None:
    """Two large and three small crops; codes with and without a queue."""
    scores, rows = draw(5, 6, 10).clamp(-1, 1), draw(2, 14, 10, seed=1).clamp(-1, 1)
    a, b = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    targets = []
    for view in range(2):
        own = torch.cat([rows[view], a[view].detach()]) if queued else a[view].detach()
        targets.append(sinkhorn(own, 0.05, 3)[-6:])
    ours = distill(torch.stack(targets), a, 0.1).loss
    theirs = SwaVLoss()(list(b[:2]), list(b[2:]), list(rows) if queued else None).sum()
    ours.backward()
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-10)
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_losses_refuse_views_of_different_samples() -> None:
    with pytest.raises(ValueError, match="shapes"):
        barlow_twins(draw(4, 2), draw(3, 2), 0.1)
    with pytest.raises(ValueError, match="shapes"):
        barlow_twins(draw(4, 2), draw(4, 3), 0.1)
    with pytest.raises(ValueError, match="width"):
        batch_nce(draw(4, 2), draw(4, 3), 0.1)
    with pytest.raises(ValueError, match="temperature"):
        queue_nce(draw(4, 2), draw(4, 2), draw(6, 2), 0.0)


@pytest.mark.parametrize("loss", ["barlow", "vicreg", "queue", "batch"])
def test_losses_in_bf16_are_computed_in_fp32(loss: str) -> None:
    one, two = draw(16, 8).bfloat16(), draw(16, 8, seed=1).bfloat16()
    kinds: dict[str, Pair] = {
        "barlow": lambda a, b: barlow_twins(a, b, 0.0051).loss,
        "vicreg": lambda a, b: torch.stack(vicreg(a, b)).sum(),
        "queue": lambda a, b: queue_nce(a, b, torch.eye(8), 0.1)[0],
        "batch": lambda a, b: batch_nce(a, b, 0.1)[0],
    }
    with torch.autocast("cpu", torch.bfloat16):
        rounded = kinds[loss](one, two)
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(kinds[loss](one.float(), two.float()).item(), rel=1e-6)


def test_a_queue_keeps_the_last_rows_in_order() -> None:
    queue = Queue(5, 2).train()
    assert not queue.filled
    pushed = F.normalize(draw(14, 2).float(), dim=1)
    for start, stop in ((0, 3), (3, 4), (4, 6), (6, 14)):
        before = queue.rows.clone()
        queue.hear(pushed[start:stop] * 3)
        assert torch.equal(queue.rows, before)
        queue.move()
        kept = torch.cat([queue.rows[queue.next :], queue.rows[: queue.next]])  # oldest first
        newest = min(5, stop)
        torch.testing.assert_close(kept[-newest:], pushed[stop - newest : stop])
    assert queue.filled


def test_a_queue_in_evaluation_hears_nothing() -> None:
    queue = Queue(4, 2).eval()
    before = queue.rows.clone()
    queue.hear(torch.ones(2, 2))
    queue.move()
    assert torch.equal(queue.rows, before)
