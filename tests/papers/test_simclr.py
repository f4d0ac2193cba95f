"""NT-Xent against lightly's implementation and against a loop."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss

from unlabeled.nn.contrast import info_nce, nt_xent


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_equals_lightlys(temperature: float) -> None:
    one, two = torch.randn(12, 8), torch.randn(12, 8)
    ours, _ = nt_xent(one, two, temperature)
    assert ours.item() == pytest.approx(NTXentLoss(temperature)(one, two).item(), rel=1e-6)


def test_nt_xent_gradient_equals_lightlys() -> None:
    one, two = torch.randn(2, 6, 8, dtype=torch.float64)
    grads = []
    for loss in (lambda a, b: nt_xent(a, b, 0.2)[0], NTXentLoss(0.2)):
        a, b = one.clone().requires_grad_(), two.clone().requires_grad_()
        loss(a, b).backward()
        grads.append(torch.cat([a.grad, b.grad]))
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)


def test_nt_xent_is_info_nce_without_oneself() -> None:
    one, two = torch.randn(2, 5, 8, dtype=torch.float64)
    rows = torch.cat([one, two])
    total = 0.0
    for i in range(10):
        keys = torch.cat([rows[:i], rows[i + 1 :]])
        positive = (i + 5) % 10
        place = torch.tensor([positive - (positive > i)])
        total += info_nce(rows[i : i + 1], keys, place, 0.3).item() / 10
    assert nt_xent(one, two, 0.3)[0].item() == pytest.approx(total, rel=1e-12)


def test_nt_xent_of_unrelated_projections_is_near_chance() -> None:
    one, two = F.normalize(torch.randn(2, 64, 2048), dim=-1)
    assert nt_xent(one, two, 1.0)[0].item() == pytest.approx(math.log(127), abs=0.01)


def test_nt_xent_in_bf16_is_computed_in_fp32() -> None:
    one, two = torch.randn(2, 16, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = nt_xent(one, two, 0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(nt_xent(one.float(), two.float(), 0.1)[0].item(), rel=1e-6)


def test_found_counts_nearest_positives() -> None:
    one = torch.eye(4)
    assert nt_xent(one, one, 0.1)[1].item() == 1.0
    assert nt_xent(one, one.roll(1, 0), 0.1)[1].item() == 0.0


@pytest.mark.parametrize(
    ("two", "temperature"), [(torch.eye(3), 0.1), (torch.eye(4), 0.0)], ids=["shape", "temperature"]
)
def test_nt_xent_refuses_nonsense(two: torch.Tensor, temperature: float) -> None:
    with pytest.raises(ValueError, match=r"shapes|temperature"):
        nt_xent(torch.eye(4), two, temperature)
