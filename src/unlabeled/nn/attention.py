"""Attention inside documents: tokens of a packed row see only their own document, exactly.

Registered in transformers under the name ``documents``, so that its models use it without being
changed. Positions restart at every document, so a document in a packed row gets the very numbers
that it gets alone.

Which product is used depends on the machine: on CPUs, PyTorch's fused kernel is the slower one in
bfloat16 (up to 4x at 128 tokens), and for long rows a loop over documents beats a mask.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

NAME = "documents"
_LOOP_FROM = 512
"""Length of a row from which documents are taken one by one on a CPU."""


@dataclass(frozen=True)
class Layout:
    """Where documents lie in packed rows.

    Args:
        documents: (B, T) running number of the document in its row, -1 at padding.
        positions: (B, T) position inside the document.
        single: whether every row is one document without padding.
        prefix: (B, T) bool, tokens that all of their document may see, later or not; or None.
    """

    documents: Tensor
    positions: Tensor
    single: bool
    prefix: Tensor | None = None
    _made: dict[Any, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, documents: Tensor) -> Layout:
        """Read the layout off document numbers, (B, T)."""
        index = torch.arange(documents.shape[1], device=documents.device)
        changes = documents[:, 1:] != documents[:, :-1]
        single = not bool(changes.any()) and not bool((documents[:, 0] < 0).any())
        if single:
            return cls(documents, index.expand_as(documents), True)
        begins = F.pad(torch.where(changes, index[1:], 0), (1, 0)).cummax(1).values
        return cls(documents, index - begins, False)

    @property
    def real(self) -> Tensor:
        """Return which tokens are no padding, (B, T) bool."""
        return self.documents >= 0

    def lengths(self) -> list[int]:
        """Return the lengths of all documents, row by row."""
        if "lengths" not in self._made:
            begins = (self.positions == 0).flatten().nonzero().flatten()
            ends = torch.cat([begins[1:], begins.new_tensor([self.positions.numel()])])
            self._made["lengths"] = (ends - begins).tolist()
        found: list[int] = self._made["lengths"]
        return found

    def bias(self, causal: bool, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """Return what is added to scores, (B or 1, 1, T, T), or None where all is allowed."""
        key = (causal, window, dtype)
        if key not in self._made:
            self._made[key] = self._bias(causal, window, dtype)
        found: Tensor | None = self._made[key]
        return found

    def _bias(self, causal: bool, window: int | None, dtype: torch.dtype) -> Tensor | None:
        numbers = self.documents[:, None]  # (B, 1, T)
        allowed = None if self.single else numbers[..., :, None] == numbers[..., None, :]
        near = band(self.documents.shape[1], causal, window, self.documents.device)
        if near is not None:
            near = near[None, None]
            if causal and self.prefix is not None:
                near = near | self.prefix[:, None, None]
            allowed = near if allowed is None else allowed & near
        return _penalty(allowed, dtype)

    def across(self, source: Layout, dtype: torch.dtype) -> Tensor | None:
        """Return what is added to scores of another text's tokens, (B, 1, T, N), or None.

        Documents see those of the same number; padding sees all, for something must be seen.
        """
        key = (id(source), dtype)
        if key not in self._made:
            own, other = self.documents[:, None, :, None], source.documents[:, None, None, :]
            both = self.single and source.single
            self._made[key] = None if both else _penalty((own == other) | (own < 0), dtype)
        found: Tensor | None = self._made[key]
        return found


@dataclass(frozen=True)
class Crossing:
    """Layouts of a text that is written and of the text that it is written from."""

    own: Layout
    source: Layout


def _penalty(allowed: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return 0 where something may be seen and minus infinity elsewhere."""
    if allowed is None:
        return None
    zeros = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return zeros.masked_fill_(~allowed, float("-inf"))


def band(size: int, causal: bool, window: int | None, device: torch.device) -> Tensor | None:
    """Return which pairs of positions may see each other, (T, T) bool; None is all.

    Args:
        size: T.
        causal: only what came before.
        window: distance from which tokens do not see each other.
        device: of the answer.
    """
    if not causal and (window is None or size <= window):
        return None
    index = torch.arange(size, device=device)
    distance = index[:, None] - index[None]
    near = distance.abs() < window if window is not None else torch.ones_like(distance) > 0
    return near & (distance >= 0) if causal else near


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    *,
    causal: bool,
    scaling: float | None = None,
    window: int | None = None,
    dropout: float = 0.0,
    source: Layout | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Attend inside documents.

    Args:
        query: (B, H, T, D).
        key: (B, H, T, D); may have fewer heads, each shared by neighbouring query heads.
        value: (B, H, T, D), as `key`.
        layout: where documents lie.
        causal: whether a token sees only those before it.
        scaling: of the scores; 1/sqrt(D) by default.
        window: distance from which tokens do not see each other.
        dropout: probability of dropping a weight.
        source: where documents of `key` lie, if it is of another text.
        bias: (1, H, T, T), what the model adds to scores.

    Returns:
        (B, T, H, D).
    """
    if key.shape[1] != query.shape[1]:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    length, cpu = query.shape[2], query.device.type == "cpu"
    usual = source is None and bias is None and layout.prefix is None
    if usual and cpu and not layout.single and length >= _LOOP_FROM:
        return _one_by_one(query, key, value, layout, causal, scaling, window, dropout)
    plain = usual and causal and layout.single and (window is None or length <= window)
    rounded = cpu and _rounded(query)
    dtype = torch.bfloat16 if rounded else _dtype(query)
    added = None
    if rounded or not plain:
        added = layout.across(source, dtype) if source else layout.bias(causal, window, dtype)
    if bias is not None:
        added = bias.to(dtype) if added is None else bias.to(dtype) + added
    if rounded:
        return _product(query, key, value, added, scaling, dropout)
    out = F.scaled_dot_product_attention(
        query, key, value, added, dropout, is_causal=plain, scale=scaling
    )
    return out.transpose(1, 2)


def _rounded(x: Tensor) -> bool:
    """Return whether products of `x` run in bfloat16."""
    return x.dtype == torch.bfloat16 or (
        torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


def _dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _product(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scaling: float, dropout: float
) -> Tensor:
    """Write attention out; with short rows and bfloat16 this is the fastest on a CPU."""
    scores = torch.matmul(query * scaling, key.transpose(-1, -2))  # (B, H, T, T)
    if bias is not None:
        scores = scores + bias
    weights = F.dropout(torch.softmax(scores, -1), dropout, dropout > 0)
    return torch.matmul(weights.to(value.dtype), value).transpose(1, 2)


def _one_by_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    causal: bool,
    scaling: float,
    window: int | None,
    dropout: float,
) -> Tensor:
    """Attend in each document by itself; the cost is the sum of squares of their lengths."""
    count, _, length, _ = query.shape
    lengths = layout.lengths()
    streams = [torch.split(x.transpose(1, 2).flatten(0, 1), lengths) for x in (query, key, value)]
    outs = []
    for q, k, v in zip(*streams, strict=True):  # (L, H, D)
        near = None
        if window is not None and len(q) > window:
            near = band(len(q), causal, window, q.device)
        out = F.scaled_dot_product_attention(
            q.transpose(0, 1)[None],
            k.transpose(0, 1)[None],
            v.transpose(0, 1)[None],
            attn_mask=near,
            dropout_p=dropout,
            is_causal=causal and near is None,
            scale=scaling,
        )
        outs.append(out[0].transpose(0, 1))
    return torch.cat(outs).view(count, length, *outs[0].shape[1:])


def documents_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    layout: Layout | Crossing | None = None,
    position_bias: Tensor | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """Do the attention of a transformers module; without a layout, as the library does it."""
    if layout is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling,
            **rest, **({} if position_bias is None else {"position_bias": position_bias}),
        )  # fmt: skip
        return out, None
    causal = bool(getattr(module, "is_causal", False))
    source = None
    if isinstance(layout, Crossing):  # a decoder looks at itself, then at the source
        source, layout = None if causal else layout.source, layout.own
    out = attend(
        query, key, value, layout,
        causal=causal, scaling=scaling, window=sliding_window, dropout=dropout,
        source=source, bias=position_bias if source is None else None,
    )  # fmt: skip
    return out, None


def register() -> None:
    """Make the name known to transformers; without a layout it builds masks as for SDPA."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, documents_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
