"""Which of several equal computations is fast on this machine."""

from __future__ import annotations

from torch import nn

from unlabeled.device import device


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
