"""Run folders with small untrained encoders, made without a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unlabeled import config, encoders
from unlabeled.runs import Run, build_modality


def make_run(folder: Path, tree: dict[str, Any]) -> Run:
    """Write what `Run` reads: config.toml, run.json and the encoder."""
    folder.mkdir(parents=True)
    resolved = config.build(tree)
    (folder / "config.toml").write_text(config.dump(resolved), encoding="utf-8")
    info = {"status": "finished", "method": tree["method"]["name"], "kind": tree["data"]["kind"]}
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    vocab_size = None
    if resolved.data.kind == "text":
        from unlabeled.data.find import find
        from unlabeled.data.text import prepare_text

        assert isinstance(resolved.modality, config.TextConfig)
        prepare_text(find(resolved.data.path, "text"), resolved.modality, folder, 0, 0.1)
        vocab_size = build_modality(resolved, folder).vocab_size  # type: ignore[attr-defined]
    torch.manual_seed(0)
    encoder = encoders.build(resolved.encoder, resolved.modality, vocab_size)
    _wake(encoder)
    encoder.save(folder / "encoder")
    return Run.open(folder)


def _wake(encoder: torch.nn.Module) -> None:
    """Give normalisation statistics and biases values that a mistake would show in."""
    generator = torch.Generator().manual_seed(1)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)


IMAGE_ENCODERS = {
    "vit": {"name": "timm:vit_tiny_patch16_224", "patch": 4},
    "resnet": {"name": "timm:resnet18", "small_stem": True},
}
TEXT_ENCODERS = {
    "bert": {"name": "hf:bert-mini"},
    "gpt": {"name": "hf:gpt2-mini"},
    "last": {"name": "hf:bert-2x32h2", "pool": "last"},
    "layer": {"name": "hf:bert-2x32h2", "pool": "token", "layer": 1},
}


@pytest.fixture(scope="session")
def image_run(tmp_path_factory, image_folder) -> Callable[[str], Run]:
    """Return a run on images by the name of its encoder."""
    made: dict[str, Run] = {}

    def get(name: str) -> Run:
        if name not in made:
            tree = {
                "data": {"path": str(image_folder), "kind": "image"},
                "modality": {"size": 16, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]},
                "encoder": IMAGE_ENCODERS[name],
                "method": {"name": "simclr"},
            }
            made[name] = make_run(tmp_path_factory.mktemp("runs") / name, tree)
        return made[name]

    return get


@pytest.fixture(scope="session")
def text_run(tmp_path_factory, text_folder) -> Callable[[str], Run]:
    """Return a run on text by the name of its encoder."""
    made: dict[str, Run] = {}

    def get(name: str) -> Run:
        if name not in made:
            tree = {
                "data": {"path": str(text_folder), "kind": "text"},
                "modality": {
                    "tokenizer": "bpe" if name == "gpt" else "wordpiece",
                    "vocab_size": 300,
                    "length": 32,
                },
                "encoder": TEXT_ENCODERS[name],
                "method": {"name": "gpt" if name == "gpt" else "bert"},
            }
            made[name] = make_run(tmp_path_factory.mktemp("runs") / name, tree)
        return made[name]

    return get
