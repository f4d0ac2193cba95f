"""SIGReg and LeJEPA's loss: closed forms, lightly's classes, and what lines see."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightly.loss.lejepa_loss import LeJEPALoss, SIGReg

from tests.vision.small import batch, method
from unlabeled.nn.sigreg import draw_lines, sigreg
from unlabeled.rng import moment


def _pinned(lines: torch.Tensor) -> SIGReg:
    """Return lightly's class, looking along our lines."""
    theirs = SIGReg(num_vectors=lines.shape[1])
    theirs._generate_unit_vectors = lambda *_, **__: lines  # type: ignore[method-assign]
    return theirs


def test_statistic_and_gradient_equal_lightlys() -> None:
    x = torch.randn(4, 9, 6, requires_grad=True)
    lines = draw_lines(1, 6, 32)
    ours, theirs = sigreg(x, lines), _pinned(lines)(x)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    (one,), (two,) = (torch.autograd.grad(value, x) for value in (ours, theirs))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_one_point_has_the_closed_form() -> None:
    """At 0 the characteristic function is 1: N times the integral of (1 - phi)^2 phi."""
    statistic = sigreg(torch.zeros(1, 50, 3), draw_lines(0, 3, 8), knots=4097).item()
    gauss = [math.sqrt(2 * math.pi / a) * math.erf(3 * math.sqrt(a / 2)) for a in (1, 2, 3)]
    assert statistic == pytest.approx(50 * (gauss[0] - 2 * gauss[1] + gauss[2]), rel=1e-4)


def test_a_gaussian_has_the_value_of_its_noise_whatever_its_size() -> None:
    """E N |ecf - phi|^2 = 1 - phi^2, so the statistic's mean does not depend on N."""
    gauss = [math.sqrt(2 * math.pi / a) * math.erf(3 * math.sqrt(a / 2)) for a in (1, 3)]
    for size in (8, 200):
        x = torch.randn(2000, size, 1, generator=torch.Generator().manual_seed(size))
        found = sigreg(x, torch.ones(1, 1)).item()
        assert found == pytest.approx(gauss[0] - gauss[1], rel=0.08)


def test_what_is_no_gaussian_costs_more() -> None:
    draw = torch.Generator().manual_seed(0)
    gauss = torch.randn(1, 512, 4, generator=draw)
    lines = draw_lines(3, 4, 64)
    alone = sigreg(gauss, lines)
    line = gauss[..., :1] * torch.tensor([1.0, 0, 0, 0])
    for other in (gauss * 0.3, gauss * 3, gauss + 1, gauss.sign(), line, torch.zeros_like(gauss)):
        assert sigreg(other, lines) > 5 * alone


def test_lines_are_unit_isotropic_and_their_keys_alone() -> None:
    lines = draw_lines(7, 5, 20000)
    torch.testing.assert_close(lines.norm(dim=0), torch.ones(20000))
    np.testing.assert_allclose((lines @ lines.T / 20000).numpy(), np.eye(5) / 5, atol=0.01)
    assert lines.mean(1).abs().max() < 0.02
    assert torch.equal(draw_lines(7, 5, 3), draw_lines(7, 5, 3))
    assert not torch.equal(draw_lines(7, 5, 3), draw_lines(8, 5, 3))


@pytest.mark.parametrize("kind", ["vit", "cnn"])
def test_the_methods_loss_is_lightlys(kind: str) -> None:
    task = method("lejepa", kind, lines=16).eval()
    seen = batch(task)
    loss = task.loss(seen, 0.25)
    oracle = LeJEPALoss(lambda_param=0.05, sigreg_num_vectors=16)
    oracle.sigreg = _pinned(draw_lines(moment(0.25), 8, 16))
    z = [task.projector(task.encoder(x.flatten(0, 1))).view(2, 8, 8) for x in seen.views.values()]
    theirs = oracle(global_proj=z[0], local_proj=z[1])
    assert loss.total.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_lines_change_with_progress_only() -> None:
    task = method("lejepa").eval()
    seen = batch(task)
    first, again, later = (task.loss(seen, p).parts["gaussianity"] for p in (0.1, 0.1, 0.2))
    assert first == again != later
