"""Distortions of a batch of images, with the values of torchvision's v2 functionals.

Every image has its own factors and its own order of operations, so images are grouped by
operation instead of looped over. `x` is (B, C, H, W) float32 in [0, 1]; `draws` is (B, 16)
uniform in [0, 1), of which each function uses its own columns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unlabeled.rng import uniform

CHUNK = 64
"""Images distorted at a time: what an operation writes stays in the processor's cache."""

_JITTER, _FACTORS, _ORDER, _GREY, _BLUR, _SIGMA, _SOLARIZE = 0, 1, 5, 9, 10, 11, 12
_NUM_DRAWS = 16
_JITTER_PROBABILITY = 0.8
_SHARES = (0.8, 0.8, 0.8, 0.2)
_SIGMAS = (0.1, 2.0)


def draw(keys: Tensor, salt: int) -> Tensor:
    """Draw all that the distortions of one copy need, (B, 16)."""
    return uniform(keys, _NUM_DRAWS, salt)


def grey(x: Tensor) -> Tensor:
    """Return the luma of colour images, the mean of others, (B, 1, H, W)."""
    if x.shape[1] != 3:
        return x.mean(dim=1, keepdim=True)
    r, g, b = x.unbind(dim=1)
    return (r * 0.2989).add_(g, alpha=0.587).add_(b, alpha=0.114)[:, None]


def _blend(x: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    factor = factor[:, None, None, None]
    return (x * factor).add_(other * (1 - factor)).clamp_(0, 1)


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Scale values; factor (B,) >= 0."""
    return (x * factor[:, None, None, None]).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey value of the image; factor (B,) >= 0."""
    return _blend(x, grey(x).mean(dim=(1, 2, 3), keepdim=True), factor)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image; factor (B,) >= 0. No effect without colour."""
    return _blend(x, grey(x), factor) if x.shape[1] == 3 else x


def hue(x: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by `shift` (B,) of the colour circle. No effect without colour.

    The way to HSV and back is written as one: a channel is the largest value minus the chroma
    times a hat function of the hue.
    """
    if x.shape[1] != 3:
        return x
    r, g, b = x.unbind(dim=1)
    high, low = x.amax(dim=1), x.amin(dim=1)  # (B, H, W)
    chroma = high - low
    inverse = chroma.clamp_min(1e-12).reciprocal_()
    angle = torch.where(high == g, (b - r).mul_(inverse).add_(2), (r - g).mul_(inverse).add_(4))
    angle = torch.where(high == r, (g - b).mul_(inverse), angle)
    angle += 6 * shift[:, None, None]
    out = torch.empty_like(x)
    for channel, offset in enumerate((5, 3, 1)):
        k = torch.remainder(angle + offset, 6)
        hat = torch.minimum(k, 4 - k).clamp_(0, 1)
        torch.addcmul(high, hat, chroma, value=-1, out=out[:, channel])
    return out


_OPERATIONS = (brightness, contrast, saturation, hue)


def jitter(x: Tensor, strength: float, draws: Tensor) -> Tensor:
    """Jitter brightness, contrast, saturation and hue of 80 % of the images, in random order.

    Factors are uniform in [max(0, 1 - 0.8 s), 1 + 0.8 s], the hue's shift in [-0.2 s, 0.2 s].
    """
    rows = (draws[:, _JITTER] < _JITTER_PROBABILITY).nonzero()[:, 0]
    used = draws[rows]
    order = used[:, _ORDER : _ORDER + 4].argsort(dim=1)  # (B, 4): operation of each slot
    factors = _factors(used[:, _FACTORS : _FACTORS + 4], strength)
    done = x[rows]
    for slot in range(4):
        for number, operation in enumerate(_OPERATIONS):
            group = (order[:, slot] == number).nonzero()[:, 0]
            if len(group):
                done[group] = operation(done[group], factors[group, number])
    return x.index_copy(0, rows, done)


def _factors(draws: Tensor, strength: float) -> Tensor:
    """Turn (B, 4) uniform draws into three factors and a shift."""
    spans = [share * strength for share in _SHARES]
    low = [max(0.0, 1 - span) for span in spans[:3]] + [-min(0.5, spans[3])]
    high = [1 + span for span in spans[:3]] + [min(0.5, spans[3])]
    return draws.new_tensor(low) + draws * (draws.new_tensor(high) - draws.new_tensor(low))


def remove_colour(x: Tensor, probability: float, draws: Tensor) -> Tensor:
    """Make images grey."""
    rows = (draws[:, _GREY] < probability).nonzero()[:, 0]
    if x.shape[1] != 3 or not len(rows):
        return x
    return x.index_copy(0, rows, grey(x[rows]).expand(-1, 3, -1, -1).contiguous())


def kernel_radius(edge: int) -> int:
    """Return the radius of the blur kernel, whose width is a tenth of the image's edge.

    >>> kernel_radius(32), kernel_radius(224)
    (1, 11)
    """
    return max(1, edge // 20)


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """Blur with a Gaussian of `sigma` (B,) pixels, borders mirrored."""
    radius = kernel_radius(x.shape[-1])
    steps = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    weights = torch.exp(-0.5 * (steps / sigma[:, None]) ** 2)  # (B, 2 * radius + 1)
    weights = (weights / weights.sum(dim=1, keepdim=True))[:, :, None, None, None]
    for dim in (2, 3):
        border = (radius, radius, 0, 0) if dim == 3 else (0, 0, radius, radius)
        padded = F.pad(x, border, mode="reflect")
        size = x.shape[dim]
        x = padded.narrow(dim, 0, size) * weights[:, 0]
        for tap in range(1, 2 * radius + 1):
            x.addcmul_(padded.narrow(dim, tap, size), weights[:, tap])
    return x


def blur(x: Tensor, probability: float, draws: Tensor) -> Tensor:
    """Blur images with a sigma uniform in [0.1, 2]."""
    rows = (draws[:, _BLUR] < probability).nonzero()[:, 0]
    if not len(rows):
        return x
    sigma = _SIGMAS[0] + draws[rows, _SIGMA] * (_SIGMAS[1] - _SIGMAS[0])
    return x.index_copy(0, rows, gaussian(x[rows], sigma))


def solarize(x: Tensor, probability: float, draws: Tensor) -> Tensor:
    """Invert the values from 0.5 upwards."""
    chosen = (draws[:, _SOLARIZE] < probability)[:, None, None, None]
    return torch.where(chosen & (x >= 0.5), 1 - x, x)
