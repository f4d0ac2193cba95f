"""What a kind of data owns: reading, cutting, distorting, and its plain features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.types import View


class Modality:
    """One kind of data.

    The work on a sample is split where the hardware wants it: `read` and `cut` run per sample
    (in loader workers, numpy and Pillow), `distort` runs on the whole batch (on the device).
    Both draw from the sample's key alone.

    Attributes:
        name: the kind, one of `kinds.KINDS`.
        suffixes: endings of its files.
        num_examples: how many samples of the pool `keep` is given.
    """

    name: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    num_examples: ClassVar[int] = 0

    @classmethod
    def of_run(cls, config: Any, folder: Path) -> Modality:
        """Return the modality of a run.

        Args:
            config: the run's configuration (`config.RunConfig`).
            folder: the run folder, where a tokenizer or statistics may lie.
        """
        raise NotImplementedError

    @classmethod
    def of_folder(cls, settings: Mapping[str, Any], folder: Path) -> Modality:
        """Return the modality of an encoder that was saved apart from its run.

        Args:
            settings: the section ``modality`` of its configuration.
            folder: where it was saved.
        """
        raise NotImplementedError

    def read(self, payload: Any) -> Any:
        """Decode one item (bytes or str or token row) to its raw form.

        Raises:
            DataError: the item is damaged or refused; the sentence names the reason.
        """
        raise NotImplementedError

    def cut(self, raw: Any, view: View, rng: np.random.Generator) -> Tensor:
        """Cut `view.count` views out of a raw sample, (count, ...), all of one size."""
        raise NotImplementedError

    def distort(self, cuts: Tensor, view: View, keys: Tensor) -> Tensor:
        """Distort and normalise cuts, (count, B, ...) -> (count, B, ...); keys (B,) int64."""
        raise NotImplementedError

    def raw(self, x: Tensor) -> Tensor:
        """Return what each token of views contains, (B, ...) -> (B, N, P)."""
        raise NotImplementedError

    def plain_features(self, raws: Sequence[Any]) -> dict[str, NDArray[np.float32]]:
        """Return unsupervised baselines that need no training: name -> (N, D)."""
        raise NotImplementedError

    def keep(self, examples: Tensor) -> None:
        """Keep some of the pool beside the run, for methods to learn from before they start.

        Args:
            examples: (N, ...) undistorted samples as an encoder sees them, N <= `num_examples`.
        """

    def describe(self) -> dict[str, Any]:
        """Return what is needed to rebuild this modality (JSON)."""
        raise NotImplementedError
