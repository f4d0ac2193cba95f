"""Two families that know positions by distance alone and bring their own attention: XLNet, DeBERTa.

The library does not let their attention be exchanged, so documents are kept apart by a mask over
pairs of tokens. Only distances matter to them, and those inside a document are the same in a packed
row as alone.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor

from unlabeled.encoders.dropout import drop_nothing
from unlabeled.nn.attention import Layout

RELATIVE = frozenset({"xlnet", "deberta-v2"})
_NO_SEGMENTS = ("seg_embed", "r_s_bias")
"""What XLNet holds for pairs of texts in one input; they are told apart by documents here."""


def fresh(family: str, layers: int, width: int, heads: int, vocab_size: int, length: int) -> Any:
    """Return a bare model with fresh weights, without dropout."""
    if family == "xlnet":
        config: Any = transformers.XLNetConfig(
            vocab_size=vocab_size, d_model=width, n_layer=layers, n_head=heads, d_inner=4 * width,
            use_mems_eval=False, pad_token_id=None, bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        drop_nothing(config)
        model: Any = transformers.XLNetModel(config)
        rest(model)
        return model
    config = transformers.DebertaV2Config(  # as version 3
        vocab_size=vocab_size, hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=4 * width, pad_token_id=None,
        max_position_embeddings=max(512, length), type_vocab_size=0, position_biased_input=False,
        relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=256,
        share_att_key=True, norm_rel_ebd="layer_norm",
    )  # fmt: skip
    drop_nothing(config)
    return transformers.DebertaV2Model(config)


def rest(model: Any) -> None:
    """Let what XLNet does not use here rest: segments, and the query of hidden tokens."""
    if model.config.model_type == "xlnet":
        model.mask_emb.requires_grad_(False)
        for layer in model.layer:
            for name in _NO_SEGMENTS:
                getattr(layer.rel_attn, name).requires_grad_(False)


def lookup(model: Any, ids: Tensor) -> Tensor:
    """Return embeddings, (B, T, D); these families add no positions."""
    if model.config.model_type == "xlnet":
        return torch.as_tensor(model.dropout(model.word_embedding(ids)))
    return torch.as_tensor(model.embeddings(input_ids=ids))


def blocks(model: Any, x: Tensor, layout: Layout) -> Tensor:
    """Run the stack inside documents, (B, T, D) -> (B, T, D)."""
    apart = _apart(layout)
    if model.config.model_type == "xlnet":
        found = model(inputs_embeds=x, perm_mask=apart.to(x.dtype), use_mems=False)
    else:
        found = model.encoder(x, ~apart, output_hidden_states=False)
    return torch.as_tensor(found.last_hidden_state)


def two_streams(model: Any, x: Tensor, layout: Layout, unseen: Tensor, places: Tensor) -> Tensor:
    """Run both streams of XLNet and return the query stream, (B, S, D).

    Args:
        model: the bare model.
        x: (B, T, D) embeddings of the tokens.
        layout: where documents lie.
        unseen: (B, T, T) bool, which tokens (last) a place (middle) must not see.
        places: (B, S) where tokens are guessed, -1 for none.
    """
    # Queries of a place that stands there twice would be added up.
    mapping = torch.nn.functional.one_hot(places + 1, x.shape[1] + 1)[..., 1:]  # (B, S, T)
    hidden = (unseen | _apart(layout)).to(x.dtype)
    found = model(
        inputs_embeds=x, perm_mask=hidden, target_mapping=mapping.to(x.dtype), use_mems=False
    )
    return torch.as_tensor(found.last_hidden_state)


def _apart(layout: Layout) -> Tensor:
    """Return which pairs of tokens are of different documents, (B, T, T) bool."""
    return layout.documents[:, :, None] != layout.documents[:, None, :]
