"""Readings of tagged words: a linear probe of frozen tokens, and networks that are trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.transfer import layered
from unlabeled.transfer.hidden import layers_of
from unlabeled.transfer.readings import Answer, Outcome, Search, Trained
from unlabeled.transfer.tagging import TagMaterial
from unlabeled.transfer.training import Recipe, train


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


class _Tokens(nn.Module):
    """Rows -> tokens of the last layer, or of all, (B, T, L, D)."""

    def __init__(self, encoder: Encoder, layers: bool) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, layers

    def forward(self, x: Tensor) -> Tensor:
        if not self.layers:
            return self.encoder.tokens(x)[:, :, None]
        return torch.stack(layers_of(self.encoder, x), dim=2)


class TagProbe:
    """Read words by logistic regression on the frozen features of their first tokens.

    Args:
        known: the sentences.
        encoder: makes the encoder.
        layers: whether a learnt sum of all layers is read, instead of the last.
    """

    def __init__(
        self, known: TagMaterial, encoder: Callable[[], Encoder], layers: bool = False
    ) -> None:
        self.known, self._encoder, self.layers = known, encoder, layers
        self._last: tuple[bytes, layered.Layered] | None = None

    @cached_property
    def tokens(self) -> nn.Module:
        """Return what gives features; made when first asked for."""
        return _Tokens(self._encoder(), self.layers)

    @cached_property
    def checked(self) -> NDArray[np.float32]:
        """Return features of the validation part, (V, L, D)."""
        return self.known.train.at_words(self.tokens, self.known.validation)

    @cached_property
    def asked(self) -> NDArray[np.float32]:
        """Return features of the test part, (M, L, D)."""
        return self.known.test.at_words(self.tokens)

    def fitted(self, rows: NDArray[np.int64]) -> layered.Layered:
        """Return the reading of some labelled sentences."""
        if self._last is None or self._last[0] != rows.tobytes():
            known = self.known
            x = known.train.at_words(self.tokens, rows)
            y = known.tags_of(rows)
            found = layered.fit(x, y, len(known.classes), self.checked, known.expected)
            self._last = rows.tobytes(), found
        return self._last[1]

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Read labelled sentences."""
        found = self.fitted(rows)
        choices: dict[str, Any] = {"l2": found.penalty}
        if self.layers:
            choices["layers"] = [round(float(share), 3) for share in found.mix]
        return Outcome(found.predict(self.checked), found.predict(self.asked), choices)


class TrainedTags(Trained):
    """A network is trained on tagged sentences; rate and length are chosen on validation.

    Args:
        known: the sentences.
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
        logits = known.train.at_words(model, known.validation)
        return logits.argmax(1), layered.gain(logits, known.expected)

    def _tested(self, model: nn.Module, rows: NDArray[np.int64]) -> Answer:
        return self.tagged.test.at_words(model).argmax(1), None
