"""Features of samples from a frozen encoder, and the samples as an encoder takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from unlabeled.types import PLAIN, View

RAW_BYTES = 1_500_000_000
"""Decoded samples kept in memory; beyond that they are read again."""


class Readable(Protocol):
    """A source of encoded samples."""

    def __len__(self) -> int:
        """Return how many samples there are."""

    def name(self, index: int) -> str:
        """Return the printable name of a sample."""

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the encoded sample."""


class Inputs:
    """Samples as an encoder takes them: whole and undistorted, or as views.

    Unreadable samples are left out; `indices` says which were kept and `bad` why others were not.

    Args:
        source: the samples.
        indices: (N,) which of them.
        modality: how they are read.
        length: tokens a document is cut to (text only).
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
            self._plain = encode_documents(modality, self.texts, length)[None]
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
        cuts = self._plain[:, torch.as_tensor(rows) if not isinstance(rows, slice) else rows]
        if strings(self.modality.name):
            return trim(cuts[0])
        return self.modality.distort(cuts, PLAIN, torch.zeros(cuts.shape[1], dtype=torch.int64))[0]

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


def encode_documents(modality: Modality, texts: Sequence[str], length: int) -> Tensor:
    """Return token rows of documents, (N, 2, T): ids, and which document a place belongs to.

    Rows are padded to the longest; -1 in place of the document says so.
    """
    encode = modality.encode_documents  # type: ignore[attr-defined]
    parts = [encode(list(texts[i : i + 1024]), length) for i in range(0, len(texts), 1024)]
    width = max((part.shape[2] for part in parts), default=1)
    pad = int(getattr(modality, "pad_id", 0) or 0)
    rows = torch.full((len(texts), 2, width), -1, dtype=torch.int64)
    rows[:, 0] = pad
    for number, part in enumerate(parts):
        rows[1024 * number : 1024 * number + len(part), :, : part.shape[2]] = part
    return rows


def trim(rows: Tensor) -> Tensor:
    """Drop the places at which every document is padded, (B, 2, T) -> (B, 2, <= T)."""
    used = (rows[:, 1] >= 0).any(dim=0).nonzero()
    return rows[:, :, : int(used.max()) + 1] if len(used) else rows[:, :, :1]


class Payloads:
    """Encoded samples in memory as a source."""

    def __init__(self, payloads: Sequence[Any]) -> None:
        self.payloads = payloads

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.payloads)

    def name(self, index: int) -> str:
        """Return the number of a sample."""
        return f"#{index}"

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return the encoded sample."""
        return self.payloads[index]


def features(
    encoder: nn.Module,
    modality: Modality,
    payloads: Sequence[Any],
    batch_size: int = 256,
    length: int = 128,
) -> NDArray[np.float32]:
    """Return the features of encoded samples in fp32.

    Args:
        encoder: raw view -> feature (B, D); its mode and place are restored.
        modality: how samples are read.
        payloads: N encoded images (bytes) or documents (str).
        batch_size: samples at once.
        length: tokens a document is cut to.

    Returns:
        (N, D).

    Raises:
        DataError: a sample cannot be read.
    """
    inputs = Inputs(Payloads(payloads), range(len(payloads)), modality, length)
    if inputs.bad:
        raise DataError(f"Sample {inputs.bad[0][0]} cannot be read: {inputs.bad[0][1]}")
    return of_inputs(encoder, inputs, batch_size, precision="fp32")


def best_precision() -> str:
    """Return ``bf16`` where the hardware has fast units for it."""
    return "bf16" if fast_bf16() else "fp32"


def of_inputs(
    encoder: nn.Module, inputs: Inputs, batch_size: int = 256, precision: str | None = None
) -> NDArray[np.float32]:
    """Return the features of `inputs`, (N, D)."""
    keep_memory()
    where = device()
    was_training = encoder.training
    encoder.to(where).eval()
    parts = []
    with torch.inference_mode(), autocast(precision or best_precision(), where):
        for start in range(0, len(inputs), batch_size):
            x = inputs.plain(slice(start, start + batch_size)).to(where)
            parts.append(encoder(x).float().cpu().numpy())
    encoder.train(was_training)
    found = np.concatenate(parts) if parts else np.zeros((0, 1), dtype=np.float32)
    if not np.isfinite(found).all():
        raise DataError("The encoder gives features that are not finite. Was its run healthy?")
    return found.astype(np.float32)
