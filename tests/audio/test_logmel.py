"""Log-mel frames against transformers' numpy code, and against torchaudio and librosa if there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from tests.conftest import draw_sound
from unlabeled.modalities import logmel


@pytest.mark.parametrize("mels", [40, 80])
def test_kaldi_frames_equal_transformers(mels: int) -> None:
    wave = draw_sound(3, 0.5)
    bank = mel_filter_bank(
        257, mels, 20, 8000, 16000, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    expected = spectrogram(
        wave, window_function(400, "hann", periodic=False), 400, 160, 512, power=2.0,
        center=False, preemphasis=0.97, mel_filters=bank, log_mel="log",
        mel_floor=1.192092955078125e-07, remove_dc_offset=True, dtype=np.float64,
    ).T  # fmt: skip
    found = logmel.log_mel(torch.from_numpy(wave), 16000, mels)
    assert found.shape == expected.shape == (logmel.num_frames(8000, 16000), mels)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)  # fp32 against fp64
    exact = logmel.log_mel(torch.from_numpy(wave).double(), 16000, mels)
    np.testing.assert_allclose(exact.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_librosa_bands_equal_transformers(rate: int) -> None:
    size = logmel.sizes(rate)[2]
    expected = mel_filter_bank(
        size // 2 + 1, 64, 0, rate / 2, rate, norm="slaney", mel_scale="slaney"
    )
    np.testing.assert_allclose(logmel.filters(rate, 64, "slaney").numpy(), expected, atol=1e-7)


def test_frames_of_a_long_signal_do_not_depend_on_where_it_is_cut() -> None:
    wave = torch.from_numpy(draw_sound(1, 1.0))
    whole = logmel.log_mel(wave, 16000, 40)
    part = logmel.log_mel(wave[30 * 160 : 30 * 160 + logmel.num_samples(10, 16000)], 16000, 40)
    torch.testing.assert_close(part, whole[30:40])


def test_against_torchaudio() -> None:
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    wave = torch.from_numpy(draw_sound(5, 0.5)).double()
    expected = kaldi.fbank(
        wave[None], sample_frequency=16000, window_type="hanning", num_mel_bins=80
    )
    # torchaudio makes its triangles in fp32, which shows where they are low.
    found = logmel.log_mel(wave, 16000, 80)
    torch.testing.assert_close(found, expected, atol=5e-4, rtol=1e-4)
    assert float((found - expected).abs().median()) < 1e-5


def test_against_librosa() -> None:
    librosa = pytest.importorskip("librosa")
    wave = draw_sound(5, 0.5)
    power = librosa.feature.melspectrogram(
        y=wave, sr=16000, n_fft=512, win_length=400, hop_length=160, n_mels=64, pad_mode="constant"
    )
    found = logmel.log_mel(torch.from_numpy(wave), 16000, 64, "slaney")
    np.testing.assert_allclose(found.numpy(), np.log(np.maximum(power, 1e-10)).T, atol=1e-4)
