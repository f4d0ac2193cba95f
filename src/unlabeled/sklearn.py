"""A scikit-learn transformer: raw images or texts in, features out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from unlabeled import items

if TYPE_CHECKING:
    from unlabeled.api import Encoder


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
        options: as of `unlabeled.pretrain`, such as ``{"optim.lr": 1e-3}``.
        prefit: whether clones keep what was fitted.
        run_folder: where to keep the run; a temporary folder, removed after fitting, if None.

    Attributes:
        encoder_: the `unlabeled.Encoder`.
        files_: what `Encoder.save_pretrained` writes, name -> content; pickled with the step.
        n_features_out_: D, width of a feature.
    """

    def __init__(
        self,
        method: str | None = None,
        time: str | float | None = None,
        steps: int | None = None,
        seed: int = 0,
        options: dict[str, Any] | None = None,
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
        if hasattr(self, "files_"):
            return self
        from unlabeled.api import pretrain

        with tempfile.TemporaryDirectory(prefix="unlabeled-") as folder:
            self._encoder = pretrain(
                items.write_samples(X, Path(folder)),
                self.method,
                self.time,
                self.steps,
                out=Path(folder) / "run" if self.run_folder is None else self.run_folder,
                kind=items.kind_of(X),
                seed=self.seed,
                quiet=True,
                options=self.options,
            )
            self._encoder.save_pretrained(Path(folder) / "kept")
            self.files_ = _read(Path(folder) / "kept")
        self.n_features_out_ = self._encoder.dim
        return self

    @property
    def encoder_(self) -> Encoder:
        """Return the fitted encoder; absent before `fit`."""
        if not hasattr(self, "files_"):
            raise AttributeError("encoder_ exists after fit")
        if not hasattr(self, "_encoder"):
            from unlabeled.api import Encoder

            with tempfile.TemporaryDirectory(prefix="unlabeled-") as folder:
                for name, content in self.files_.items():
                    (Path(folder) / name).write_bytes(content)
                self._encoder = Encoder.from_pretrained(folder)
        return self._encoder

    def transform(self, X: Sequence[Any] | NDArray[Any]) -> NDArray[np.float32]:  # noqa: N803
        """Return features (n, D).

        Raises:
            NotFittedError: `fit` was not called.
        """
        check_is_fitted(self, "files_")
        return self.encoder_.encode(X)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[Any]:
        """Return a name for each column of the features."""
        check_is_fitted(self, "files_")
        return np.array([f"feature{i}" for i in range(self.n_features_out_)], dtype=object)

    def __getstate__(self) -> dict[str, Any]:
        """Keep the files of the encoder, not the module: they hold no code."""
        return {k: v for k, v in super().__getstate__().items() if k != "_encoder"}

    def __sklearn_clone__(self) -> SSLEncoder:
        if self.prefit and hasattr(self, "files_"):
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


def _read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
