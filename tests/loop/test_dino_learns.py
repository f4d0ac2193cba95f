"""DINO's healthy run, on handwritten digits.

Not on the drawn images of the other methods, where it stayed at ln K: two crops of one of these
share next to nothing (features of an untrained network, less their mean, correlate 0.05 between
large crops, 0.00 between a large and a small one). And digits have classes to judge by.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.loop import real_digits
from tests.loop.collapsing import long_config
from unlabeled import loop
from unlabeled.presets import SHORT
from unlabeled.runs import Run
from unlabeled.transfer import knn
from unlabeled.transfer.features import Inputs, of_inputs


def _accuracy(run: Run, network: object, classes: np.ndarray) -> float:
    """Return how many held-out digits are told by 20 neighbours in the pool."""
    known, asked = (
        of_inputs(network, Inputs(run.source(), rows, run.modality()))  # type: ignore[arg-type]
        for rows in (run.pool_indices(), run.held_out_indices())
    )
    found = knn.predict(known, classes[run.pool_indices()], asked, 10, 20)
    return float((found == classes[run.held_out_indices()]).mean())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_short_runs_raise_no_alarm_and_beat_the_untrained_network(
    seed: int, tmp_path: Path
) -> None:
    (tmp_path / "digits").mkdir()
    classes = real_digits.write(tmp_path / "digits")
    options = {**SHORT["dino"].options, "out_dim": 64, "num_local": 0}
    config = long_config("dino", tmp_path / "digits", 1e-3, seed=seed, **options)
    read = config.modality.model_copy(update=real_digits.LOOK)
    run = Run.open(loop.pretrain(config.model_copy(update={"modality": read}), tmp_path / "run"))
    assert [line["alarms"] for line in run.health()] == [[]] * 15
    assert np.mean([line["loss"] for line in run.metrics()[-30:]]) < 0.9 * np.log(64)
    trained, untrained = (
        _accuracy(run, network, classes) for network in (run.encoder(), run.untrained(seed))
    )
    assert trained > untrained
