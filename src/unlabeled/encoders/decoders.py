"""The two families of an encoder and a decoder in transformers: T5 and BART."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor

from unlabeled.nn.attention import Crossing, Layout

TABLES = ("shared", "encoder", "decoder")
"""The modules of which both libraries' models with a head are made, beside the head."""


def fresh(family: str, layers: int, width: int, heads: int, vocab_size: int, length: int) -> Any:
    """Return a bare model with `layers` layers on each side and fresh weights, without dropout."""
    from unlabeled.encoders.families import drop_nothing

    if family == "t5":  # version 1.1: gated, two thirds of 4 x width, in whole 32s
        config: Any = transformers.T5Config(
            vocab_size=vocab_size, d_model=width, d_kv=width // heads, num_heads=heads,
            num_layers=layers, d_ff=32 * -(-8 * width // 96), feed_forward_proj="gated-gelu",
            pad_token_id=None, eos_token_id=None,
        )  # fmt: skip
        drop_nothing(config)
        return transformers.T5Model(config)
    config = transformers.BartConfig(
        vocab_size=vocab_size, d_model=width, encoder_layers=layers, decoder_layers=layers,
        encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width,
        max_position_embeddings=2 * length, pad_token_id=None, bos_token_id=None,
        eos_token_id=None, decoder_start_token_id=None, forced_eos_token_id=None,
    )  # fmt: skip
    drop_nothing(config)
    return transformers.BartModel(config)


def embed(stack: Any, ids: Tensor, positions: Tensor) -> Tensor:
    """Return what one side begins with, (B, T, D); BART adds positions here."""
    found: Tensor = stack.embed_tokens(ids)
    if stack.config.model_type == "t5":
        return found
    places = stack.embed_positions.weight[positions + stack.embed_positions.offset]
    return torch.as_tensor(stack.layernorm_embedding(found + places))


def encode(model: Any, x: Tensor, layout: Layout) -> Tensor:
    """Run the encoder and its last norm, (B, N, D)."""
    if model.config.model_type == "bart":
        for layer in model.encoder.layers:
            x = layer(x, None, layout=layout)
        return x
    bias = None
    for block in model.encoder.block:
        x, bias, _ = block(x, position_bias=bias, layout=layout)
    return torch.as_tensor(model.encoder.final_layer_norm(x))


def decode(model: Any, ids: Tensor, layout: Layout, memory: Tensor, source: Layout) -> Tensor:
    """Run the decoder, each document on the tokens of the same document of the source.

    Args:
        model: the bare model.
        ids: (B, M) what was written so far.
        layout: where documents lie in it.
        memory: (B, N, D) what the encoder made of the source.
        source: where documents lie in that.

    Returns:
        (B, M, D).
    """
    crossing = Crossing(layout, source)
    x = embed(model.decoder, ids, layout.positions)
    if model.config.model_type == "bart":
        for layer in model.decoder.layers:
            x = layer(x, encoder_hidden_states=memory, layout=crossing)
        return x
    bias = None
    for block in model.decoder.block:
        x, bias, _ = block(x, position_bias=bias, encoder_hidden_states=memory, layout=crossing)
    return torch.as_tensor(model.decoder.final_layer_norm(x))


def adopt(full: Any, model: Any) -> None:
    """Put a bare model into the library's model with a head."""
    if model.config.model_type == "bart":
        full.model = model
        return
    for name in TABLES:
        setattr(full, name, getattr(model, name))


def bare_of(full: Any) -> Any:
    """Return the bare model inside the library's model with a head."""
    if full.config.model_type == "bart":
        return full.model
    with torch.device("meta"):
        model = transformers.T5Model(full.config)
    for name in TABLES:
        setattr(model, name, getattr(full, name))
    return model
