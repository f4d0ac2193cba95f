"""A convolution in channels_last goes on after a restart as if nothing had happened."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unlabeled.config import OptimConfig
from unlabeled.method import Method
from unlabeled.optim import Optim
from unlabeled.state import lay_out


class _Convolution(Method):
    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(8, 3, 4, 4, generator=draw))
        self.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_a_loaded_state_lies_as_its_parameter_does(name: str) -> None:
    """Saved tensors are contiguous; fused AdamW does not look at strides."""

    def train(restart: bool) -> torch.Tensor:
        method, draw = _Convolution(), torch.Generator().manual_seed(1)
        optim = Optim(method, OptimConfig(name=name))
        for step in range(6):
            if restart and step == 3:
                saved = {k: v.contiguous() for k, v in optim.state().items()}
                optim = Optim(method, OptimConfig(name=name))
                optim.load_state(saved)
            optim.set(0.5)
            grad = torch.randn(8, 3, 4, 4, generator=draw)
            method.weight.grad = grad.to(memory_format=torch.channels_last)
            optim.step()
        return method.weight.detach()

    assert torch.equal(train(restart=False), train(restart=True))


def test_only_weights_of_pictures_have_the_layout() -> None:
    """Convolutions of clips have five axes, and go on as they are."""
    both = nn.ModuleDict({"picture": nn.Conv2d(3, 8, 4), "clip": nn.Conv3d(3, 8, (2, 4, 4))})
    before = {name: x.detach().clone() for name, x in both.named_parameters()}
    lay_out(both)
    assert both["picture"].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr,operator]
    assert all(torch.equal(x, before[name]) for name, x in both.named_parameters())
    both["clip"](torch.randn(1, 3, 2, 8, 8)).sum().backward()
