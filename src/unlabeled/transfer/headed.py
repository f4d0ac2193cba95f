"""A classifier whose library has no class for it: the encoder's own folder, and a linear head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from unlabeled import encoders
from unlabeled.tensors import check_file
from unlabeled.transfer import parted
from unlabeled.transfer.training import Classifier

HEAD = "head.safetensors"


def save(folder: Path, model: Any) -> None:
    """Write the encoder of a model in its library's format, and its head beside it."""
    model.encoder.save(folder)
    head = {name: x.detach().cpu().contiguous() for name, x in model.head.state_dict().items()}
    save_file(head, folder / HEAD)


def load(folder: Path) -> Classifier:
    """Open what `save` wrote."""
    check_file(folder / HEAD)
    state = load_file(folder / HEAD)
    encoder: Any = encoders.load(folder)
    if state["weight"].shape[1] != encoder.dim:
        encoder = parted.as_read(encoder)
    model = Classifier(encoder, encoder.dim, len(state["bias"]))
    with torch.no_grad():
        model.head.load_state_dict(state)
    return model
