"""Features turned so that every direction varies equally over the pool, without labels.

Su et al. 2021, arXiv:2103.15316, equations 4 to 9: ``(x - mean) U S^-1/2`` with U and S of the
covariance of the pool's features. Features of language models lie in a narrow cone, where cosines
say little; turned, they compare. It is fitted on what was pre-trained on, never on what is scored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import UsageError
from unlabeled.kinds import strings
from unlabeled.transfer.features import features

if TYPE_CHECKING:
    from unlabeled.runs import Run

FILE = "whitening.safetensors"
MOST = 4096
"""Documents of the pool whose features are looked at."""
LEAST = 1e-6
"""Directions with less than this share of the largest variance are left out."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Whitening:
    """A linear map of features.

    Args:
        mean: (D,) of the pool.
        matrix: (D, K), the direction that varies most first.
    """

    mean: Floats
    matrix: Floats

    @classmethod
    def fit(cls, pool: Floats) -> Whitening:
        """Fit on the features of a pool, (N, D).

        Raises:
            UsageError: there are too few.
        """
        if len(pool) < 2:
            raise UsageError("Whitening needs the features of at least two documents of the pool.")
        mean = pool.mean(0, dtype=np.float64)
        centred = pool - mean
        values, vectors = np.linalg.eigh(centred.T @ centred / (len(pool) - 1))
        values, vectors = values[::-1], vectors[:, ::-1]
        # Of N documents no more than N - 1 directions are known.
        kept = (values > LEAST * values[0]) & (np.arange(len(values)) < len(pool) - 1)
        matrix = vectors[:, kept] / np.sqrt(values[kept])
        return cls(mean.astype(np.float32), matrix.astype(np.float32))

    def __call__(self, x: Floats) -> Floats:
        """Return whitened features, (N, D) -> (N, K)."""
        return np.asarray((x - self.mean) @ self.matrix, np.float32)

    @property
    def bias(self) -> Floats:
        """Return what a linear layer with this matrix adds, (K,)."""
        return np.asarray(-(self.mean @ self.matrix), np.float32)


def of_run(run: Run) -> Whitening:
    """Return the whitening of a run of text, fitted once and kept in its folder.

    Raises:
        UsageError: it is no run of text.
    """
    from safetensors.numpy import load_file, save_file

    if not strings(run.config.data.kind):
        raise UsageError(
            f"Whitening is for features of text, and {run.folder} is a run of "
            f"{run.config.data.kind}. Leave --whiten out."
        )
    path = run.folder / FILE
    if path.is_file():
        return Whitening(**load_file(path))
    text: Any = run.modality()
    pool = features(run.encoder(), text, pool_texts(run, text), length=text.config.length)
    found = Whitening.fit(pool)
    parts = {"mean": found.mean, "matrix": np.ascontiguousarray(found.matrix)}
    save_file(parts, path)
    return found


def pool_texts(run: Run, text: Any) -> list[str]:
    """Return documents that were trained on, spread over all of them; rows where those are few."""
    rows = run.rows("train")
    if len(rows.starts) >= 64:
        chosen = np.unique(np.linspace(0, len(rows.starts) - 1, MOST).astype(int))
        ends = np.append(rows.starts[1:], rows.num_tokens)
        pieces = [rows.ids[rows.starts[i] : ends[i]] for i in chosen]
    else:
        chosen = np.unique(np.linspace(0, len(rows) - 1, MOST).astype(int))
        pieces = [rows.payload(int(i))[0] for i in chosen]
    found = [text.decode(piece) for piece in pieces]
    return [one for one in found if one.strip()]
