"""LoRA: to a frozen matrix a product of two thin ones is added, and only these are trained.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, arXiv:2106.09685.

A parametrization of torch holds the thin matrices, so a network keeps its class and its names; it
works on any matrix of any library, kernels of convolutions and joint query-key-value projections
among them, and is multiplied out before a network is saved. (peft wraps modules in its own, which
the saved network would have to be unwrapped from, and knows no teacher that follows by averages.)
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unlabeled import rng

Module = TypeVar("Module", bound=nn.Module)


class LowRank(nn.Module):
    """Adds ``alpha / rank x B A`` to a frozen matrix; B begins at 0.

    Args:
        weight: (out, ...) the matrix or kernel, which counts as (outputs, inputs x places).
        seed: of A.
        rank: of the product, at most; alpha is twice of it.
    """

    def __init__(self, weight: Tensor, seed: int, rank: int = 8) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        least = min(rank, rows, columns)
        drawn = rng.generator(seed).uniform(-1, 1, size=(least, columns)) / math.sqrt(columns)
        self.a = nn.Parameter(torch.from_numpy(drawn).to(weight))
        self.b = nn.Parameter(weight.new_zeros(rows, least))
        self.factor = 2 * rank / least

    def forward(self, weight: Tensor) -> Tensor:
        """Return the sum, of the shape of `weight`."""
        return weight + (self.b @ self.a * self.factor).view_as(weight)


def attach(
    model: nn.Module, seed: int, rank: int = 8, inside: Callable[[str], bool] = lambda name: True
) -> None:
    """Freeze a network, and add thin matrices to every matrix of it but embeddings.

    Args:
        model: is changed.
        seed: of what is drawn.
        rank: of each product, at most.
        inside: whether a name (of a parameter, or of a module with a dot behind it) belongs to
            what is frozen and added to; the rest stays as it is and is trained.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not inside(name))
    for number, (name, module) in enumerate(list(model.named_modules())):
        weight = getattr(module, "weight", None)
        fits = isinstance(weight, nn.Parameter) and weight.ndim > 1
        if fits and inside(f"{name}.") and not isinstance(module, nn.Embedding):
            added = LowRank(module.weight, rng.mix(seed, number), rank)
            parametrize.register_parametrization(module, "weight", added, unsafe=True)


def merged(model: Module) -> Module:
    """Return a copy in which added matrices are multiplied out; the model itself if it has none."""
    if not any(parametrize.is_parametrized(m, "weight") for m in model.modules()):
        return model
    whole = copy.deepcopy(model)
    for module in list(whole.modules()):
        if parametrize.is_parametrized(module, "weight"):
            _multiply_out(module)
    return whole


def _multiply_out(module: nn.Module) -> None:
    """Make a matrix of a matrix and what is added to it.

    torch's own removal takes the property off the class, which a copy shares with the module that
    it was copied from: that one could not be used any more.
    """
    own, weight = parametrize.type_before_parametrizations(module), module.weight
    assert isinstance(weight, Tensor)
    del module.parametrizations
    module.__class__ = own
    module.register_parameter("weight", nn.Parameter(weight.detach().clone()))
