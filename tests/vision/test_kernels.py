"""Computations that were chosen for speed give what torch's own layers give."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from unlabeled.nn.convolution import Convolution, windows
from unlabeled.nn.kernels import choose_kernels
from unlabeled.nn.rectify import Rectify

LAYERS = [  # channels in, out, size, stride, padding, edge of the map
    (32, 48, 3, 1, 1, 4),
    (32, 48, 3, 2, 1, 8),
    (64, 32, 1, 2, 0, 8),
    (64, 32, 1, 2, 0, 7),
    (32, 32, 3, 1, 0, 5),
    (32, 32, 5, 1, 2, 6),
    (32, 32, 3, 2, 1, 7),
]


def _gradients(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x)
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape)
    out.float().mul(weights).sum().backward()
    return out.detach().float(), x.grad, layer.weight.grad  # type: ignore[return-value]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", LAYERS, ids=str)
def test_a_convolution_written_as_a_product_is_the_convolution(
    shape: tuple[int, ...], bias: bool
) -> None:
    """The reference is float64; bfloat16's rounding is what torch's own kernel is allowed too."""
    channels, out_channels, size, stride, padding, edge = shape
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, out_channels, size, stride, padding, bias=bias)
    with torch.no_grad():  # values that bfloat16 holds exactly
        plain.weight.copy_(plain.weight.bfloat16())
    ours = copy.deepcopy(plain)
    choose_kernels(nn.Sequential(ours))
    assert type(ours) is Convolution
    x = torch.randn(3, channels, edge, edge).bfloat16().float()
    x = x.to(memory_format=torch.channels_last)
    exact = copy.deepcopy(plain).double()
    y = x.double().requires_grad_()
    out = exact(y)
    out.mul(torch.linspace(-1, 1, out.numel()).view(out.shape).double()).sum().backward()
    found, want = _gradients(ours, x), (out.detach(), y.grad, exact.weight.grad)
    reference = _gradients(plain, x)
    for mine, theirs, right in zip(found, reference, want, strict=True):
        assert mine is not None
        assert theirs is not None
        assert right is not None
        allowed = 1.5 * (theirs - right).norm() + 1e-3 * right.norm()
        assert (mine - right).norm() <= allowed


def test_windows_are_those_of_unfold() -> None:
    x = torch.randn(2, 5, 7, 6)
    found = windows(x, 3, 2, 1).view(2, -1, 9, 5)
    want = torch.nn.functional.unfold(x, 3, padding=1, stride=2).view(2, 5, 9, -1)
    assert torch.equal(found, want.permute(0, 3, 2, 1))


def test_what_is_no_plain_convolution_stays_torchs() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 32, 4, 4).to(memory_format=torch.channels_last)
    for options in ({"groups": 32}, {"dilation": 2, "padding": 2}, {"padding_mode": "circular"}):
        plain = nn.Conv2d(32, 32, 3, **{"padding": 1, **options})  # type: ignore[arg-type]
        ours = copy.deepcopy(plain)
        choose_kernels(nn.Sequential(ours))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(ours(x), plain(x))


def test_full_precision_is_torchs_to_the_bit() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())
    ours = copy.deepcopy(plain)
    choose_kernels(ours)
    x = torch.randn(2, 32, 4, 4)
    assert torch.equal(ours(x), plain(x))
    assert list(ours.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("inplace", [False, True])
def test_relu_by_bits_is_relu(inplace: bool) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    every = every[~every.isnan()]  # all 65,282 numbers of the format
    found, want = every.clone().requires_grad_(), every.clone().requires_grad_()
    out, right = Rectify(inplace)(found * 1), torch.relu(want * 1)
    assert torch.equal(out, right)
    grad = torch.linspace(-1, 1, len(every)).bfloat16()
    out.backward(grad)
    right.backward(grad)
    assert found.grad is not None
    assert want.grad is not None
    assert torch.equal(found.grad, want.grad)
