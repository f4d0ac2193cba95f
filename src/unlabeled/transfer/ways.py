"""Which weights fine-tuning moves, from a thin layer of new ones to all.

With few labels, moving fewer weights may forget less of what pre-training found. Which way is
best depends on the encoder, the data and the number of labels, so it is chosen on the validation
part, as the rate is. What was found with few labels is in docs/log.md, 2026-11-25.

- ``all``: every weight, the first layers more slowly.
- ``last``: the last third of the blocks; what lies before stays.
- ``thaw``: the head alone for a quarter of the steps, then every weight.
- ``lora``: to every matrix a product of two thin ones is added (Hu et al., 2021,
  arXiv:2106.09685), and only these and the head are trained; kernels of convolutions count as
  matrices of (outputs, inputs x places). Afterwards they are multiplied out, so that what is
  saved is the library's own network.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unlabeled import rng

WAYS = ("all", "last", "thaw", "lora")
RANK, ALPHA = 8, 16
RATES = {"all": 1.0, "last": 1.0, "thaw": 1.0, "lora": 4.0}
"""Rate of a way relative to that of all weights; thin matrices that begin at 0 need a higher."""

_LAST, _HELD = 2 / 3, 0.25


class LowRank(nn.Module):
    """Adds ``ALPHA / RANK x B A`` to a frozen matrix; B begins at 0.

    Args:
        weight: (out, ...) the matrix or kernel.
        seed: of A.
    """

    def __init__(self, weight: Tensor, seed: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(RANK, rows, columns)
        drawn = rng.generator(seed).uniform(-1, 1, size=(rank, columns)) / math.sqrt(columns)
        self.a = nn.Parameter(torch.from_numpy(drawn).to(weight))
        self.b = nn.Parameter(weight.new_zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the sum, of the shape of `weight`."""
        added = self.b @ self.a * (ALPHA / self.b.shape[1])
        return weight + added.view_as(weight)


def in_body(model: nn.Module, name: str) -> bool:
    """Say whether a parameter is of the encoder; the rest is the head."""
    return name.startswith(getattr(model, "body", "encoder."))


def prepare(model: nn.Module, way: str, seed: int) -> None:
    """Freeze what a way does not move, and add what it does; changes `model`.

    Args:
        model: an encoder under the prefix `model.body`, and a head.
        way: one of `WAYS`.
        seed: of new weights.
    """
    if way == "last":
        _freeze_first(model)
    elif way == "lora":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not in_body(model, name))
        for number, (name, module) in enumerate(list(model.named_modules())):
            weight = getattr(module, "weight", None)
            fits = isinstance(weight, nn.Parameter) and weight.ndim > 1
            if fits and in_body(model, f"{name}.") and not isinstance(module, nn.Embedding):
                added = LowRank(module.weight, rng.mix(seed, number))
                parametrize.register_parametrization(module, "weight", added, unsafe=True)


def _freeze_first(model: nn.Module) -> None:
    from unlabeled.transfer.training import layers

    names = [name for name, _ in model.named_parameters()]
    depths = dict(zip(names, layers(names), strict=True))
    most = max((depths[name] for name in names if in_body(model, name)), default=0)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not in_body(model, name) or depths[name] >= _LAST * most)


def held(way: str, step: int, steps: int) -> bool:
    """Say whether the encoder still stands still at a step."""
    return way == "thaw" and step < _HELD * steps


def merged(model: nn.Module, way: str) -> nn.Module:
    """Return a model with nothing added to its library's: added matrices are multiplied out."""
    if way != "lora":
        return model
    whole = copy.deepcopy(model)
    for module in whole.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return whole
