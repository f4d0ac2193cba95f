"""Features of an encoder joined with plain ones: what each knows that the other does not.

Every block is scaled to rows of length 1 on average before they are put side by side, so that
neither drowns the other and one grid of penalties fits all (see `probe.Scaler`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer.baselines import Plain
from unlabeled.transfer.material import Known
from unlabeled.transfer.readings import Frozen, Outcome, validated


def beside(ours: Frozen, plain: Frozen) -> Plain:
    """Return both blocks side by side, sparse where the plain one is.

    Args:
        ours: dense features.
        plain: dense features, or sparse ones whose rows have length 1 already.

    Returns:
        (N, D + P) of the labelled and (M, D + P) of the test samples; not to be whitened, which
        would undo that small components of `plain` stay small.
    """
    if isinstance(plain.features.train, np.ndarray):
        both = [np.hstack(pair) for pair in zip(ours.scaled, plain.scaled, strict=True)]
        return Plain(both[0], both[1])
    from scipy.sparse import csr_matrix, hstack

    there = (plain.features.train, plain.features.test)
    pairs = zip(ours.scaled, there, strict=True)
    sparse: list[Any] = [hstack([csr_matrix(a), b], format="csr") for a, b in pairs]
    return Plain(sparse[0], sparse[1])


class Joined:
    """Reads an encoder's features joined with those plain ones that validate best.

    Args:
        known: the samples.
        ours: features of the encoder.
        plain: name -> plain features of this kind of data, at least one.
    """

    def __init__(self, known: Known, ours: Frozen, plain: Mapping[str, Frozen]) -> None:
        self.known = known
        self.pairs = {
            name: Frozen(known, partial(beside, ours, other)) for name, other in plain.items()
        }

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Read by logistic or ridge regression; the validation part says joined with what."""
        found = {name: both.probe(rows, count, draw) for name, both in self.pairs.items()}
        best = max(found, key=lambda name: validated(self.known, found[name].validation))
        return replace(found[best], choices={**found[best].choices, "with": best})
