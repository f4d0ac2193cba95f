"""Train all weights of a classifier on few labels, from a pre-trained or from a fresh encoder.

The same code and the same search serve both arms, so that the comparison is fair. The rate is
constant after a warm-up and the weights are averaged, so that every length is a point of one run
and choosing the length costs nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled import rng
from unlabeled.device import autocast, device, keep_memory
from unlabeled.kinds import strings
from unlabeled.nn.groups import layers
from unlabeled.transfer import targets, ways
from unlabeled.transfer.features import Inputs, best_precision, outputs
from unlabeled.transfer.probe import Probe, Scaler
from unlabeled.types import PLAIN, View

LIGHT = View(extent=(0.5, 1.0), flip=True)
"""A light augmentation: most of the image, perhaps mirrored where the data allow it."""


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained.

    Args:
        rate: learning rate of the head and of the last layer, after the warm-up.
        steps: optimiser steps.
        view: what is shown of a sample.
        batch: samples a step.
        lowest: rate of the first layer relative to the last (1: no layer-wise decay).
        frozen_statistics: keep the running statistics of batch normalisation.
        decay: weight decay of matrices.
        warmup: share of the steps in which the rate rises.
        way: which weights are moved, one of `ways.WAYS`.
        balanced: whether classes weigh the same in the loss, see `aims`.
    """

    rate: float = 1e-3
    steps: int = 200
    view: View = PLAIN
    batch: int = 64
    lowest: float = 1.0
    frozen_statistics: bool = False
    decay: float = 0.05
    warmup: float = 0.1
    way: str = "all"
    balanced: bool = False


class Classifier(nn.Module):
    """An encoder and a linear head.

    Args:
        encoder: raw view -> feature (B, D).
        dim: D.
        num_classes: K.

    Attributes:
        body: what the names of the encoder's parameters begin with.
    """

    body = "encoder."

    def __init__(self, encoder: nn.Module, dim: int, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(dim, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (B, ...) -> (B, K)."""
        logits: Tensor = self.head(self.encoder(x))
        return logits

    def start_from(self, probe: Probe, scaler: Scaler) -> None:
        """Begin with the head of a linear probe (Kumar et al., 2022, arXiv:2202.10054).

        A random head would tear the pre-trained features apart before it has learned anything.
        """
        weight = probe.weight * scaler.scale[:, None]  # (D, K)
        bias = probe.bias - scaler.mean @ weight
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weight.T.copy()))
            self.head.bias.copy_(torch.from_numpy(bias))


def param_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return groups for AdamW: layer-wise rates, no decay of vectors.

    The rate falls by an equal factor a layer, to `recipe.lowest` at the first; what LoRA adds
    begins at 0 everywhere and learns at one rate.
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    depth = layers([name for name, _ in named])
    most = max(depth, default=0)
    lowest = recipe.lowest if recipe.way != "lora" else 1.0
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for (name, parameter), layer in zip(named, depth, strict=True):
        body = ways.in_body(model, name)
        below = 1 - layer / most if body and most else float(body)
        groups.setdefault((lowest**below, parameter.ndim > 1, body), []).append(parameter)
    return [
        {"params": x, "scale": scale, "weight_decay": recipe.decay if decays else 0.0, "body": body}
        for (scale, decays, body), x in groups.items()
    ]


def train(
    model: nn.Module,
    inputs: Inputs,
    rows: NDArray[np.int64],
    y: NDArray[Any],
    recipe: Recipe,
    seed: int,
    stops: Sequence[int] | None = None,
    loss_of: Callable[[Tensor, Tensor], Tensor] = targets.loss,
) -> Iterator[tuple[int, nn.Module]]:
    """Train `model` and yield it, averaged over steps, at each stop.

    Args:
        model: is changed.
        inputs: the samples.
        rows: (L,) positions in `inputs` that are labelled.
        y: (L,) their classes, (L, K) labels as 0 and 1, or (L,) numbers.
        recipe: how.
        seed: of the order, the views and dropout.
        stops: steps after which to yield; the last step by default.
        loss_of: what is minimised, of outputs in fp32 and what belongs to them in `y`.
    """
    keep_memory()
    where, wanted = device(), sorted(set(stops or [recipe.steps]))
    ways.prepare(model, recipe.way, seed)
    model.to(where)
    if not strings(inputs.modality.name) and all(p.ndim < 5 for p in model.parameters()):
        model.to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).eval()
    optimiser = torch.optim.AdamW(
        param_groups(model, recipe), lr=recipe.rate, fused=where.type == "cuda" or None
    )
    precision = best_precision()
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        for step in range(wanted[-1]):
            torch.manual_seed(rng.mix(seed, step) >> 1)
            _mode(model, recipe)
            chosen, keys = _batch(step, recipe.batch, inputs.indices[rows], seed)
            x = inputs.view(rows[chosen], recipe.view, keys).to(where)
            with autocast(precision, where):
                logits = model(x)
            loss = loss_of(logits.float(), torch.from_numpy(y[chosen]).to(where))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            rise = min(1.0, (step + 1) / max(1.0, recipe.warmup * recipe.steps))
            for group in optimiser.param_groups:
                still = group["body"] and ways.held(recipe.way, step, recipe.steps)
                group["lr"] = 0.0 if still else recipe.rate * group["scale"] * rise
            optimiser.step()
            _move(average, model, step)
            if step + 1 in wanted:
                yield step + 1, ways.merged(average, recipe.way)


def _mode(model: nn.Module, recipe: Recipe) -> None:
    model.train()
    if recipe.frozen_statistics:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _batch(
    step: int, size: int, indices: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which labelled samples a step sees, and the key of each one's view."""
    places = np.arange(step * size, (step + 1) * size)
    epochs = places // len(indices)
    orders = {epoch: rng.order(seed, int(epoch), len(indices)) for epoch in np.unique(epochs)}
    chosen = np.array(
        [orders[e][p % len(indices)] for e, p in zip(epochs, places, strict=True)], dtype=np.int64
    )
    keys = [
        rng.sample_key(seed, int(epoch), int(indices[row]))
        for epoch, row in zip(epochs, chosen, strict=True)
    ]
    return chosen, np.array(keys, dtype=np.int64)


@torch.no_grad()
def _move(average: nn.Module, model: nn.Module, step: int) -> None:
    """Average weights and statistics over about the last tenth of the steps made."""
    keep = 1 - 1 / (1 + step / 10)
    for slow, fast in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - keep)
        else:
            slow.copy_(fast)


def scores(
    model: nn.Module, inputs: Inputs, rows: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Return the logits of whole samples, (N, K)."""
    return outputs(model, inputs, rows=rows)
