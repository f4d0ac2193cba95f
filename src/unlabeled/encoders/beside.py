"""What lies beside an encoder, so that others read data for it as it was read here."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

_EXTRACTOR = "preprocessor_config.json"
_READER = "read_logs.py"


def write_extractor(folder: Path, settings: dict[str, Any]) -> None:
    """Write ``preprocessor_config.json``."""
    text = json.dumps(settings, indent=2) + "\n"
    (folder / _EXTRACTOR).write_text(text, encoding="utf-8")


def rate_of(folder: Path) -> int:
    """Return at what rate (hertz) the feature extractor in a folder reads recordings."""
    path = folder / _EXTRACTOR
    read = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return int(read.get("sampling_rate", 16_000))


def write_ast(folder: Path, mels: int, length: int, mean: float, std: float, rate: int) -> None:
    """Write the settings of AST's feature extractor, which computes Kaldi's log-mel frames.

    At other rates than 16 kHz it does so with torchaudio only; without, its frames have 400
    samples at any rate (transformers 5.23).

    Args:
        folder: of the encoder.
        mels: bands of a frame.
        length: frames of a recording.
        mean: of the bands, which is taken away.
        std: half of what the rest is divided by.
        rate: of the samples, in hertz.
    """
    settings: dict[str, Any] = {
        "feature_extractor_type": "ASTFeatureExtractor",
        "feature_size": 1,
        "sampling_rate": rate,
        "num_mel_bins": mels,
        "max_length": length,
        "do_normalize": True,
        "mean": mean,
        "std": std,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
    write_extractor(folder, settings)


def write_page(folder: Path) -> None:
    """Write ``read_logs.py``, a page of code that reads logs with torch alone."""
    page = resources.files("unlabeled.encoders").joinpath(_READER).read_text("utf-8")
    (folder / _READER).write_text(page, encoding="utf-8")
