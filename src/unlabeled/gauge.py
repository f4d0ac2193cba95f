"""A short look at logs, from which defaults are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.find import Source
from unlabeled.data.groups import groups_of
from unlabeled.data.split import by_name, digests_of, is_held_out
from unlabeled.errors import DataError, UsageError, nearest
from unlabeled.look import Look
from unlabeled.modalities.roles import channels
from unlabeled.modalities.stretch import Values

_CONSTANT = 1e-6
"""Deviation, relative to the size of the values, below which a channel is constant."""


@dataclass(frozen=True)
class Measured:
    """Stretches of a sample of logs.

    Args:
        names: of all columns of numbers.
        hashes: (N, 2) by which a split decides.
        values: N arrays (T, C) of all those columns.
        places: (N,) which samples of the source they are of.
    """

    names: Sequence[str]
    hashes: NDArray[np.int64]
    values: Sequence[Values]
    places: Sequence[int] = ()

    def grouped(self, source: Source, path: str, group: str) -> Measured:
        """Return the same where a split goes by the groups that a person names."""
        names = groups_of(source, path, group)[np.asarray(self.places, np.int64)]
        return replace(self, hashes=by_name(names, self.hashes))

    @property
    def observations(self) -> tuple[str, ...]:
        """Return the columns of what was measured."""
        return channels(self.names)[0]

    @property
    def actions(self) -> tuple[str, ...]:
        """Return the columns of what was done."""
        return channels(self.names)[1]

    def over_pool(
        self, names: Sequence[str], share: float, seed: int
    ) -> Mapping[str, NDArray[np.float64]]:
        """Return mean, deviation and deviation of the change, (C,) each, over the pool alone.

        A constant channel has a deviation of 1: normalised, it is 0 and stays so.

        Args:
            names: which columns.
            share: that the split holds out.
            seed: of the split.

        Raises:
            UsageError: a column is not there.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            raise UsageError(
                f"There is no column '{missing[0]}'.{nearest(missing[0], self.names)} "
                f"Columns of numbers: {', '.join(self.names)}."
            )
        places = [self.names.index(name) for name in names]
        out = is_held_out(self.hashes, share, seed)
        kept = [v[:, places] for v, left in zip(self.values, out, strict=True) if not left]
        kept = kept or [v[:, places] for v in self.values]
        mean, std = _moments(np.concatenate(kept))
        _, change = _moments(np.concatenate([np.diff(v, axis=0) for v in kept]))
        still = std <= _CONSTANT * np.maximum(1, np.abs(mean))
        std = np.where(still, 1.0, std)
        return {
            "mean": mean,
            "std": std,
            "change": np.where(still | (change <= _CONSTANT * std), std, change),
        }


def _moments(x: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation over what is there; 0 and 0 for a channel of which nothing is."""
    there = ~np.isnan(x)
    count = np.maximum(there.sum(0), 1)
    mean = np.where(there, x, 0).sum(0, dtype=np.float64) / count
    square = np.where(there, np.square(x - mean), 0).sum(0, dtype=np.float64) / count
    return mean, np.sqrt(square)


def logs(source: Source, places: list[int]) -> Look:
    """Measure logs.

    Raises:
        DataError: none of them can be read.
    """
    names: Sequence[str] = ()
    values, kept, reasons = [], [], []
    for place in places:
        try:
            payload = source.payload(place)
            names = names or tuple(n for part in channels(payload.log.names) for n in part)
            values.append(payload.read(names))
            kept.append(place)
        except DataError as error:
            reasons.append(str(error))
    if not values:
        raise DataError(f"None of {len(places)} logs could be read. First: {reasons[0]}")
    lengths = [len(v) for v in values]
    measured = Measured(names, digests_of(source, kept), values, kept)
    episodes = len(np.unique(getattr(source, "groups", np.arange(len(source)))))
    cut = "" if episodes == len(source) else f" cut from {episodes:,}"
    words = (
        f"{len(source):,} logs{cut} of {min(lengths):,}-{max(lengths):,} steps: "
        f"{len(measured.observations)} observations, {len(measured.actions)} actions"
    )
    return Look(
        "series", len(source), words, int(np.quantile(lengths, 0.95, method="higher")),
        details=measured,
    )  # fmt: skip
