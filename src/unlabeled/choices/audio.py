"""What is chosen for recordings."""

from __future__ import annotations

from unlabeled import config as configs
from unlabeled import hear
from unlabeled.choices import Chooser, Request
from unlabeled.choices.image import SEVEN_BY_SEVEN, narrow, patch
from unlabeled.look import Look
from unlabeled.methods import catalogue
from unlabeled.modalities import sound

LONGEST = 4.0
"""Seconds that an encoder sees at most, unless more are asked for."""

_NETWORKS = {
    "causal": ("hf:llama-4x192h3", "sees what came before"),
    "bidirectional": ("hf:modernbert-4x192h3", "sees both sides"),
    "waves": ("hf:wav2vec2-tiny", "reads samples"),
    "tokens": ("timm:vit_tiny_patch16_224", "hides tokens, so it needs a transformer"),
    "feature": ("timm:resnet18", "strong on small data"),
}


def choose(chooser: Chooser, seen: Look, method: str, request: Request) -> None:
    """Fill in how recordings are read and which network learns from them."""
    configs.check_section("modality", chooser.tree.get("modality", {}), configs.AudioConfig)
    name = str(chooser.choose("encoder", "name", *_NETWORKS[catalogue.describe(method).needs]))
    form = form_of(name)
    chooser.choose("modality", "form", form, f"what {name} reads")
    rate, why = 16_000, "what feature extractors and models of speech read"
    if form == "frames" and seen.size <= hear.NARROW.rate:
        rate, why = hear.NARROW.rate, "the recordings' own rate"
    low = chooser.choose("modality", "rate", rate, why) == hear.NARROW.rate
    if seen.seconds <= LONGEST:
        chooser.choose("modality", "trim", sound.SOFT_ENDS, "dB: soft ends say nothing")
    if form == "spectrogram":
        _square(chooser, seen, name, request)
    else:
        most = min(max(seen.seconds, 0.1), LONGEST)
        chooser.choose("modality", "seconds", round(most, 2), "19 of 20 recordings fit")
        mels, why = (hear.NARROW.mels, "up to 4 kHz") if low else (80, "as is usual for speech")
        chooser.choose("modality", "mels", mels, why)
    if form == "frames":
        chooser.choose("encoder", "patch", 2, "frames a token: 50 tokens a second")
    mean, std = seen.details if low else (seen.mean[0], seen.std[0])
    chooser.choose("modality", "mean", mean, "measured on a sample of the data")
    chooser.choose("modality", "std", std, "measured on a sample of the data")


def form_of(name: str) -> str:
    """Return what an encoder reads.

    >>> form_of("timm:resnet18"), form_of("hf:wav2vec2-tiny"), form_of("hf:bert-mini")
    ('spectrogram', 'wave', 'frames')
    """
    if name.startswith("timm:"):
        return "spectrogram"
    return "wave" if name.startswith(("hf:wav2vec2", "hf:hubert")) else "frames"


def _square(chooser: Chooser, seen: Look, name: str, request: Request) -> None:
    edge = 64 if seen.seconds <= 0.9 else 96 if seen.seconds <= 1.5 else 128
    edge = int(chooser.choose("modality", "mels", edge, f"{edge} bands and {edge} frames of 10 ms"))
    if name.startswith(("timm:vit", "timm:deit")):
        size = patch(edge)
        chooser.choose("encoder", "patch", size, f"{(edge // size) ** 2} patches of a spectrogram")
        chooser.choose("encoder", "pool", "avg", "no loss shapes the class token")
    elif name in SEVEN_BY_SEVEN and edge <= 64:
        chooser.choose("encoder", "small_stem", True, "keeps resolution on small images")
    if name == "timm:resnet18":
        narrow(chooser, request)
    chooser.choose("loop", "channels_last", True, "the fast layout for convolutions")
