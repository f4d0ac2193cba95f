"""The stem of a ResNet for small images, in a form that timm can open without us.

A ResNet's own stem (7x7, stride 2, then pooling) leaves an 8x8 map of a 32-pixel image. The
usual stem for small images is one 3x3 convolution of stride 1, for which timm has no option.
It is trained as such, and written as the stem that timm calls ``replace_stem_pool`` (7x7 of
stride 2, then 3x3 of stride 2) for images enlarged four times by repeating pixels:

- the 7x7 kernel at each odd position spans pixel repeats (1 of the left neighbour, 4 of the
  pixel itself, 2 of the right one), so the 3x3 kernel, spread over those, gives the same sum;
- the second convolution picks the odd positions; the BatchNorm and ReLU behind it do nothing
  to what is already rectified.

Repeating pixels is what box interpolation does, which the written configuration asks for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

ENLARGED = 4
"""How many times larger the written model wants its images."""

_SHARES = torch.tensor(
    [
        [1, 0, 0, 0, 0, 0, 0],
        [0, 1 / 4, 1 / 4, 1 / 4, 1 / 4, 0, 0],
        [0, 0, 0, 0, 0, 1 / 2, 1 / 2],
    ]
)
"""Share of each tap of three (rows) in each tap of seven (columns)."""


def fits(model: nn.Module) -> bool:
    """Tell whether `model` is a ResNet with the plain 7x7 stem."""
    return (
        isinstance(model, ResNet)
        and isinstance(model.conv1, nn.Conv2d)
        and isinstance(model.maxpool, nn.MaxPool2d)
    )


def shrink(model: nn.Module) -> None:
    """Replace the stem by a 3x3 convolution of stride 1 without pooling, in place."""
    old = model.conv1
    assert isinstance(old, nn.Conv2d)
    new = nn.Conv2d(old.in_channels, old.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    model.conv1, model.maxpool = new, nn.Identity()


def unfold(state: Mapping[str, Tensor], eps: float = 1e-5) -> dict[str, Tensor]:
    """Turn the weights of a shrunk ResNet into those of timm's ``replace_stem_pool``.

    Args:
        state: weights with a 3x3 `conv1`.
        eps: of the BatchNorms.

    Returns:
        Weights that give, for images enlarged four times, the same output.
    """
    kernel = state["conv1.weight"]
    shares = _SHARES.to(kernel)
    width = len(kernel)
    pick = torch.zeros(width, width, 3, 3).to(kernel)
    pick[range(width), range(width), 2, 2] = 1
    mean, variance = _rectified(state["bn1.weight"], state["bn1.bias"])
    return {
        **state,
        "conv1.weight": torch.einsum("ocij,ix,jy->ocxy", kernel, shares, shares),
        "maxpool.0.weight": pick,
        "maxpool.1.weight": (variance + eps).sqrt(),
        "maxpool.1.bias": mean,
        "maxpool.1.running_mean": mean.clone(),
        "maxpool.1.running_var": variance,
        "maxpool.1.num_batches_tracked": torch.zeros((), dtype=torch.int64),
    }


def fold(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `unfold` exactly.

    Raises:
        ValueError: the weights did not come from `unfold`, or were trained since.
    """
    own = {name: x for name, x in state.items() if not name.startswith("maxpool.")}
    taps = state["conv1.weight"][..., [0, 1, 5], :][..., [0, 1, 5]]
    scale = torch.tensor([1.0, 4.0, 2.0]).to(taps)
    own["conv1.weight"] = taps * scale[:, None] * scale
    again = unfold(own)
    if again.keys() != state.keys() or not all(
        torch.equal(again[name], state[name]) for name in ("conv1.weight", "maxpool.0.weight")
    ):
        raise ValueError("the stem is not one that was written for small images")
    return own


def _rectified(scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of max(0, x) for x ~ N(shift, scale^2), per channel.

    With them as running statistics the second BatchNorm changes nothing in evaluation, and
    nearly nothing if somebody goes on training in another library.
    """
    deviation = scale.abs().clamp_min(1e-3)
    ratio = shift / deviation
    density = torch.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(ratio)
    mean = shift * below + deviation * density
    square = (shift**2 + deviation**2) * below + shift * deviation * density
    return mean, (square - mean**2).clamp_min(1e-6)
