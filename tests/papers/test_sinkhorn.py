"""Sinkhorn-Knopp against lightly's, against the rule as SwAV prints it, and at its limits."""

from __future__ import annotations

import pytest
import torch
from lightly.loss.swav_loss import sinkhorn as lightlys

from unlabeled.nn.sinkhorn import sinkhorn


def printed(scores: torch.Tensor, epsilon: float, iterations: int) -> torch.Tensor:
    """Return the assignments as SwAV's appendix A.1 writes them (columns are samples)."""
    q = (scores / epsilon).exp().T
    q = q / q.sum()
    for _ in range(iterations):
        q = q / q.sum(1, keepdim=True) / len(q)
        q = q / q.sum(0, keepdim=True) / q.shape[1]
    return (q / q.sum(0, keepdim=True)).T


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize(("size", "prototypes"), [(16, 64), (64, 16), (1, 5)])
def test_assignments_equal_lightlys_and_the_printed_rule(
    size: int, prototypes: int, iterations: int
) -> None:
    scores = torch.rand(size, prototypes, dtype=torch.float64) * 2 - 1
    ours = sinkhorn(scores, 0.05, iterations)
    torch.testing.assert_close(ours, lightlys(scores, iterations, 0.05), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(ours, printed(scores, 0.05, iterations), rtol=1e-10, atol=1e-14)


def test_many_iterations_share_prototypes_out_evenly() -> None:
    assigned = sinkhorn(torch.rand(32, 8, dtype=torch.float64), 0.05, 500)
    torch.testing.assert_close(assigned.sum(1), torch.ones(32, dtype=torch.float64))
    torch.testing.assert_close(assigned.mean(0), torch.full((8,), 1 / 8, dtype=torch.float64))


def test_a_prototype_that_all_prefer_does_not_keep_all() -> None:
    scores = torch.randn(64, 4) * 0.05
    scores[:, 0] += 1.0
    assert (scores.argmax(1) == 0).all()
    assert sinkhorn(scores, 0.05, 3).mean(0).max() < 0.3


def test_a_constant_added_to_all_scores_changes_nothing() -> None:
    scores = torch.randn(8, 4, dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores, 0.1), sinkhorn(scores + 50.0, 0.1))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
def test_scores_of_any_size_give_numbers(scale: float) -> None:
    """An unbounded head gives scores whose exponentials overflow in fp32."""
    assigned = sinkhorn(torch.randn(32, 16) * scale, 0.05)
    assert torch.isfinite(assigned).all()
    torch.testing.assert_close(assigned.sum(1), torch.ones(32))


def test_rounded_scores_are_shared_out_in_fp32_without_gradient() -> None:
    scores = torch.rand(8, 4).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        assigned = sinkhorn(scores, 0.05)
    assert assigned.dtype == torch.float32
    assert not assigned.requires_grad
    torch.testing.assert_close(assigned, sinkhorn(scores.float(), 0.05))


def test_no_samples_are_shared_out_too() -> None:
    assert sinkhorn(torch.empty(0, 4), 0.05).shape == (0, 4)


@pytest.mark.parametrize(("temperature", "iterations"), [(0.0, 3), (0.1, 0)])
def test_nonsense_is_refused(temperature: float, iterations: int) -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        sinkhorn(torch.eye(3), temperature, iterations)
