"""Heads: what stands on an encoder while it is pre-trained and is thrown away afterwards."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlabeled.nn.precision import full, no_autocast


def projector(dim: int, hidden_dim: int, out_dim: int, num_layers: int) -> nn.Sequential:
    """Build SimCLR's projection head: BatchNorm on every layer, the last without shift.

    Linear layers that BatchNorm follows have no bias: it would be subtracted again.
    Chen et al., 2020 (arXiv:2002.05709, arXiv:2006.10029).

    Args:
        dim: D, width of the feature.
        hidden_dim: width between layers.
        out_dim: width of a projection.
        num_layers: >= 1; 2 in SimCLR, 3 in SimCLR v2.
    """
    layers: list[nn.Module] = []
    for _ in range(num_layers - 1):
        layers += [nn.Linear(dim, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU()]
        dim = hidden_dim
    last = nn.BatchNorm1d(out_dim)
    last.bias = None  # type: ignore[assignment]  # "center=False" of the authors
    return nn.Sequential(*layers, nn.Linear(dim, out_dim, bias=False), last)


def perceptron(
    dim: int,
    hidden_dim: int,
    out_dim: int,
    num_layers: int,
    *,
    bias: bool = True,
    norm: bool = False,
) -> nn.Sequential:
    """Build a perceptron with BatchNorm and ReLU between its layers.

    Linear layers that BatchNorm follows have no bias: it would be subtracted again.

    Args:
        dim: D, width of what comes in.
        hidden_dim: width between layers.
        out_dim: width of what goes out.
        num_layers: linear layers, >= 1.
        bias: whether the last layer has one.
        norm: whether BatchNorm without scale and shift comes last; then there is no bias.
    """
    layers: list[nn.Module] = []
    for _ in range(num_layers - 1):
        layers += [nn.Linear(dim, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU()]
        dim = hidden_dim
    layers.append(nn.Linear(dim, out_dim, bias=bias and not norm))
    if norm:
        layers.append(nn.BatchNorm1d(out_dim, affine=False))
    return nn.Sequential(*layers)


class Prototypes(nn.Module):
    """Scores of unit features against K unit directions: a weight-normed linear layer.

    Args:
        dim: D, width of the feature.
        num_prototypes: K.
        learn_norms: whether the length of each prototype is learned; DINO keeps it at 1
            (``norm_last_layer``) except for its small transformers.
    """

    def __init__(self, dim: int, num_prototypes: int, learn_norms: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_prototypes, dim))  # (K, D)
        nn.init.trunc_normal_(self.weight, std=0.02)
        self.norms = nn.Parameter(torch.ones(num_prototypes, 1), requires_grad=learn_norms)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, (B, D) -> (B, K), in fp32: sharpening multiplies their rounding by 25."""
        with no_autocast(x):
            weight = F.normalize(self.weight, dim=-1) * self.norms
            return F.linear(full(x), weight)


class PrototypeHead(nn.Module):
    """DINO's head: a GELU perceptron, a unit bottleneck, prototypes.

    Caron et al., 2021 (arXiv:2104.14294), appendix C.

    Args:
        dim: D, width of the feature.
        hidden_dim: width of the perceptron.
        bottleneck_dim: width of the unit vector that meets the prototypes.
        num_prototypes: K.
        num_layers: linear layers before the prototypes, >= 1.
        learn_norms: see `Prototypes`.
        norm: whether BatchNorm stands before each GELU (the authors' ``use_bn_in_head``).
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        bottleneck_dim: int,
        num_prototypes: int,
        num_layers: int = 3,
        learn_norms: bool = False,
        norm: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide, narrow in pairwise([dim, *[hidden_dim] * (num_layers - 1)]):
            layers.append(nn.Linear(wide, narrow, bias=not norm))
            layers += [nn.BatchNorm1d(narrow), nn.GELU()] if norm else [nn.GELU()]
        last = nn.Linear(hidden_dim if num_layers > 1 else dim, bottleneck_dim)
        self.mlp = nn.Sequential(*layers, last)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        self.prototypes = Prototypes(bottleneck_dim, num_prototypes, learn_norms)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores against the prototypes, (B, D) -> (B, K)."""
        scores: Tensor = self.prototypes(F.normalize(full(self.mlp(x)), dim=-1))
        return scores
