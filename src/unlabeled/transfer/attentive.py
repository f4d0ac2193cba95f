"""Attentive probe: a learnt query chooses among frozen tokens; what it gathers is read linearly.

As in V-JEPA's evaluation (Bardes et al., 2024, arXiv:2404.08471, section 4.2), with one head and
without a layer after it, so that few labels suffice. The query begins at 0, which is the mean over
tokens: under a strong penalty this is the linear probe of mean features, and only labels that
speak against it move it away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unlabeled.device import autocast, device, keep_memory
from unlabeled.encoders.base import Encoder
from unlabeled.transfer import layered
from unlabeled.transfer.calibration import sureness
from unlabeled.transfer.features import Inputs, best_precision
from unlabeled.transfer.hidden import pooled_layers, real_tokens
from unlabeled.transfer.material import Known
from unlabeled.transfer.probe import Scaler
from unlabeled.transfer.readings import Outcome

_BLOCK = 256


@dataclass(frozen=True)
class Tokens:
    """Frozen tokens of samples.

    Args:
        values: (N, T, D) float16.
        real: (N, T) bool, which are no padding.
    """

    values: Tensor
    real: Tensor

    def take(self, rows: NDArray[np.int64]) -> Tokens:
        """Return those of some samples."""
        chosen = torch.from_numpy(rows)
        return Tokens(self.values[chosen], self.real[chosen])


def tokens_of(encoder: Encoder, inputs: Inputs) -> Tokens:
    """Return all tokens of undistorted samples."""
    keep_memory()
    where = device()
    encoder.to(where).eval()
    parts: list[tuple[Tensor, Tensor]] = []
    with torch.inference_mode(), autocast(best_precision(), where):
        for start in range(0, len(inputs), _BLOCK):
            x = inputs.plain(slice(start, start + _BLOCK)).to(where)
            tokens = encoder.tokens(x)
            parts.append((tokens.half().cpu(), real_tokens(encoder, x, tokens).cpu()))
    width = max(real.shape[1] for _, real in parts)
    values = [functional.pad(v, (0, 0, 0, width - v.shape[1])) for v, _ in parts]
    real = [functional.pad(r, (0, width - r.shape[1])) for _, r in parts]
    return Tokens(torch.cat(values), torch.cat(real))


@dataclass(frozen=True)
class Attentive:
    """A fitted reading.

    Args:
        query: (D,) in scaled units.
        mean: (D,) subtracted from tokens.
        scale: (D,) what is left is multiplied by.
        weight: (D, K).
        bias: (K,).
        penalty: the L2 penalty chosen, of query and weight.
    """

    query: Tensor
    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    penalty: float

    def scores(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return logits, (N, K)."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(tokens.values), _BLOCK):
                x = (tokens.values[start : start + _BLOCK].float() - self.mean) * self.scale
                gathered = gather(x, tokens.real[start : start + _BLOCK], self.query)
                parts.append(gathered @ self.weight + self.bias)
        return torch.cat(parts).numpy()


def gather(x: Tensor, real: Tensor, query: Tensor) -> Tensor:
    """Return what a query gathers of tokens, (N, T, D) -> (N, D); the mean for a query of 0."""
    # Scaled tokens have length about 1, so a query of length sqrt(D) can tell them apart.
    says = (x @ query) * x.shape[-1] ** 0.5
    share = says.masked_fill(~real, -torch.inf).softmax(1)  # (N, T)
    return torch.einsum("nt,ntd->nd", share, x)


def fit(
    tokens: Tokens,
    y: NDArray[np.int64],
    num_classes: int,
    checked: Tokens,
    y_checked: NDArray[np.int64],
    seen: Tokens,
    penalties: tuple[float, ...] = layered.PENALTIES,
) -> Attentive:
    """Fit for each penalty, from the strongest, and keep what is best on the checked part.

    Args:
        tokens: of N labelled samples.
        y: (N,) classes.
        num_classes: K.
        checked: of the samples on which the penalty is chosen.
        y_checked: their classes.
        seen: tokens by which all are scaled; they have no labels.
        penalties: descending.
    """
    scaler = Scaler.fit(seen.values[seen.real].float().numpy())
    mean, scale = torch.from_numpy(scaler.mean), torch.from_numpy(scaler.scale)
    x, real = (tokens.values.float() - mean) * scale, tokens.real
    target, width = torch.from_numpy(y), x.shape[-1]
    weights = [torch.zeros(n) for n in (width, width * num_classes, num_classes)]
    best: tuple[float, Attentive] | None = None
    for penalty in layered.tried(penalties, len(y_checked)):

        def logits() -> Tensor:
            return gather(x, real, weights[0]) @ weights[1].view(width, -1) + weights[2]

        layered.minimise(logits, target, weights, weights[:2], penalty)
        query, weight, bias = (part.detach().clone() for part in weights)
        found = Attentive(query, mean, scale, weight.view(width, -1), bias, penalty)
        gained = layered.gain(found.scores(checked), y_checked) if len(y_checked) else 0.0
        if best is None or gained > best[0]:
            best = gained, found
    assert best is not None
    return best[1]


class AttentiveProbe:
    """Read samples by an attentive probe of frozen tokens.

    Args:
        known: the samples; one class each.
        encoder: makes the encoder.
    """

    def __init__(self, known: Known, encoder: Callable[[], Encoder]) -> None:
        self.known, self._encoder = known, encoder

    @cached_property
    def tokens(self) -> tuple[Tokens, Tokens]:
        """Return the tokens of the labelled and of the test samples."""
        encoder = self._encoder()
        return tokens_of(encoder, self.known.train), tokens_of(encoder, self.known.test)

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Read labelled samples."""
        known, (train, test) = self.known, self.tokens
        checked, some = train.take(known.validation), train.take(known.steady[:512])
        y = known.y[known.validation]
        found = fit(train.take(rows), known.y[rows], len(known.classes), checked, y, some)
        said = [found.scores(part) for part in (checked, test)]
        choices = {"l2": found.penalty, "query": round(float(found.query.norm()), 3)}
        return Outcome(said[0].argmax(1), said[1].argmax(1), choices, sureness(said[1]))


class LayersProbe:
    """Read samples by a learnt sum of all layers, pooled: the form of SUPERB.

    Args:
        known: the samples; one class each.
        encoder: makes the encoder.
    """

    def __init__(self, known: Known, encoder: Callable[[], Encoder]) -> None:
        self.known, self._encoder = known, encoder

    @cached_property
    def features(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return pooled layers of the labelled and of the test samples, (N, L, D)."""
        encoder = self._encoder()
        return _layers(encoder, self.known.train), _layers(encoder, self.known.test)

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Read labelled samples."""
        known, (train, test) = self.known, self.features
        checked, y = train[known.validation], known.y
        found = layered.fit(
            train[rows],
            y[rows],
            len(known.classes),
            checked,
            y[known.validation],
            seen=train[known.steady],
        )
        mix = [round(float(share), 3) for share in found.mix]
        choices = {"l2": found.penalty, "layers": mix}
        sure = sureness(found.scores(test))
        return Outcome(found.predict(checked), found.predict(test), choices, sure)


def _layers(encoder: Encoder, inputs: Inputs) -> NDArray[np.float32]:
    keep_memory()
    where = device()
    encoder.to(where).eval()
    parts = []
    with torch.inference_mode(), autocast(best_precision(), where):
        for start in range(0, len(inputs), _BLOCK):
            x = inputs.plain(slice(start, start + _BLOCK)).to(where)
            parts.append(pooled_layers(encoder, x).float().cpu().numpy())
    found: NDArray[np.float32] = np.concatenate(parts)
    return found
