"""BatchNorm over the samples of all ranks, on any device.

`torch.nn.SyncBatchNorm` computes the same but refuses CPUs, where ranks are tested.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from unlabeled.device import world
from unlabeled.nn.gather import gather_rows


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and biased variance of each channel over all ranks, and how many values.

    Ranks tell one another their own mean and variance instead of sums of squares, which would
    cancel (Chan, Golub and LeVeque, 1979).

    Args:
        x: (B, C, ...), B may differ between ranks.

    Returns:
        (C,), (C,) and a scalar, at least fp32, with the gradient of all ranks' values.
    """
    rest = [d for d in range(x.ndim) if d != 1]
    wide = x if x.dtype == torch.float64 else x.float()
    var, mean = torch.var_mean(wide, dim=rest, correction=0)
    count = torch.full_like(mean, wide.numel() / wide.shape[1])
    means, variances, counts = gather_rows(torch.stack([mean, var, count])[None]).unbind(1)
    share = counts / counts.sum(0)  # (ranks, C)
    centre = (share * means).sum(0)
    return centre, (share * (variances + (means - centre) ** 2)).sum(0), counts[:, 0].sum()


def normalise(layer: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    """Normalise with the statistics of all ranks, and move the running ones as torch does."""
    mean, var, count = moments(x)
    if layer.track_running_stats and layer.running_mean is not None:
        _remember(layer, mean.detach(), var.detach() * count / (count - 1).clamp(min=1))
    scale = (var + layer.eps).rsqrt()
    if layer.weight is not None:
        scale = scale * layer.weight
    shift = -mean * scale if layer.bias is None else layer.bias - mean * scale
    shape = (1, -1, *[1] * (x.ndim - 2))
    wide = x if x.dtype == torch.float64 else x.float()
    return torch.addcmul(shift.view(shape), wide, scale.view(shape)).to(x.dtype)


@torch.no_grad()
def _remember(layer: nn.modules.batchnorm._BatchNorm, mean: Tensor, unbiased: Tensor) -> None:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked.add_(1)
    rate = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked)
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), rate)
    layer.running_var.lerp_(unbiased.to(layer.running_var.dtype), rate)


class _Flat(nn.BatchNorm1d):
    def forward(self, x: Tensor) -> Tensor:
        return normalise(self, x) if self.training else super().forward(x)


class _Map(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return normalise(self, x) if self.training else super().forward(x)


def _classes() -> dict[type[nn.Module], type[nn.Module]]:
    """Return what takes the place of which layer.

    Where timm is not imported no layer is timm's, and importing it takes 30 MB.
    """
    found: dict[type[nn.Module], type[nn.Module]] = {nn.BatchNorm1d: _Flat, nn.BatchNorm2d: _Map}
    if "timm" in sys.modules:
        from timm.layers import BatchNormAct2d

        class ActiveMap(BatchNormAct2d):  # type: ignore[misc]
            def forward(self, x: Tensor) -> Tensor:
                if not self.training:
                    plain: Tensor = super().forward(x)
                    return plain
                active: Tensor = self.act(self.drop(normalise(self, x)))
                return active

        found[BatchNormAct2d] = ActiveMap
    return found


def synchronise(module: nn.Module) -> int:
    """Let every BatchNorm in a module see the samples of all ranks; returns how many there are.

    Parameters, their names and what is saved stay as they are. Nothing changes on one rank.

    Args:
        module: changed in place.
    """
    if world() == 1:
        return 0
    classes = _classes()
    found = [layer for layer in module.modules() if type(layer) in classes]
    for layer in found:
        layer.__class__ = classes[type(layer)]
    return len(found)
