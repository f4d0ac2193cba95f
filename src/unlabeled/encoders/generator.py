"""A smaller network on an encoder's embeddings, which guesses tokens for it (ELECTRA)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlabeled.encoders import families, relative
from unlabeled.encoders.language import Language
from unlabeled.nn import attention
from unlabeled.nn.guesses import Guess, Tied


class Generator(nn.Module):
    """A stack of the encoder's family and depth with a share of its width and heads.

    Tokens and positions are the encoder's own, here on the way in, and its token table again on
    the way out; the encoder is passed in, so that no weight is held twice.

    Args:
        encoder: a bidirectional encoder.
        share: of its width, in (0, 1].
        length: tokens in a row.
    """

    def __init__(self, encoder: Language, share: float, length: int) -> None:
        super().__init__()
        config = encoder.model.config
        heads = max(1, round(config.num_attention_heads * share))
        width = heads * (encoder.dim // config.num_attention_heads)
        self.model: Any = families.fresh(
            encoder.family, config.num_hidden_layers, width, heads, 2, length
        )
        if encoder.family in relative.RELATIVE:
            self.model.word_embedding = nn.Identity()  # as XLNet calls it
        else:
            self.model.set_attn_implementation(attention.NAME)
        self.model.embeddings = nn.Identity()
        self.model.embeddings_project = None
        table = encoder.model.get_input_embeddings().weight
        size = table.shape[1]
        self.project = nn.Linear(size, width) if size != width else nn.Identity()
        self.dense, self.norm = nn.Linear(width, size), nn.LayerNorm(size, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(len(table)))
        for layer in (self.project, self.dense):
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, encoder: Language, x: Tensor, where: Tensor) -> Guess:
        """Return guesses at some places, of (S, K) logits.

        Args:
            encoder: the one that it was made for.
            x: (B, 2 or more, T) with hidden tokens.
            where: (S,) index into the B T tokens.
        """
        layout = encoder.layout(x)
        tokens = self.project(encoder.lookup(x, layout))  # (B, T, width)
        tokens = families.blocks(self.model, tokens, layout, where)  # (S, width)
        tokens = self.norm(F.gelu(self.dense(tokens)))
        return Guess(Tied(encoder.model.get_input_embeddings().weight, self.bias), tokens)
