"""Features of samples from a frozen encoder, and the samples as an encoder takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled import rng
from unlabeled.device import autocast, device, fast_bf16, keep_memory
from unlabeled.errors import DataError
from unlabeled.kinds import strings
from unlabeled.modalities.base import Modality
from unlabeled.nn import packing
from unlabeled.types import PLAIN, View

RAW_BYTES = 1_500_000_000
"""Decoded samples kept in memory; beyond that they are read again."""

PART = 1024
"""Samples that are in memory together where many are read once."""

BEGINS = 400
"""Characters of a document that are kept to be shown."""

MOST_PIXELS = 1 << 22
"""Pixels at once in batches of images: 256 of 128 x 128."""

MOST_TOKENS = 1 << 15
"""Tokens at once, padding included, in batches of texts."""


class Readable(Protocol):
    """A source of encoded samples."""

    def __len__(self) -> int:
        """Return how many samples there are."""

    def name(self, index: int) -> str:
        """Return the printable name of a sample."""

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the encoded sample."""


class Reader(Protocol):
    """An encoder and how data are read for it, such as `api.Encoder`."""

    network: Any
    modality: Any

    @property
    def length(self) -> int:
        """Return at how many tokens a text is cut."""


class Inputs:
    """Samples as an encoder takes them: whole and undistorted, or as views.

    Unreadable samples are left out; `indices` says which were kept and `bad` why others were not.

    Args:
        source: the samples.
        indices: (N,) which of them.
        modality: how they are read.
        length: tokens of a window (text only); the modality says of how many windows.
    """

    def __init__(
        self,
        source: Readable,
        indices: Sequence[int] | NDArray[np.int64],
        modality: Modality,
        length: int = 128,
    ) -> None:
        self.modality = modality
        self.bad: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.source = source
        self._raws: dict[int, Any] = {}
        self._room = RAW_BYTES
        kept: list[int] = []
        cuts: list[Tensor] = []
        for index in indices:
            try:
                raw = self._read(int(index))
                if not isinstance(raw, str):
                    cuts.append(modality.cut(raw, PLAIN, rng.generator(0)))
            except DataError as error:
                self.bad.append((source.name(int(index)), str(error)))
                continue
            kept.append(int(index))
        self.indices = np.array(kept, dtype=np.int64)
        if strings(modality.name):
            self.texts = [self._raws[index] for index in kept]
            self._windows = encode_documents(modality, self.texts, length)
        else:
            self._plain = torch.stack(cuts, dim=1) if cuts else torch.zeros(1, 0)

    def _read(self, index: int) -> Any:
        """Return a sample decoded; documents stay strings."""
        if index in self._raws:
            return self._raws[index]
        payload = self.source.payload(index)
        raw = payload if isinstance(payload, str) else self.modality.read(payload)
        self._room -= getattr(raw, "nbytes", 0)
        if self._room > 0:
            self._raws[index] = raw
        return raw

    def __len__(self) -> int:
        """Return N."""
        return len(self.indices)

    @property
    def cuts(self) -> Tensor:
        """Return the undistorted whole samples before normalisation, (N, ...)."""
        return self._plain[0]

    def raws(self, rows: Iterable[int]) -> list[Any]:
        """Return samples decoded."""
        return [self._read(int(self.indices[row])) for row in rows]

    def plain(self, rows: NDArray[np.int64] | slice) -> Tensor:
        """Return the undistorted inputs of an encoder, (B, ...)."""
        if strings(self.modality.name):
            places = range(len(self))[rows] if isinstance(rows, slice) else rows
            pad = int(getattr(self.modality, "pad_id", 0) or 0)
            return packing.pad([self._windows[place] for place in places], pad)
        cuts = self._plain[:, torch.as_tensor(rows) if not isinstance(rows, slice) else rows]
        return self.modality.distort(cuts, PLAIN, torch.zeros(cuts.shape[1], dtype=torch.int64))[0]

    def batches(self, size: int, rows: NDArray[np.int64] | None = None) -> list[NDArray[np.int64]]:
        """Share `rows` (all) out to batches of at most `size`; returns places among them.

        Texts of about one length come together, and not more than memory has room for; of large
        images fewer.
        """
        rows = np.arange(len(self)) if rows is None else rows
        order = np.arange(len(rows))
        if not strings(self.modality.name):
            if self._plain.ndim == 5:  # (1, N, C, H, W)
                size = max(1, min(size, MOST_PIXELS // int(np.prod(self._plain.shape[3:]))))
            return [order[start : start + size] for start in range(0, len(rows), size)]
        tokens = np.array([self._windows[row].shape[1] for row in rows], np.int64)
        found: list[NDArray[np.int64]] = []
        order = np.argsort(-tokens, kind="stable")
        start = 0
        while start < len(order):
            stop = start + max(1, min(size, MOST_TOKENS // int(tokens[order[start]])))
            found.append(order[start:stop])
            start = stop
        return found

    def view(self, rows: NDArray[np.int64], view: View, keys: NDArray[np.int64]) -> Tensor:
        """Return one random view of each sample, (B, ...); text has none and stays plain.

        Args:
            rows: (B,) which samples.
            view: what is shown of them; its count is 1.
            keys: (B,) what the randomness of each comes from.
        """
        if strings(self.modality.name):
            return self.plain(rows)
        cuts = [
            self.modality.cut(self._read(int(self.indices[row])), view, rng.generator(int(key)))
            for row, key in zip(rows, keys, strict=True)
        ]
        return self.modality.distort(torch.stack(cuts, dim=1), view, torch.from_numpy(keys))[0]


def said_bad(bad: Sequence[tuple[str, str]], what: str = "samples") -> list[str]:
    """Say how many samples cannot be read, and why the first cannot; nothing where all can.

    >>> said_bad([("a.png", "not an image"), ("b.png", "empty")])
    ['2 samples cannot be read (first: a.png: not an image).']
    """
    return [f"{len(bad)} {what} cannot be read (first: {': '.join(bad[0])})."] if bad else []


def parts_of(reader: Reader, source: Readable, chosen: NDArray[np.int64]) -> Iterator[Inputs]:
    """Yield samples of a source as an encoder takes them, some at a time."""
    for start in range(0, len(chosen), PART):
        yield Inputs(source, chosen[start : start + PART], reader.modality, reader.length)


@dataclass(frozen=True)
class Seen:
    """Features of the samples of a source that can be read.

    Args:
        indices: (N,) which they are.
        features: (N, D).
        begins: (N,) the beginning of each document; none for other kinds.
        bad: names of the others, and why they cannot be read.
    """

    indices: NDArray[np.int64]
    features: NDArray[np.float32]
    begins: list[str]
    bad: list[tuple[str, str]]


def see(reader: Reader, source: Readable, chosen: NDArray[np.int64]) -> Seen:
    """Look at some samples of a source through an encoder, or through public weights."""
    indices, found = [np.zeros(0, np.int64)], list[NDArray[np.float32]]()
    begins, bad = list[str](), list[tuple[str, str]]()
    own = getattr(reader.network, "of", None)  # public weights of text
    for inputs in parts_of(reader, source, chosen):
        bad += inputs.bad
        if len(inputs):
            indices.append(inputs.indices)
            found.append(of_inputs(reader.network, inputs) if own is None else own(inputs))
            begins += [text[:BEGINS] for text in inputs.texts]
    features = np.concatenate(found) if found else np.zeros((0, 1), np.float32)
    return Seen(np.concatenate(indices), features, begins, bad)


def encode_documents(modality: Any, texts: Sequence[str], length: int) -> list[Tensor]:
    """Return the windows of documents (see `Text.windows`), a part of the texts at a time."""
    parts = (modality.windows(texts[i : i + 1024], length) for i in range(0, len(texts), 1024))
    return list(chain.from_iterable(parts))


class Payloads:
    """Encoded samples in memory as a source; without names they are numbered."""

    def __init__(self, payloads: Sequence[Any], names: Sequence[str] | None = None) -> None:
        self.payloads, self.names = payloads, names

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.payloads)

    def name(self, index: int) -> str:
        """Return what a sample is called."""
        return f"sample {index}" if self.names is None else self.names[index]

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the encoded sample."""
        return self.payloads[index]


def features(
    encoder: nn.Module,
    modality: Modality,
    payloads: Sequence[Any],
    batch_size: int = 256,
    length: int = 128,
    names: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Return the features of encoded samples in fp32.

    Args:
        encoder: raw view -> feature (B, D); its mode and place are restored.
        modality: how samples are read.
        payloads: N encoded images (bytes) or documents (str).
        batch_size: samples at once.
        length: tokens of a window of a document.
        names: what the samples are called, for the sentence of one that cannot be read.

    Returns:
        (N, D).

    Raises:
        DataError: a sample cannot be read.
    """
    inputs = Inputs(Payloads(payloads, names), range(len(payloads)), modality, length)
    if inputs.bad:
        raise DataError(f"{inputs.bad[0][0]} cannot be read: {inputs.bad[0][1]}")
    return of_inputs(encoder, inputs, batch_size, precision="fp32")


def best_precision() -> str:
    """Return ``bf16`` where the hardware has fast units for it."""
    return "bf16" if fast_bf16() else "fp32"


def of_inputs(
    encoder: nn.Module,
    inputs: Inputs,
    batch_size: int = 256,
    precision: str | None = None,
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Return the features of `inputs`, (N, D), or of those `rows` of them.

    Raises:
        DataError: features are not finite.
    """
    keep_memory()
    found = outputs(encoder, inputs, batch_size, precision, rows)
    if not np.isfinite(found).all():
        raise DataError("The encoder gives features that are not finite. Was its run healthy?")
    return found


def outputs(
    network: nn.Module,
    inputs: Inputs,
    batch_size: int = 256,
    precision: str | None = None,
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Return what a network makes of whole samples, (N, ...) in their order.

    Args:
        network: of inputs (B, ...); its mode is restored.
        inputs: the samples.
        batch_size: samples at once.
        precision: ``fp32`` or ``bf16``; None is what is fast here.
        rows: (N,) which of them; None: all.
    """
    where, was_training = device(), network.training
    network.to(where).eval()
    asked = np.arange(len(inputs)) if rows is None else rows
    batches, parts = inputs.batches(batch_size, asked), []
    with torch.inference_mode(), autocast(precision or best_precision(), where):
        for places in batches:
            parts.append(network(inputs.plain(asked[places]).to(where)).float().cpu().numpy())
    network.train(was_training)
    if not parts:
        return np.zeros((0, 1), dtype=np.float32)
    found = np.concatenate(parts).astype(np.float32)
    found[np.concatenate(batches)] = found.copy()
    return found
