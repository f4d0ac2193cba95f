"""Which weights fine-tuning moves, from a thin layer of new ones to all.

With few labels, moving fewer weights may forget less of what pre-training found. Which way is
best depends on the encoder, the data and the number of labels, so it is chosen on the validation
part, as the rate is.

- ``all``: every weight, the first layers more slowly.
- ``last``: the last third of the blocks; what lies before stays.
- ``thaw``: the head alone for a quarter of the steps, then every weight.
- ``lora``: to every matrix a product of two thin ones is added (Hu et al., 2021,
  arXiv:2106.09685), and only these and the head are trained; kernels of convolutions count as
  matrices of (outputs, inputs x places). Afterwards they are multiplied out, so that what is
  saved is the library's own network.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from unlabeled.nn import low_rank
from unlabeled.nn.groups import layers

WAYS = ("all", "last", "thaw", "lora")
RANK = 8
RATES = {"all": 1.0, "last": 1.0, "thaw": 1.0, "lora": 4.0}
"""Rate of a way relative to that of all weights; thin matrices that begin at 0 need a higher."""

_LAST, _HELD = 2 / 3, 0.25


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
        low_rank.attach(model, seed, RANK, partial(in_body, model))


def _freeze_first(model: nn.Module) -> None:
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
    return low_rank.merged(model) if way == "lora" else model
