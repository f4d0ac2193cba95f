"""Encoders of recordings, read again by other libraries and their feature extractors."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.errors import UsageError
from unlabeled.modalities import logmel
from unlabeled.types import PLAIN

RATE = 16_000
_EXTRACTORS = {"frames": "ASTFeatureExtractor", "wave": "Wav2Vec2FeatureExtractor"}


def check(audio: Any, to: str, part: str) -> None:
    """Refuse what no feature extractor of transformers computes.

    Raises:
        UsageError: with what would do.
    """
    if part != "encoder":
        raise UsageError(
            "A classifier of recordings stays in RUN/finetune, where `unlabeled predict` reads it; "
            "only the encoder can be exported."
        )
    if to == "timm" and audio.form != "spectrogram":
        raise UsageError(f"timm cannot hold an encoder of {audio.form}. Possible: hf.")
    if audio.form == "wave":
        return
    if audio.scale != "kaldi":
        raise UsageError(
            "The feature extractor of transformers computes Kaldi's bands; this run has "
            f"modality.scale={audio.scale}. Its folder RUN/encoder still opens with AutoModel."
        )
    if audio.rate != RATE and importlib.util.find_spec("torchaudio") is None:
        raise UsageError(
            f"This run reads {audio.rate} Hz. transformers computes such frames right with "
            "torchaudio only, and it is missing here: pip install --no-deps torchaudio. "
            "RUN/encoder still opens with AutoModel."
        )


def heard(modality: Any, payloads: Sequence[Any]) -> tuple[Tensor, list[NDArray[np.float32]]]:
    """Return recordings as the encoder sees them, (B, ...), and the samples that this is of."""
    audio, rng = modality.config, np.random.default_rng(0)
    cuts, waves = [], []
    for payload in payloads:
        wave = modality.heard(payload)
        raw = modality.exact(wave)
        cuts.append(modality.cut(raw, PLAIN, rng))
        there = min(len(raw), modality.length)
        start = (len(raw) - there) // 2
        if audio.form != "wave":
            rate = audio.rate
            start, there = start * logmel.sizes(rate)[1], logmel.num_samples(there, rate)
        waves.append(wave[start : start + there])
    keys = torch.zeros(len(cuts), dtype=torch.int64)
    return modality.distort(torch.stack(cuts, 1), PLAIN, keys)[0], waves


@torch.inference_mode()
def with_library(folder: Path, waves: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the features of samples, (B, D), as transformers alone computes them."""
    from transformers import AutoFeatureExtractor, AutoModel

    reader = AutoFeatureExtractor.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    return np.concatenate([_feature(model, reader, wave) for wave in waves])


def _feature(model: Any, reader: Any, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    rate = reader.sampling_rate
    rows = reader(wave, sampling_rate=rate, return_tensors="pt")
    if hasattr(model, "timm_model"):
        pixels = enlarged(_unpadded(rows.input_values, wave, rate), model.config.pretrained_cfg)
        found = model(pixel_values=pixels).pooler_output
    elif type(reader).__name__ == _EXTRACTORS["wave"]:
        found = model(rows.input_values).last_hidden_state.mean(1)
    else:
        frames = rows.input_values[:, : logmel.num_frames(len(wave), rate)]
        found = model(inputs_embeds=embedded(model, frames)).last_hidden_state.mean(1)
    return np.asarray(found.float().numpy(), np.float32)


def embedded(model: Any, frames: Tensor) -> Tensor:
    """Return what a bare model is given for log-mel frames, (1, T, M) -> (1, N, D)."""
    stack = int(model.config.unlabeled["stack"])
    padded = torch.nn.functional.pad(frames, (0, 0, 0, -frames.shape[1] % stack))
    rows = padded.reshape(1, -1, stack * frames.shape[2])
    return torch.as_tensor(rows @ model.get_input_embeddings().weight)


@torch.inference_mode()
def with_timm(folder: Path, waves: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the features of samples, (B, D), as timm computes them of AST's log-mel frames."""
    import timm
    from transformers import AutoFeatureExtractor

    reader: Callable[..., Any] = AutoFeatureExtractor.from_pretrained(folder)
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    rate = int(getattr(reader, "sampling_rate"))  # noqa: B009 - of a type that is not known here
    read = [reader(wave, sampling_rate=rate, return_tensors="pt").input_values for wave in waves]
    rows = [_unpadded(frames, wave, rate) for frames, wave in zip(read, waves, strict=True)]
    pixels = enlarged(torch.cat(rows), model.pretrained_cfg)
    return np.asarray(model(pixels).float().numpy(), np.float32)


def _unpadded(frames: Tensor, wave: NDArray[np.float32], rate: int) -> Tensor:
    """Return frames (1, T, M) with the mean, which is 0, where the extractor padded."""
    there = torch.arange(frames.shape[1]) < logmel.num_frames(len(wave), rate)
    return frames * there[:, None]


def enlarged(frames: Tensor, settings: Any) -> Tensor:
    """Return frames as images, (B, M, M) -> (B, 1, S, S), repeated to the size of the export.

    A stem for small images is written as one for images enlarged by box interpolation.
    """
    times = max(1, int(settings["input_size"][-1]) // frames.shape[-1])
    return frames[:, None].repeat_interleave(times, 2).repeat_interleave(times, 3)


def usage(form: str, to: str, path: Path) -> str:
    """Return code that loads an export and reads one recording at its rate."""
    read = json.loads((path / "preprocessor_config.json").read_text("utf-8"))
    rate = int(read["sampling_rate"])
    frame, step, _ = logmel.sizes(rate)
    other = form != "wave" and rate != RATE
    needed = (
        "import torchaudio   # else transformers' frames have a wrong length\n" if other else ""
    )
    head = (
        f"import soundfile\n{needed}"
        "from transformers import AutoFeatureExtractor, AutoModel\n"
        f'samples, rate = soundfile.read("some.wav", dtype="float32")   # one channel, {rate} Hz\n'
        f'reader = AutoFeatureExtractor.from_pretrained("{path}")\n'
        'rows = reader(samples, sampling_rate=rate, return_tensors="pt").input_values\n'
    )
    content = json.loads((path / "config.json").read_text("utf-8"))
    given = "rows[:, None]"
    if form == "spectrogram":
        head += f"rows[:, 1 + (len(samples) - {frame}) // {step} :] = 0   # padding is the mean\n"
        times = int(content["pretrained_cfg"]["input_size"][-1]) // int(read["num_mel_bins"])
        if times > 1:
            given += f".repeat_interleave({times}, 2).repeat_interleave({times}, 3)"
    model = f'model = AutoModel.from_pretrained("{path}").eval()\n'
    if to == "timm":
        return (
            f'import timm\n{head}model = timm.create_model("local-dir:{path}", pretrained=True, '
            f"num_classes=0).eval()\nfeature = model({given})"
        )
    if form == "spectrogram":
        return f"{head}{model}feature = model(pixel_values={given}).pooler_output"
    if form == "wave":
        return f"{head}{model}feature = model(rows).last_hidden_state.mean(1)"
    stack = int(content["unlabeled"]["stack"])
    return (
        f"{head}{model}"
        f"frames = rows[:, : 1 + (len(samples) - {frame}) // {step}]   # 100 a second, no padding\n"
        f"frames = frames[:, : len(frames[0]) // {stack} * {stack}]\n"
        f"tokens = frames.reshape(1, -1, {stack} * frames.shape[2])\n"
        "given = tokens @ model.get_input_embeddings().weight\n"
        "feature = model(inputs_embeds=given).last_hidden_state.mean(1)"
    )
