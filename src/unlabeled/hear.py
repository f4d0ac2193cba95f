"""A short look at recordings, from which defaults are chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unlabeled.config import AudioConfig
from unlabeled.data.find import Source
from unlabeled.errors import DataError
from unlabeled.look import Look
from unlabeled.modalities import sound
from unlabeled.modalities.audio import Audio

NARROW = AudioConfig(rate=8_000, mels=40, trim=sound.SOFT_ENDS)
"""How frames of recordings of telephones are read: above 4 kHz they hold nothing."""


def recordings(source: Source, places: list[int]) -> Look:
    """Measure recordings.

    Raises:
        DataError: none of them can be read.
    """
    wide, narrow = Audio(AudioConfig(trim=sound.SOFT_ENDS)), Audio(NARROW)
    lengths, trimmed, rates, values, few, reasons = [], [], [], [], [], []
    for place in places:
        try:
            payload = source.payload(place)
            heard = sound.read(payload)
            frames, short = wide.read(payload), narrow.read(payload)
        except DataError as error:
            reasons.append(str(error))
            continue
        rates.append(heard.own_rate)
        lengths.append(len(heard.samples) / heard.rate)
        trimmed.append(len(wide.heard(payload)) / wide.config.rate)
        values.append(np.asarray(frames, np.float64))
        few.append(np.asarray(short, np.float64))
    if not lengths:
        raise DataError(f"None of {len(places)} recordings could be read. First: {reasons[0]}")
    every = np.concatenate(values)
    total = float(np.mean(lengths)) * len(source)
    words = (
        f"{len(source):,} recordings of {min(lengths):.2f}-{max(lengths):.2f} s, "
        f"about {total / 60:,.0f} minutes, {_span(rates)} Hz"
    )
    return Look(
        "audio", len(source), words, int(np.median(rates)), channels=1,
        mean=[round(float(every.mean()), 4)], std=[round(float(every.std()), 4)],
        seconds=round(float(np.quantile(trimmed, 0.95)), 2), details=_narrow(few),
    )  # fmt: skip


def _span(rates: list[int]) -> str:
    """Return the rate of all, or the lowest and the highest, in words."""
    low, high = min(rates), max(rates)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _narrow(values: list[NDArray[np.float64]]) -> tuple[float, float]:
    """Return mean and deviation of log-mel values up to 4 kHz."""
    every = np.concatenate(values)
    return round(float(every.mean()), 4), round(float(every.std()), 4)
