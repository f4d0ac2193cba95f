"""Features of samples that several studies of one run share, each computed once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import nn

from unlabeled.transfer.features import Inputs, of_inputs


class Remembered:
    """Features by encoder, source and sample.

    Attributes:
        computed: how many samples went through each encoder.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[int, NDArray[np.float32]]] = {}
        self.computed: dict[str, int] = {}

    def of(
        self, name: str, encoder: Callable[[], nn.Module], inputs: Inputs
    ) -> NDArray[np.float32]:
        """Return the features of samples, (N, D); those that are not known are computed.

        Args:
            name: of the encoder, the same for the same weights.
            encoder: makes it, where a sample is not known yet.
            inputs: the samples.
        """
        source = str(getattr(inputs.source, "fingerprint", id(inputs.source)))
        known = self._known.setdefault((name, source), {})
        lacking = np.array(
            [row for row, index in enumerate(inputs.indices) if int(index) not in known], np.int64
        )
        if len(lacking):
            found = of_inputs(encoder(), inputs, rows=lacking)
            known.update(zip(inputs.indices[lacking].tolist(), found, strict=True))
            self.computed[name] = self.computed.get(name, 0) + len(lacking)
        return np.stack([known[int(index)] for index in inputs.indices])
