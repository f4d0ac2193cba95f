"""The cross-entropy that makes its gradient on the way is the cross-entropy."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unlabeled.nn.cross_entropy import cross_entropy


@pytest.mark.parametrize(("rows", "classes"), [(7, 11), (300, 5000), (1, 3), (0, 9)])
def test_value_and_gradient_are_those_of_the_plain_form(rows: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(rows, classes, generator=generator)).bfloat16()
    targets = torch.randint(-1, classes, (rows,), generator=generator)
    ours, plain = (logits.clone().requires_grad_() for _ in range(2))
    found = cross_entropy(ours, targets, "sum")
    want = F.cross_entropy(plain.float(), targets, ignore_index=-1, reduction="sum")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, want)
    (found / 8).backward()  # a power of 2, so that the gradient is rounded once on both sides
    (want / 8).backward()
    assert ours.grad is not None
    assert plain.grad is not None
    torch.testing.assert_close(ours.grad, plain.grad, rtol=0.01, atol=1e-6)


def test_extreme_logits_stay_finite_and_nan_shows() -> None:
    logits = torch.tensor([[3e4, -3e4], [0.0, 0.0]]).bfloat16().requires_grad_()
    loss = cross_entropy(logits, torch.tensor([1, 0]), "sum")
    assert loss.item() == pytest.approx(6e4, rel=0.01)
    spoiled = torch.tensor([[float("nan"), 0.0]]).bfloat16().requires_grad_()
    assert cross_entropy(spoiled, torch.tensor([1]), "sum").isnan()


def test_nothing_is_charged_for_targets_below_zero() -> None:
    logits = torch.ones(2, 4).bfloat16().requires_grad_()
    cross_entropy(logits, torch.tensor([-1, -1]), "sum").backward()
    assert logits.grad is not None
    assert not logits.grad.any()
