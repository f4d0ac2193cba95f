"""Convolutions on small maps, written as matrix products where a CPU is faster at those.

Bfloat16 products run on AMX tiles of 16 rows, and the CPU's convolution kernels fill a tile with
pixels of one row of the map: on maps of 4 x 4 pixels they reach a third of a product's speed going
forward and a tenth in the gradient of the weights. Copying each window into a row (im2col) costs
less than that. The numbers are those of the convolution up to the order of a sum.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_SMALL = 7
"""Widest map whose convolution is slower than a product."""


class Convolution(nn.Conv2d):
    """A convolution of torch that picks the faster of two equal computations in bfloat16."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not _rounded(input) or not _suits(self, input):
            return cast("Tensor", super()._conv_forward(input, weight, bias))
        x, w = input.to(torch.bfloat16), weight.to(torch.bfloat16)
        padding = cast("tuple[int, int]", self.padding)
        with torch.autocast("cpu", enabled=False):
            out = cast("Tensor", _Product.apply(x, w, self.stride[0], padding[0]))
        return out if bias is None else out + bias.to(torch.bfloat16)[:, None, None]


def _rounded(x: Tensor) -> bool:
    """Return whether convolutions of `x` run in bfloat16 on a CPU."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


def _suits(layer: nn.Conv2d, x: Tensor) -> bool:
    """Return whether a product is the faster way for this layer and map."""
    plain = (
        layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and layer.stride[0] == layer.stride[1]
        and layer.padding[0] == layer.padding[1]
        and layer.kernel_size[0] == layer.kernel_size[1]
        and x.is_contiguous(memory_format=torch.channels_last)
    )
    size, stride = layer.kernel_size[0], layer.stride[0]
    if not plain or layer.in_channels < 32:
        return False
    width = (x.shape[3] + 2 * int(layer.padding[0]) - size) // stride + 1
    return (size > 1 and width <= _SMALL) or (size == 1 and stride > 1)


class _Product(torch.autograd.Function):
    """A convolution as one product, and so its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return _convolve(x, weight, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        wanted_x, wanted_weight = ctx.needs_input_grad[:2]
        grad_x = _grad_input(grad, x, weight, ctx.stride, ctx.padding) if wanted_x else None
        grad_weight = None
        if wanted_weight:
            size = weight.shape[2]
            product = _rows(grad).t() @ windows(x, size, ctx.stride, ctx.padding)
            grad_weight = product.view(len(weight), size, size, -1).permute(0, 3, 1, 2)
        return grad_x, grad_weight, None, None


def windows(x: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """Copy every window of a map into a row.

    Args:
        x: (B, C, H, W).
        size: edge of a window in pixels.
        stride: between windows.
        padding: zeros around the map.

    Returns:
        (B H' W', size size C) for H' x W' windows.
    """
    if padding:
        x = F.pad(x, (padding,) * 4)
    x = x.contiguous(memory_format=torch.channels_last)
    count, channels, height, width = x.shape
    down, across = (height - size) // stride + 1, (width - size) // stride + 1
    strides = (x.stride(0), stride * x.stride(2), stride * x.stride(3), x.stride(2), x.stride(3), 1)
    shape = (count, down, across, size, size, channels)
    return x.as_strided(shape, strides).reshape(count * down * across, -1)


def _rows(x: Tensor) -> Tensor:
    """View a map (B, C, H, W) in the channels-last layout as (B H W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _convolve(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    size = weight.shape[2]
    across = (x.shape[3] + 2 * padding - size) // stride + 1
    flat = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)  # (K, size size C)
    out = windows(x, size, stride, padding) @ flat.t()
    return out.view(len(x), -1, across, len(weight)).permute(0, 3, 1, 2)


def _grad_input(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Return the gradient of the map, (B, C, H, W)."""
    size = weight.shape[2]
    if stride == 1:  # the gradient convolved with the kernel turned by half a circle
        turned = weight.flip(2, 3).transpose(0, 1)
        return _convolve(grad, turned, 1, size - 1 - padding)
    if size == 1 and not padding:  # windows do not overlap
        out = torch.zeros_like(x)
        out[:, :, ::stride, ::stride] = _convolve(grad, weight.transpose(0, 1), 1, 0)
        return out
    steps, around = [stride] * 2, [padding] * 2
    mask = [True, False, False]
    grads = torch.ops.aten.convolution_backward(
        grad, x, weight, None, steps, around, [1, 1], False, [0, 0], 1, mask
    )
    return cast("Tensor", grads[0])
