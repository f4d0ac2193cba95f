"""What a kind of network has no use for is refused, and so is what is no encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from unlabeled.config import AudioConfig, EncoderConfig, SeriesConfig, TextConfig, VideoConfig
from unlabeled.encoders import build, load
from unlabeled.errors import ConfigError, UsageError

LOGS = SeriesConfig(observations=("place", "speed"), length=32)
KINDS: dict[str, tuple[str, BaseModel, set[str]]] = {
    "text": ("hf:bert-1x32h2", TextConfig(length=8, vocab_size=64), {"pool", "layer"}),
    "logs": ("hf:modernbert-1x32h2", LOGS, {"patch"}),
    "logs, channels apart": ("hf:patchtst-1x32h2", LOGS, {"patch", "options"}),
    "frames": ("hf:llama-1x32h2", AudioConfig(form="frames"), {"patch"}),
    "samples": ("hf:wav2vec2-1x32", AudioConfig(form="wave"), {"options"}),
    "clips": ("hf:videomae-1x32h2", VideoConfig(size=16, frames=2), {"patch", "options"}),
}
OPTIONS = {
    "small_stem": True, "patch": 2, "drop_path": 0.1, "lora": 8, "options": {"x": 1},
    "pool": "token", "layer": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        (kind, name)
        for kind, (_, _, reads) in KINDS.items()
        for name in sorted(OPTIONS.keys() - reads)
    ],
)
def test_options_of_other_networks_are_refused(kind: str, option: str) -> None:
    name, modality, _ = KINDS[kind]
    with pytest.raises(ConfigError, match=f"encoder.{option}=.* is not for networks of"):
        build(EncoderConfig(name=name, **{option: OPTIONS[option]}), modality)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_without_an_encoder_is_told(kind: str, tmp_path: Path) -> None:
    name, modality, _ = KINDS[kind]
    for content, said in ((None, "no config.json"), ("{", "cannot be read"), ("[]", "is not the")):
        if content is not None:
            (tmp_path / "config.json").write_text(content)
        with pytest.raises(UsageError, match=said):
            build(EncoderConfig(name=name, init=str(tmp_path)), modality)
        with pytest.raises(UsageError, match=said):
            load(tmp_path)


@pytest.mark.parametrize("size", ["4x128h0", "0x128h2", "4x0h1", "4x128h3"])
def test_sizes_that_cannot_be_are_told(size: str) -> None:
    with pytest.raises(UsageError, match="cannot have"):
        build(EncoderConfig(name=f"hf:bert-{size}"), TextConfig())
