"""Which of several equal computations is fast on this machine."""

from __future__ import annotations

from torch import nn

from unlabeled.device import device
from unlabeled.nn.convolution import Convolution
from unlabeled.nn.rectify import Rectify


def choose_kernels(module: nn.Module) -> None:
    """Give attention, convolutions and ReLUs the computation that is fast here.

    Weights, their names and results stay as they are.

    Args:
        module: changed in place, with everything in it.
    """
    choose_attention(module)
    for layer in module.modules():
        if type(layer) is nn.Conv2d:
            layer.__class__ = Convolution
        elif type(layer) is nn.ReLU:
            layer.__class__ = Rectify


def choose_attention(module: nn.Module) -> None:
    """Let timm's attention layers multiply plainly on a CPU, and use fused kernels on a GPU.

    The fused kernel for CPUs has no bf16 products in its backward pass: for rows of 17 to 200
    tokens it takes 2 to 7 times as long as two batched products and a softmax.

    Args:
        module: changed in place, with everything in it.
    """
    plain = device().type == "cpu"
    for layer in module.modules():
        if isinstance(getattr(layer, "fused_attn", None), bool):
            setattr(layer, "fused_attn", not plain)  # noqa: B010  (typed as a submodule)
