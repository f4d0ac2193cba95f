"""The two families of an encoder and a decoder in transformers: T5 and BART."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn

from unlabeled.encoders.dropout import drop_nothing
from unlabeled.nn.attention import NAME, Crossing, Layout
from unlabeled.nn.guesses import Guess, Tied

TABLES = ("shared", "encoder", "decoder")
"""The modules of which both libraries' models with a head are made, beside the head."""


def fresh(family: str, layers: int, width: int, heads: int, vocab_size: int, length: int) -> Any:
    """Return a bare model with `layers` layers on each side and fresh weights, without dropout."""
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
        max_position_embeddings=2 * length + 2, pad_token_id=None, bos_token_id=None,
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


class Reader(nn.Module):
    """A small decoder of BART's that sees of each document one vector, and nothing else.

    Its tokens are looked up in the encoder's table, and written with it; the encoder is passed
    in, so that no weight is held twice.

    Args:
        encoder: whose vectors are read.
        layers: of the decoder.
        length: tokens in a row.
    """

    def __init__(self, encoder: Any, layers: int, length: int) -> None:
        super().__init__()
        table = encoder.model.get_input_embeddings().weight
        heads = encoder.model.config.num_attention_heads
        made = fresh("bart", layers, encoder.dim, heads, 2, length)
        made.set_attn_implementation(NAME)
        self.decoder = made.decoder
        self.decoder.embed_tokens = nn.Identity()
        size = table.shape[1]
        self.into = nn.Linear(size, encoder.dim) if size != encoder.dim else nn.Identity()
        self.dense, self.norm = nn.Linear(encoder.dim, size), nn.LayerNorm(size)
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def forward(self, encoder: Any, vectors: Tensor, inputs: Tensor, where: Tensor) -> Guess:
        """Return guesses at some places, of (S, K) logits.

        Args:
            encoder: the one that it was made for.
            vectors: (B, M, D) of documents 0, 1, ... in each row.
            inputs: (B, 2, N) ids and document numbers of what was written so far.
            where: (B N,) bool.
        """
        numbers = torch.arange(vectors.shape[1], device=vectors.device)
        source = Layout.of(numbers.expand(vectors.shape[:2]))
        layout = Layout.of(inputs[:, 1])
        table = encoder.model.get_input_embeddings().weight
        x = self.into(nn.functional.embedding(inputs[:, 0], table))
        places = self.decoder.embed_positions
        x = self.decoder.layernorm_embedding(x + places.weight[layout.positions + places.offset])
        for layer in self.decoder.layers:
            x = layer(x, encoder_hidden_states=vectors, layout=Crossing(layout, source))
        tokens = self.norm(nn.functional.gelu(self.dense(x.flatten(0, 1)[where])))
        return Guess(Tied(table, self.bias), tokens)
