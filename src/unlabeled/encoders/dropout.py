"""No dropout: small runs see each token a few times, and a loss stays a function of its batch."""

from __future__ import annotations

from typing import Any

from torch import nn

_NAMES = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "embd_pdrop", "resid_pdrop",
    "attn_pdrop", "attention_dropout", "embedding_dropout", "mlp_dropout", "dropout_rate",
    "dropout", "activation_dropout", "encoder_layerdrop", "decoder_layerdrop",
)  # fmt: skip
"""What the families of transformers call it."""


def drop_nothing(config: Any) -> None:
    """Set every dropout of a configuration to 0."""
    for name in _NAMES:
        if hasattr(config, name):
            setattr(config, name, 0.0)


def without_dropout(model: nn.Module) -> None:
    """Set every dropout of a loaded model to 0."""
    set_dropout(model, 0.0)
    for module in model.modules():
        for name in _NAMES:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def set_dropout(model: nn.Module, chance: float) -> None:
    """Set every dropout layer of a model; those between the layers of a loaded one too."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = chance
