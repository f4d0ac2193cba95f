"""Long recordings are many samples, of which only the wanted piece is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from tests.conftest import draw_sound
from unlabeled.config import AudioConfig
from unlabeled.data.find import find
from unlabeled.data.inspect import inspect
from unlabeled.data.split import split
from unlabeled.modalities import sound
from unlabeled.modalities.audio import Audio


def test_a_long_recording_is_cut_and_a_short_one_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    long = (0.1 * rng.standard_normal(100 * 8000)).astype(np.float32)  # 100 s: three pieces
    soundfile.write(tmp_path / "long.flac", long, 8000)
    soundfile.write(tmp_path / "short.wav", draw_sound(0), 16000)
    source = find(str(tmp_path))
    names = [source.name(i) for i in range(len(source))]
    assert names == ["long.flac@0s", "long.flac@33.3333s", "long.flac@66.6667s", "short.wav"]
    parts = [sound.read(source.payload(i)) for i in range(3)]
    assert abs(sum(len(part.samples) for part in parts) - len(long)) <= 3
    np.testing.assert_allclose(parts[1].samples[:999], long[266666 : 266666 + 999], atol=1e-4)
    assert Audio(AudioConfig(mels=40)).read(source.payload(2)).shape[1] == 40
    assert len(split(source, 0.3, True, 0).pool) + len(split(source, 0.3, True, 0).held_out) == 4
    found = inspect(str(tmp_path))
    assert (found.count, len(found.broken), found.duplicates) == (4, 0, 0)


def test_soft_ends_are_told(tmp_path: Path) -> None:
    hush = np.zeros(8000, np.float32)
    samples = np.concatenate([hush, draw_sound(0, 1.0), hush])
    soundfile.write(tmp_path / "one.wav", samples, 16_000)
    assert any("Soft ends: 50 % of the time" in line for line in inspect(str(tmp_path)).lines)
