"""Log-mel spectrograms in torch, by Kaldi's definition and by librosa's.

Kaldi's (`compute-fbank-feats` with a Hann window and no dither, as AST reads it): frames lie
whole inside the signal, lose their mean, are pre-emphasised by 0.97; triangles are straight in
mel. librosa's (`librosa.feature.melspectrogram`): frames are centred, the signal is padded with
zeros, triangles are straight in hertz on Slaney's scale and have equal area. Both: 25 ms frames
every 10 ms, power spectrum of the next power of two, natural logarithm.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

FRAME, STEP = 0.025, 0.010
LOWEST = 20.0
_EMPHASIS = 0.97
_FLOOR = {"kaldi": torch.finfo(torch.float32).eps, "slaney": 1e-10}
_SLANEY_KNEE, _SLANEY_STEP, _SLANEY_RATIO = 1000.0, 200.0 / 3, math.log(6.4) / 27


def sizes(rate: int) -> tuple[int, int, int]:
    """Return samples in a frame, samples from frame to frame, and the size of the transform.

    >>> sizes(16000)
    (400, 160, 512)
    """
    frame, step = round(FRAME * rate), round(STEP * rate)
    return frame, step, 1 << (frame - 1).bit_length()


def num_frames(samples: int, rate: int, scale: str = "kaldi") -> int:
    """Return how many frames a signal has.

    >>> num_frames(16000, 16000), num_frames(16000, 16000, "slaney"), num_frames(100, 16000)
    (98, 101, 0)
    """
    frame, step, _ = sizes(rate)
    if scale == "slaney":
        return 1 + samples // step
    return max(0, 1 + (samples - frame) // step)


def num_samples(frames: int, rate: int) -> int:
    """Return how many samples `frames` frames span (Kaldi's definition).

    >>> num_frames(num_samples(98, 16000), 16000)
    98
    """
    frame, step, _ = sizes(rate)
    return frame + (frames - 1) * step if frames > 0 else 0


def log_mel(wave: Tensor, rate: int, mels: int, scale: str = "kaldi") -> Tensor:
    """Return the log-mel spectrogram of waves, (..., T) -> (..., frames, mels), never in bf16."""
    with torch.autocast(wave.device.type, enabled=False):
        return _log_mel(wave, rate, mels, scale)


def _log_mel(wave: Tensor, rate: int, mels: int, scale: str) -> Tensor:
    power = _kaldi_power(wave, rate) if scale == "kaldi" else _centred_power(wave, rate)
    weights = filters(rate, mels, scale).to(wave)
    return (power @ weights).clamp(min=_FLOOR[scale]).log()


def _kaldi_power(wave: Tensor, rate: int) -> Tensor:
    frame, step, size = sizes(rate)
    x = wave.unfold(-1, frame, step)  # (..., frames, samples)
    x = x - x.mean(-1, keepdim=True)
    before = torch.cat([x[..., :1], x[..., :-1]], -1)
    x = (x - _EMPHASIS * before) * torch.hann_window(frame, periodic=False).to(wave)
    return torch.as_tensor(torch.fft.rfft(x, size).abs().square())


def _centred_power(wave: Tensor, rate: int) -> Tensor:
    frame, step, size = sizes(rate)
    x = F.pad(wave, (size // 2, size // 2)).unfold(-1, size, step)
    window = F.pad(
        torch.hann_window(frame), ((size - frame) // 2, size - frame - (size - frame) // 2)
    )
    return torch.as_tensor(torch.fft.rfft(x * window.to(wave), size).abs().square())


@cache
def filters(rate: int, mels: int, scale: str) -> Tensor:
    """Return the triangles, (size / 2 + 1, mels)."""
    _, _, size = sizes(rate)
    hertz = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
    if scale == "kaldi":
        low, high = (
            float(_to_mel(torch.tensor(f, dtype=torch.float64))) for f in (LOWEST, rate / 2)
        )
        edges = torch.linspace(low, high, mels + 2, dtype=torch.float64)
        found = _triangles(_to_mel(hertz), edges)
        found[-1] = 0  # Kaldi leaves out the highest frequency
        return found.float()
    top = float(_to_slaney(torch.tensor(rate / 2, dtype=torch.float64)))
    edges = _from_slaney(torch.linspace(0.0, top, mels + 2, dtype=torch.float64))
    found = _triangles(hertz, edges) * (2 / (edges[2:] - edges[:-2]))
    return found.float()


def _triangles(places: Tensor, edges: Tensor) -> Tensor:
    rising = (places[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - places[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)


def _to_mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(hertz / 700.0)


def _to_slaney(hertz: Tensor) -> Tensor:
    knee = _SLANEY_KNEE / _SLANEY_STEP
    above = knee + torch.log(hertz.clamp(min=1e-9) / _SLANEY_KNEE) / _SLANEY_RATIO
    return torch.where(hertz < _SLANEY_KNEE, hertz / _SLANEY_STEP, above)


def _from_slaney(mel: Tensor) -> Tensor:
    knee = _SLANEY_KNEE / _SLANEY_STEP
    above = _SLANEY_KNEE * torch.exp(_SLANEY_RATIO * (mel - knee))
    return torch.where(mel < knee, mel * _SLANEY_STEP, above)
