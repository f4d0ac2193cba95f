"""Methods made for images run unchanged on spectrograms, and what they learn is kept as sound."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.loop.running import NARROW, PATCHES, SMALL
from unlabeled import config, encoders
from unlabeled.config import RunConfig
from unlabeled.prepare import Prepared, prepare
from unlabeled.state import batches, build


def setting(method: str, folder: Path) -> RunConfig:
    encoder = PATCHES if method == "mae" else NARROW
    read = {"form": "spectrogram", "mels": 16, "mean": -8.0, "std": 4.0}
    options = {"name": method, **SMALL[method]["method"]}
    return config.build(
        {
            "data": {"path": str(folder), "kind": "audio", "held_out": 0.2},
            "modality": read,
            "encoder": encoder,
            "method": options,
            "loop": {"steps": 4, "batch": 8},
        }
    )


@pytest.fixture(scope="module")
def prepared(sound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(setting("simclr", sound_folder), tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("method", ["simclr", "mae", "dino"])
def test_image_methods_fit_spectrograms(
    method: str, prepared: Prepared, sound_folder: Path, tmp_path: Path
) -> None:
    state = build(setting(method, sound_folder), Path(), prepared)
    batch = next(batches(state))
    loss = state.method.loss(batch, 0.5)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert batch["global"].shape[2:] == (1, 16, 16)
    encoder = state.method.exported().eval()
    encoder.save(tmp_path)  # type: ignore[operator]
    again = encoders.load(tmp_path).eval()
    assert (again.modality, (tmp_path / "preprocessor_config.json").is_file()) == ("audio", True)
    with torch.no_grad():
        torch.testing.assert_close(again(prepared.watched), encoder(prepared.watched))
