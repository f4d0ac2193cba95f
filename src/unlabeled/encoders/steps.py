"""Transformers of transformers' text families on steps of numbers instead of words.

The embedding of a word is a row of a matrix; that of a step is the step times the matrix. So a
bare `BertModel` or `LlamaModel` whose vocabulary has as many entries as a token has values holds
everything, and `AutoModel` opens it:

    model(inputs_embeds=steps @ model.get_input_embeddings().weight)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unlabeled.encoders import families, sizes
from unlabeled.encoders.language import Language
from unlabeled.errors import UsageError
from unlabeled.nn.attention import Layout

_READS = ("bert", "modernbert", "gpt2", "llama")


class Steps(Language):
    """A transformer on steps of numbers; several make a token.

    Args:
        model: the bare model.
        stack: how many steps make a token.
    """

    def __init__(self, model: Any, stack: int) -> None:
        super().__init__(model)
        self.stack = stack

    def stacked(self, x: Tensor) -> Tensor:
        """Return what tokens contain, (B, T, ...) -> (B, N, P); the end is padded."""
        raise NotImplementedError

    def heard(self, x: Tensor) -> Tensor:
        """Return which tokens hold anything, (B, T, ...) -> (B, N) bool."""
        raise NotImplementedError

    def together(self, x: Tensor) -> Tensor:
        """Join the values of the steps of a token, (B, T, M) -> (B, N, stack * M)."""
        x = F.pad(x, (0, 0, 0, -x.shape[1] % self.stack))
        return x.reshape(len(x), x.shape[1] // self.stack, -1)

    def layout(self, x: Tensor) -> Layout:
        """Return where views (B, T, ...) hold anything."""
        return Layout.of(self.heard(x).long() - 1)

    def embed(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Turn steps into tokens with their positions, (B, T, ...) -> (B, N, D)."""
        positions = (layout or self.layout(x)).positions
        table: Any = self.model.get_input_embeddings()
        tokens: Tensor = self.stacked(x) @ table.weight  # (B, N, D)
        if self.family in ("bert", "modernbert"):
            options = {"position_ids": positions} if self.family == "bert" else {}
            return torch.as_tensor(self.model.embeddings(inputs_embeds=tokens, **options))
        return tokens + self.model.wpe(positions) if self.family == "gpt2" else tokens

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature of views, (B, D): the mean of the tokens that hold anything."""
        layout = self.layout(x)
        return self.pool(self.blocks(self.embed(x, layout), layout), layout)

    def feeds(self, x: Tensor) -> list[Tensor]:
        """Return what the feed-forward part of each layer adds to the stream, L of (B, N, D)."""
        kept: list[Tensor] = []

        def keep(module: Any, inputs: Any, output: Any) -> None:
            kept.append(output)

        name = "output.dense" if self.family == "bert" else "mlp"
        parts = [layer.get_submodule(name) for layer in families._stack(self.model)]
        handles = [part.register_forward_hook(keep) for part in parts]
        try:
            self.tokens(x)
        finally:
            for handle in handles:
                handle.remove()
        return kept

    @property
    def num_layers(self) -> int:
        """Return how many layers the stack has."""
        return len(families._stack(self.model))

    def keep_layers(self, count: int) -> None:
        """Drop all layers but the first, for a copy that tells what the middle knows."""
        del families._stack(self.model)[count:]


def fresh(name: str, stack: int, values: int, length: int) -> Any:
    """Return a bare model with fresh weights.

    Args:
        name: such as ``hf:modernbert-2x64h2``.
        stack: steps a token.
        values: numbers a step.
        length: steps that it must be able to read.

    Raises:
        UsageError: the name is none, or of a family that cannot be fed with numbers.
    """
    family, layers, width, heads = sizes.parse(name)
    if family not in _READS:
        raise UsageError(
            f"encoder.name='{name}' reads words, not numbers; {', '.join(_READS)} do both."
        )
    return families.fresh(family, layers, width, heads, stack * values, max(1, -(-length // stack)))
