"""How alike samples are by their features: cosines in spaces that the unlabelled pool shapes.

Three ways are compared: the features as they are, each dimension standardised, and all directions
made equal (Su et al., 2021, arXiv:2103.15316). Mean, deviation and covariance are those of the
pre-training pool; no label and no tested sample shapes a space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from unlabeled import kinds
from unlabeled.transfer.features import Inputs, of_inputs
from unlabeled.transfer.probe import Scaler
from unlabeled.transfer.whitening import Whitening

if TYPE_CHECKING:
    from unlabeled.runs import Run

WAYS = ("cosine", "standardised", "whitened")
DEFAULT = "cosine"
"""Used where no labelled sample is left to choose by."""
OURS = "features"
SLOW = ("codes",)
DECIMALS = 9
"""Cosines that agree so far are equal: products of equal rows differ in their last bits."""

Floats = NDArray[np.float64]


def described(
    run: Run, pool: Inputs, *asked: Inputs, slow: Sequence[str] = SLOW
) -> dict[str, list[Any]]:
    """Return features of the encoder, of the untrained network, and those that are plain.

    Args:
        run: whose encoder.
        pool: samples that pre-training saw.
        asked: parts that are asked about.
        slow: plain features that are left out.

    Returns:
        By name: of the pool and of each part, (N, D) arrays or sparse matrices (of words).
    """
    found: dict[str, list[Any]] = {}
    for name, encoder in (
        (OURS, run.encoder()),
        ("untrained", run.untrained(run.config.loop.seed)),
    ):
        found[name] = [of_inputs(encoder, part) for part in (pool, *asked)]
    kind = run.config.data.kind
    seen: Any = pool.texts if kinds.strings(kind) else pool
    makers = [kinds.part(kind, "baselines")(pool, part, seen) for part in asked]
    for name in (name for name in makers[0] if name not in slow):
        made = [maker[name]() for maker in makers]
        found[name] = [made[0].train, *(plain.test for plain in made)]
    return found


def spaces(pool: Any) -> dict[str, Callable[[Any], Any]]:
    """Return the ways to make rows of length 1 of features, shaped by those of the pool."""
    if not isinstance(pool, np.ndarray):
        return {"cosine": unit}
    scaler, white = Scaler.fit(pool), Whitening.fit(pool)
    makers: tuple[Callable[[Any], Any], ...] = (lambda x: x, scaler, white)
    return {way: _then_unit(make) for way, make in zip(WAYS, makers, strict=True)}


def _then_unit(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: unit(make(x))


def unit(x: Any) -> Any:
    """Return rows of length 1, (N, D); rows of zeros stay."""
    if isinstance(x, np.ndarray):
        rows = x.astype(np.float64)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    from sklearn.preprocessing import normalize

    return normalize(x.astype(np.float64))


def cosines(x: Any, y: Any) -> Floats:
    """Return cosines of rows of length 1, (N, D), (M, D) -> (N, M)."""
    with threadpool_limits(1):
        found = x @ y.T
    dense = found if isinstance(found, np.ndarray) else found.toarray()
    return np.asarray(np.round(dense, DECIMALS))


def paired(x: Any, y: Any) -> Floats:
    """Return the cosine of each row with the other's at its place, (N, D), (N, D) -> (N,)."""
    found = (x * y).sum(1) if isinstance(x, np.ndarray) else x.multiply(y).sum(1)
    return np.round(np.asarray(found, np.float64).ravel(), DECIMALS)


def best(gained: Mapping[tuple[str, str], float]) -> dict[str, str]:
    """Return for each kind of features the way that gained most; without figures `DEFAULT`.

    Args:
        gained: by features and way; NaN where nothing could be measured.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(name for name, _ in gained):
        ways = {way: gain for (one, way), gain in gained.items() if one == name}
        usual = DEFAULT if DEFAULT in ways else next(iter(ways))
        known = {way: gain for way, gain in ways.items() if not np.isnan(gain)}
        found[name] = max(known, key=lambda way: (known[way], way == usual)) if known else usual
    return found
