"""Features of tagged items: of a frozen network, plain ones, or both side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.transfer.hidden import layers_of

if TYPE_CHECKING:
    from unlabeled.transfer.tagging import TagMaterial

Values = NDArray[np.float32]


class Features(Protocol):
    """Features of items, (W, L, D) each; L is 1 unless several layers are read."""

    def train(self, chosen: NDArray[np.int64]) -> Values:
        """Return those of the items of some labelled sentences, recordings or episodes."""

    @property
    def checked(self) -> Values:
        """Return those of the validation part."""

    @property
    def asked(self) -> Values:
        """Return those of the test part."""

    @property
    def sizes(self) -> NDArray[np.float32] | None:
        """Return by how much each of the D shall weigh after scaling, (D,); None: all alike."""


class _Tokens(nn.Module):
    """Rows -> tokens of the last layer, or of all, (B, T, L, D)."""

    def __init__(self, encoder: Encoder, layers: bool) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, layers

    def forward(self, x: Tensor) -> Tensor:
        if not self.layers:
            return self.encoder.tokens(x)[:, :, None]
        return torch.stack(layers_of(self.encoder, x), dim=2)


class NetFeatures:
    """Tokens of a frozen encoder.

    Args:
        known: what is labelled.
        encoder: makes the encoder.
        layers: whether all layers are given, instead of the last.
    """

    sizes = None

    def __init__(
        self, known: TagMaterial, encoder: Callable[[], Encoder], layers: bool = False
    ) -> None:
        self.known, self._encoder, self.layers = known, encoder, layers

    @cached_property
    def tokens(self) -> nn.Module:
        """Return what gives features; made when first asked for."""
        return _Tokens(self._encoder(), self.layers)

    @cached_property
    def _every(self) -> Values:
        return self.known.train.at_items(self.tokens)

    def train(self, chosen: NDArray[np.int64]) -> Values:
        """Return features of some of what is labelled; kept where `known` says so."""
        if self.known.keep:
            return self._every[self.known.train.items_of(chosen)]
        return self.known.train.at_items(self.tokens, chosen)

    @cached_property
    def checked(self) -> Values:
        """Return features of the validation part, (V, L, D)."""
        return self.train(self.known.validation)

    @cached_property
    def asked(self) -> Values:
        """Return features of the test part, (M, L, D)."""
        return self.known.test.at_items(self.tokens)


class Beside:
    """Two kinds of features side by side, both of the same weight whatever their widths.

    Args:
        one: of one layer.
        other: of one layer.
    """

    def __init__(self, one: Features, other: Features) -> None:
        self.one, self.other = one, other

    @property
    def sizes(self) -> NDArray[np.float32]:
        """Return the square root of the share of each: rows of both have length about 1 then."""
        widths = [part.checked.shape[2] for part in (self.one, self.other)]
        found = [np.full(width, np.sqrt(sum(widths) / width)) for width in widths]
        return np.concatenate(found).astype(np.float32)

    def train(self, chosen: NDArray[np.int64]) -> Values:
        """Return features of some of what is labelled."""
        return np.concatenate([self.one.train(chosen), self.other.train(chosen)], axis=2)

    @cached_property
    def checked(self) -> Values:
        """Return features of the validation part."""
        return np.concatenate([self.one.checked, self.other.checked], axis=2)

    @cached_property
    def asked(self) -> Values:
        """Return features of the test part."""
        return np.concatenate([self.one.asked, self.other.asked], axis=2)
