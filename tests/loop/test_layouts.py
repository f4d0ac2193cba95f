"""A convolution in channels_last goes on after a restart as if nothing had happened."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from unlabeled.config import OptimConfig
from unlabeled.method import Method
from unlabeled.optim import Optim


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
