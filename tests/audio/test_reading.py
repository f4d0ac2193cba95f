"""What is read as sound, and what is set aside with a reason."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import draw_sound
from unlabeled import hear
from unlabeled.config import AudioConfig
from unlabeled.data.find import find
from unlabeled.errors import DataError
from unlabeled.modalities import sound
from unlabeled.modalities.audio import Audio
from unlabeled.types import PLAIN, View

RATE = 16000


def encoded(
    values: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None
) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, values, rate, format=kind, subtype=subtype)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "subtype", "error"),
    [
        ("WAV", "PCM_U8", 1e-2), ("WAV", "PCM_16", 1e-4), ("WAV", "PCM_24", 1e-6),
        ("WAV", "FLOAT", 1e-7), ("WAV", "DOUBLE", 1e-7), ("WAV", "ULAW", 5e-2),
        ("FLAC", "PCM_16", 1e-4), ("AIFF", "PCM_16", 1e-4), ("CAF", "PCM_16", 1e-4),
        ("W64", "PCM_16", 1e-4), ("AU", "PCM_16", 1e-4),
    ],
)  # fmt: skip
def test_formats_give_the_samples(kind: str, subtype: str, error: float) -> None:
    values = draw_sound(0)
    found = sound.read(encoded(values, RATE, kind, subtype))
    assert (found.rate, found.channels) == (RATE, 1)
    np.testing.assert_allclose(found.samples, values, atol=error)


@pytest.mark.parametrize("kind", ["OGG", "MP3"])
def test_lossy_formats_give_nearly_the_samples(kind: str) -> None:
    values = draw_sound(0)
    found = sound.read(encoded(values, RATE, kind)).samples
    least = min(len(found), len(values))
    assert abs(len(found) - len(values)) < 2400
    shift = (
        0
        if kind == "OGG"
        else int(np.correlate(found[:least], values[:least], "full").argmax()) - least + 1
    )
    assert (
        np.corrcoef(np.roll(found[:least], -shift)[800:-800], values[:least][800:-800])[0, 1] > 0.9
    )


def test_any_rate_is_resampled_and_channels_are_mixed_or_chosen() -> None:
    time = np.arange(44100) / 44100
    left, right = np.sin(2 * np.pi * 440 * time) / 2, np.sin(2 * np.pi * 880 * time) / 2
    data = encoded(np.stack([left, right, right, left, left, right], 1), 44100)
    mixed = sound.read(data, RATE)
    assert (len(mixed.samples), mixed.channels, mixed.own_rate) == (RATE, 6, 44100)
    second = sound.read(data, RATE, channel=1).samples
    expected = np.sin(2 * np.pi * 880 * np.arange(RATE) / RATE) / 2
    np.testing.assert_allclose(second[500:-500], expected[500:-500], atol=1e-3)
    with pytest.raises(DataError, match=r"6 channels; modality\.channel=6"):
        sound.read(data, RATE, channel=6)


def _header(data: bytes, place: int, form: str, value: int) -> bytes:
    return data[:place] + struct.pack(form, value) + data[place + struct.calcsize(form) :]


GOOD = encoded(draw_sound(0))
BROKEN = {
    "empty": (b"", "empty"),
    "not sound": (b"hello" * 100, "cannot be decoded"),
    "a page": (b"<html><body>not found</body></html>", "cannot be decoded"),
    "no samples": (encoded(np.zeros(0, np.float32)), "no samples"),
    "one sample": (encoded(np.full(1, 0.3, np.float32)), "silent"),
    "silence": (encoded(np.zeros(RATE)), "silent"),
    "a constant": (encoded(np.full(RATE, 0.25)), "silent"),
    "not a number": (encoded(np.full(RATE, np.nan), subtype="FLOAT"), "not finite"),
    "infinite": (encoded(np.full(RATE, np.inf), subtype="FLOAT"), "not finite"),
    "half of it": (GOOD[: len(GOOD) // 2], "cut off"),
    "header only": (GOOD[:44], "cut off"),
    "a size that lies": (_header(GOOD, 40, "<I", 1 << 30), "cut off"),
    "0 hertz": (_header(GOOD, 24, "<I", 0), "cannot be decoded|samples a second"),
    "1 GHz": (_header(GOOD, 24, "<I", 10**9), "samples a second"),
    "65535 channels": (_header(GOOD, 22, "<H", 65535), "cannot be decoded|channels|no samples"),
    "half of a flac": (encoded(draw_sound(0, 2.0), kind="FLAC")[:9000], "cut off|decoded"),
    "too short": (encoded(draw_sound(0, 0.01)), "lasts 0.010 s"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_set_aside_with_a_reason(name: str) -> None:
    data, reason = BROKEN[name]
    with pytest.raises(DataError, match=reason):
        Audio(AudioConfig()).read(data)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_damage_never_ends_the_process(kind: str) -> None:
    """X9: flipped bits, in the header above all, are an error or sound; never a signal."""
    rng = np.random.default_rng(0)
    data = np.frombuffer(encoded(draw_sound(0, 0.2), kind=kind), np.uint8)
    for _ in range(40):
        bad = data.copy()
        places = rng.integers(0, rng.choice([64, len(bad)]), 8)
        bad[places] ^= rng.integers(1, 256, 8).astype(np.uint8)
        try:
            found = sound.read(bad.tobytes())
        except DataError:
            continue
        assert np.isfinite(found.samples).all()
        assert np.abs(found.samples).max() <= 1


def test_float_beyond_full_scale_is_scaled_and_clipping_is_counted() -> None:
    loud = sound.read(encoded(4 * draw_sound(0) / np.abs(draw_sound(0)).max(), subtype="FLOAT"))
    assert np.abs(loud.samples).max() == 1
    clipped = sound.read(encoded(np.clip(20 * draw_sound(0), -1, 1)))
    assert clipped.clipped > 0.2
    assert sound.read(GOOD).clipped == 0


def test_views_of_each_form() -> None:
    payload = encoded(draw_sound(0, 0.4))
    rng = np.random.default_rng(0)
    frames = Audio(AudioConfig(seconds=1.0, mels=40))
    with torch.autocast("cpu", torch.bfloat16):  # features are read under it
        cut = frames.cut(frames.read(payload), PLAIN, rng)
    assert cut.shape == (1, 98, 41)
    assert cut[0, :, -1].sum() == 38  # 0.4 s
    square = Audio(AudioConfig(form="spectrogram", mels=64))
    raw = square.read(payload)
    assert square.cut(raw, PLAIN, rng).shape == (1, 1, 64, 64)
    local = View(count=3, extent=(0.3, 0.6), size=0.5)
    assert square.cut(raw, local, rng).shape == (3, 1, 32, 32)
    wave = Audio(AudioConfig(form="wave", seconds=0.5))
    x = wave.distort(wave.cut(wave.read(payload), PLAIN, rng)[:, None], PLAIN, None)[0, 0]
    heard = x[1] > 0
    assert (x.shape, int(heard.sum())) == ((2, 8000), 6400)
    assert abs(float(x[0, heard].mean())) < 1e-5
    assert abs(float(x[0, heard].std(correction=0)) - 1) < 1e-3


def test_statistics_are_those_of_the_source_never_of_the_clip() -> None:
    """A clip of one vowel keeps its level in each band: nothing of the clip is subtracted."""
    config = AudioConfig(seconds=0.3, mels=40, mean=-5.0, std=3.0)
    audio = Audio(config)
    raw = audio.read(encoded(draw_sound(0, 0.4)))
    cut = audio.cut(raw, PLAIN, np.random.default_rng(0))
    x = audio.distort(cut[:, None], PLAIN, torch.zeros(1, dtype=torch.int64))[0, 0]
    torch.testing.assert_close(x[:, :-1] * 6 - 5, cut[0, :, :-1].float(), atol=1e-2, rtol=1e-3)


def test_sound_is_found_in_folders_lists_and_tables(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f"{i}.wav" for i in range(3)]
    for name in names:
        (tmp_path / name).write_bytes(GOOD)
    assert (find(str(tmp_path)).kind, len(find(str(tmp_path)))) == ("audio", 3)
    (tmp_path / "all.list").write_text("\n".join(names))
    assert find(str(tmp_path / "all.list")).kind == "audio"
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(f"{n},a\n" for n in names))
    found = find(str(tmp_path / "t.csv"))
    assert (found.kind, found.payload(0)) == ("audio", GOOD)
    rows = [{"bytes": GOOD, "path": name} for name in names]
    for column in ("audio", "x"):  # by name, and by the endings of the paths
        pq.write_table(pa.table({column: rows, "text": ["a", "b", "c"]}), tmp_path / "t.parquet")
        found = find(str(tmp_path / "t.parquet"))
        assert (found.kind, found.payload(1)) == ("audio", GOOD)
    pq.write_table(pa.table({"audio": [GOOD] * 3}), tmp_path / "t.parquet")
    assert find(str(tmp_path / "t.parquet")).kind == "audio"


def test_mixed_rates_are_told_as_what_they_span(tmp_path: Path) -> None:
    for rate in (8000, 48_000):
        t = np.arange(rate) / rate
        soundfile.write(tmp_path / f"{rate}.wav", np.sin(2 * np.pi * 200 * t) / 3, rate)
    source = find(str(tmp_path))
    assert hear.recordings(source, [0, 1]).words.endswith("8,000 to 48,000 Hz")
    assert hear.recordings(source, [0]).words.endswith(", 48,000 Hz")
