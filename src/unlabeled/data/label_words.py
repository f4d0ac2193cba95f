"""Words of a column of labels: as they are compared, which say nothing, and which contradict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import UsageError

_MEASURED = re.compile(r"-?\d*\.\d+(e-?\d+)?|-\d+")
_UNKNOWN = frozenset({"", "-1", "none", "null", "nan"})


def known_words(words: Sequence[str]) -> NDArray[np.bool_]:
    """Return which words say something; -1 does among fractions and other negative numbers."""
    numbers = any(_MEASURED.fullmatch(word) and word != "-1" for word in words)
    unknown = _UNKNOWN - {"-1"} if numbers else _UNKNOWN
    return np.array([word.lower() not in unknown for word in words], dtype=bool)


def word_of(value: Any) -> str:
    """Return a cell as a word: whole numbers without a fraction, several with bars between."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list | tuple | np.ndarray):
        return "|".join(word_of(part) for part in value)
    return "" if value is None else str(value).strip()


def in_order(words: Iterable[str]) -> list[str]:
    """Sort class names, numbers by value."""
    unique = sorted(set(words))
    if all(word.lstrip("-").isdecimal() for word in unique):
        return sorted(unique, key=int)
    return unique


def once(
    indices: NDArray[np.int64],
    y: NDArray[np.int64],
    classes: Sequence[str],
    where: str,
    name: Callable[[int], str],
) -> NDArray[np.int64]:
    """Return rows in order of their sample, each sample once.

    Args:
        indices: (N,) of the samples.
        y: (N,) their classes.
        classes: names.
        where: what was read, for the sentence.
        name: of a sample, by its index.

    Raises:
        UsageError: a sample has two different labels.
    """
    order = np.argsort(indices, kind="stable")
    same = indices[order][1:] == indices[order][:-1]
    clash = same & (y[order][1:] != y[order][:-1])
    if clash.any():
        row = int(np.flatnonzero(clash)[0])
        a, b = classes[int(y[order[row]])], classes[int(y[order[row + 1]])]
        raise UsageError(
            f"{where}: {int(clash.sum())} samples have two different labels (first: "
            f"{name(int(indices[order[row]]))}, '{a}' and '{b}'). Give each sample one label."
        )
    kept: NDArray[np.int64] = order[np.concatenate([[True], ~same])]
    return kept
