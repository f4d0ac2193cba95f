"""A scikit-learn transformer: raw images or texts in, features out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from unlabeled import items


class SSLEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Features learned without labels, as a step of a pipeline.

    `fit` pre-trains on all of X and ignores y. Once fitted it stays as it is: fitting a pipeline
    around it on the few labelled samples does not train it again. `sklearn.base.clone` gives an
    unfitted one; with ``prefit=True`` a clone is the fitted encoder itself, so that
    cross-validation does not pre-train in every fold.

    Args:
        method: pretext task; chosen from the data if None.
        time: how long to pre-train, such as ``"5m"``.
        steps: optimiser steps instead of a time.
        seed: of everything that is drawn.
        options: sections of options, such as ``{"optim": {"lr": 1e-3}}``.
        prefit: whether clones keep what was fitted.
        run_folder: where to keep the run; a temporary folder, removed after fitting, if None.

    Attributes:
        encoder_: the `unlabeled.Encoder`.
        n_features_out_: D, width of a feature.
    """

    def __init__(
        self,
        method: str | None = None,
        time: str | float | None = None,
        steps: int | None = None,
        seed: int = 0,
        options: dict[str, dict[str, Any]] | None = None,
        prefit: bool = False,
        run_folder: str | Path | None = None,
    ) -> None:
        self.method = method
        self.time = time
        self.steps = steps
        self.seed = seed
        self.options = options
        self.prefit = prefit
        self.run_folder = run_folder

    def fit(self, X: Sequence[Any] | NDArray[Any], y: object = None) -> SSLEncoder:  # noqa: N803
        """Pre-train on X, unless this was done before.

        Args:
            X: texts, or images: uint8 (n, H, W) or (n, H, W, C), or a list of images.
            y: ignored; labels cannot reach pre-training.
        """
        if hasattr(self, "encoder_"):
            return self
        from unlabeled.api import pretrain

        options: dict[str, Any] = dict(self.options or {})
        with tempfile.TemporaryDirectory(prefix="unlabeled-") as folder:
            self.encoder_ = pretrain(
                items.write_samples(X, Path(folder)),
                self.method,
                self.time,
                self.steps,
                out=Path(folder) / "run" if self.run_folder is None else self.run_folder,
                kind=items.kind_of(X),
                seed=self.seed,
                quiet=True,
                **options,
            )
        self.n_features_out_ = self.encoder_.dim
        return self

    def transform(self, X: Sequence[Any] | NDArray[Any]) -> NDArray[np.float32]:  # noqa: N803
        """Return features (n, D).

        Raises:
            NotFittedError: `fit` was not called.
        """
        check_is_fitted(self, "encoder_")
        return self.encoder_.encode(X)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[Any]:
        """Return a name for each column of the features."""
        check_is_fitted(self, "encoder_")
        return np.array([f"feature{i}" for i in range(self.n_features_out_)], dtype=object)

    def __sklearn_clone__(self) -> SSLEncoder:
        if self.prefit and hasattr(self, "encoder_"):
            return self
        return type(self)(**self.get_params(deep=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.requires_fit = True
        tags.non_deterministic = False
        return tags
