"""Readings of tagged items: probe and neighbours of frozen tokens, and trained networks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.transfer import knn, layered
from unlabeled.transfer.metrics import score
from unlabeled.transfer.readings import Answer, Outcome, Reading, Search, Trained
from unlabeled.transfer.tag_features import Features
from unlabeled.transfer.tagging import TagMaterial
from unlabeled.transfer.training import Recipe, train

NEIGHBOURS, MOST_NEAR = (1, 5, 20, 50), 5_000
"""Numbers of neighbours that are tried, and labelled items among which they are looked for."""


class Tagger(nn.Module):
    """An encoder and a linear head on every token.

    Args:
        encoder: rows (B, 2, T) -> tokens (B, T, D).
        num_classes: K.

    Attributes:
        body: what the names of the encoder's parameters begin with.
    """

    body = "encoder."

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.dim, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of tags, (B, 2, T) -> (B, T, K)."""
        scores: Tensor = self.head(packed_tokens(self.encoder, x))
        return scores


class FrameTagger(Tagger):
    """The same on moments of time: windows of recordings or logs -> (B, T, K)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of classes, (B, ...) -> (B, T, K)."""
        scores: Tensor = self.head(self.encoder.tokens(x))
        return scores


def packed_tokens(encoder: Encoder, x: Tensor) -> Tensor:
    """Return contextual tokens, (B, 2, T) -> (B, T, D), without work on padding (zeros there).

    Sentences differ in length, and more than half of a padded batch may be padding: they are read
    one after the other as documents of one row.
    """
    real = x[:, 1] >= 0  # (B, T)
    number = torch.arange(len(x), device=x.device)[:, None].expand_as(real)
    row = torch.stack([x[:, 0][real], number[real]])[None]  # (1, 2, S)
    tokens = encoder.tokens(row)[0]  # (S, D)
    found = tokens.new_zeros(*real.shape, tokens.shape[-1])
    return found.masked_scatter(real[..., None], tokens)


def start_from(head: nn.Linear, probe: layered.Layered) -> None:
    """Begin with the head of a linear probe of the last layer, as `Classifier` does."""
    weight = probe.weight * probe.scale[0, :, None]  # (D, K)
    bias = probe.bias - probe.mean[0] @ weight
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight.T.copy()))
        head.bias.copy_(torch.from_numpy(bias))


class TagProbe:
    """Read items by logistic regression on their features; the penalty by the validation part.

    Args:
        known: what is labelled.
        features: of its items.
    """

    def __init__(self, known: TagMaterial, features: Features) -> None:
        self.known, self.features = known, features
        self._last: tuple[bytes, layered.Layered] | None = None

    def fitted(self, rows: NDArray[np.int64]) -> layered.Layered:
        """Return the reading of some labelled sentences, recordings or episodes."""
        if self._last is None or self._last[0] != rows.tobytes():
            known, features = self.known, self.features
            x, y = features.train(rows), known.tags_of(rows)
            found = layered.fit(
                x, y, len(known.classes), features.checked, known.expected,
                sizes=features.sizes, metric=known.metric,
            )  # fmt: skip
            self._last = rows.tobytes(), found
        return self._last[1]

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Read what is labelled."""
        found = self.fitted(rows)
        choices: dict[str, Any] = {"l2": found.penalty}
        if len(found.mix) > 1:
            choices["layers"] = [round(float(share), 3) for share in found.mix]
        guesses = found.predict(self.features.checked), found.predict(self.features.asked)
        return Outcome(*guesses, choices)


class TagNeighbours:
    """Read items by their nearest labelled ones; how many, by the validation part.

    Leaving one out inside the labels would ask the moment before, which is of the same recording.
    """

    def __init__(self, known: TagMaterial, features: Features) -> None:
        self.known, self.features = known, features

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Read what is labelled; of many items, as many as `MOST_NEAR` that are spread evenly."""
        known, num_classes = self.known, len(self.known.classes)
        x, y = self.features.train(rows)[:, 0], known.tags_of(rows)
        some = np.linspace(0, len(y) - 1, min(len(y), MOST_NEAR)).round().astype(np.int64)
        x, y = x[some], y[some]
        checked, asked = self.features.checked[:, 0], self.features.asked[:, 0]
        tried = [k for k in NEIGHBOURS if k <= len(y)]
        said = {k: knn.predict(x, y, checked, num_classes, k) for k in tried}
        best = max(tried, key=lambda k: score(said[k], known.expected, num_classes, known.metric))
        return Outcome(said[best], knn.predict(x, y, asked, num_classes, best), {"k": best})


class Best:
    """Makes several readings and takes the one that is best on the validation part.

    Args:
        known: what is labelled.
        readings: by the name that is noted.
    """

    def __init__(self, known: TagMaterial, readings: Mapping[str, Reading]) -> None:
        self.known, self.readings = known, readings

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Read what is labelled."""
        known = self.known
        found = {name: read(rows, count, draw) for name, read in self.readings.items()}
        best = max(found, key=lambda name: score(found[name].validation, known.expected,
                                                 len(known.classes), known.metric))  # fmt: skip
        return replace(found[best], choices={**found[best].choices, "with": best})


class TrainedTags(Trained):
    """A network is trained on tagged items; rate and length are chosen on validation.

    Args:
        known: what is labelled.
        start: makes the tagger that training starts from, rows -> (B, T, K).
        search: what is tried.
        base: what distinguishes this arm.
        seed: of training.
        keep: whether the last model is kept in `kept`.
    """

    def __init__(
        self,
        known: TagMaterial,
        start: Callable[[NDArray[np.int64], int], nn.Module],
        search: Search,
        base: Mapping[str, Any],
        seed: int,
        keep: bool = False,
    ) -> None:
        readable: Any = known  # words where samples are expected; what reads them is below
        super().__init__(readable, start, search, base, seed, keep)
        self.tagged, self._tags = known, known.train.tags()

    def longest(self, num_labels: int) -> Recipe:
        """Count windows where a recording fills several: a pass is over all of them."""
        each = len(self.tagged.train) / max(1, len(self.tagged.y)) if self.tagged.keep else 1.0
        return self.search.longest(max(1, round(each * num_labels)))

    def _train(
        self,
        model: nn.Module,
        rows: NDArray[np.int64],
        recipe: Recipe,
        stops: list[int],
        draw: int,
    ) -> Any:
        inputs: Any = self.tagged.train
        filled = inputs.rows_of(rows)
        return train(
            copy.deepcopy(model),
            inputs,
            filled,
            self._tags[filled],
            recipe,
            self.seed + draw,
            stops,
        )

    def _validate(self, model: nn.Module, rows: NDArray[np.int64]) -> tuple[NDArray[Any], float]:
        known = self.tagged
        logits = known.train.at_items(model, known.validation)
        return logits.argmax(1), layered.gain(logits, known.expected, known.metric)

    def _tested(self, model: nn.Module, rows: NDArray[np.int64]) -> Answer:
        return self.tagged.test.at_items(model).argmax(1), None
