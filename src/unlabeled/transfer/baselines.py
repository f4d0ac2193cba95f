"""Plain features that need no pre-trained network: what an encoder has to beat.

All are fitted on unlabelled samples only, those that pre-training saw.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer.features import Inputs
from unlabeled.transfer.probe import DEFAULT_PENALTY, folds

COMPONENTS = 128
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
_RAWS = 512


@dataclass(frozen=True)
class Plain:
    """A baseline's features of the labelled samples and of the test samples.

    Args:
        train: (N, D), dense or a scipy sparse matrix.
        test: (M, D).
        whiten: whether each dimension is standardised (else only the whole is scaled).
    """

    train: Any
    test: Any
    whiten: bool = False


def for_text(train: Inputs, test: Inputs, pool: Sequence[str]) -> dict[str, Callable[[], Plain]]:
    """Return the baselines of text: TF-IDF of words and pairs of words, and LSA of it."""

    @cache
    def weights() -> tuple[Any, Any, Any]:
        return _tfidf(train.texts, test.texts, pool)

    return {"tfidf": lambda: Plain(*weights()[:2]), "lsa": lambda: _lsa(*weights())}


def described(inputs: Inputs) -> dict[str, NDArray[np.float32]]:
    """Return the plain features that a modality has, name -> (N, D)."""
    parts = [
        inputs.modality.plain_features(inputs.raws(range(start, min(start + _RAWS, len(inputs)))))
        for start in range(0, len(inputs), _RAWS)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def of_modality(
    train: Inputs, test: Inputs, names: Sequence[str]
) -> dict[str, Callable[[], Plain]]:
    """Return the plain features that a modality has, described once for all names."""

    @cache
    def both() -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        return described(train), described(test)

    def plain(name: str) -> Plain:
        seen, asked = both()
        return Plain(seen[name], asked[name], whiten=True)

    return {name: partial(plain, name) for name in names}


def principal(
    flat: Callable[[Inputs], NDArray[np.float32]], train: Inputs, test: Inputs, pool: Inputs
) -> Plain:
    """Return the main directions of the pool, found with `flat`: samples -> (N, D)."""
    from sklearn.decomposition import PCA

    seen = flat(pool)
    width = min(COMPONENTS, *seen.shape)
    fitted = PCA(width, svd_solver="randomized", random_state=0).fit(seen)
    return Plain(
        fitted.transform(flat(train)).astype(np.float32),
        fitted.transform(flat(test)).astype(np.float32),
    )


def _tfidf(train: Sequence[str], test: Sequence[str], pool: Sequence[str]) -> tuple[Any, Any, Any]:
    """Return TF-IDF of the labelled, the test and the unlabelled documents."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=2 if len(pool) > 50 else 1,
        max_features=50_000,
        dtype=np.float32,
    )
    seen = vectorizer.fit_transform(pool)
    return vectorizer.transform(train), vectorizer.transform(test), seen


def _lsa(train: Any, test: Any, pool: Any) -> Plain:
    from sklearn.decomposition import TruncatedSVD

    width = min(COMPONENTS, min(pool.shape) - 1)
    fitted = TruncatedSVD(width, random_state=0).fit(pool)

    def reduce(x: Any) -> NDArray[np.float32]:
        found = fitted.transform(x).astype(np.float32)
        length = np.linalg.norm(found, axis=1, keepdims=True)
        unit: NDArray[np.float32] = found / np.maximum(length, 1e-12)
        return unit

    return Plain(reduce(train), reduce(test))


def fit_sparse(x: Any, y: NDArray[np.int64], seed: int) -> tuple[Any, float]:
    """Fit logistic regression on sparse features, the penalty chosen by cross-validation.

    Args:
        x: (N, D) sparse.
        y: (N,) classes.
        seed: of the folds.

    Returns:
        The fitted model and its penalty.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged is judged by validation, like the rest
        gained = [0] * len(PENALTIES)
        left_out = folds(y, seed)
        for rows in left_out:
            for i, penalty in enumerate(PENALTIES):
                model = _logistic(penalty).fit(x[~rows], y[~rows])
                gained[i] += int((model.predict(x[rows]) == y[rows]).sum())
        best = PENALTIES[int(np.argmax(gained))] if left_out else DEFAULT_PENALTY
        return _logistic(best).fit(x, y), best


def _logistic(penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1 / penalty, max_iter=300)
