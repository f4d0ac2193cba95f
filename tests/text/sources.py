"""Small sources of documents for these tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unlabeled.config import EncoderConfig, TextConfig
from unlabeled.data.text import prepare_text
from unlabeled.data.tokens import TokenRows
from unlabeled.encoders import language
from unlabeled.methods import load
from unlabeled.modalities.text import Text
from unlabeled.types import Batch

WORDS = [
    "sun",
    "moon",
    "river",
    "stone",
    "tree",
    "bird",
    "cloud",
    "wind",
    "fire",
    "snow",
    "sand",
    "leaf",
]


class Memory:
    """Documents that are already there."""

    kind = "text"

    def __init__(self, documents: Sequence[Any], fingerprint: str = "memory") -> None:
        self.documents, self.fingerprint = documents, fingerprint

    def __len__(self) -> int:
        return len(self.documents)

    def name(self, index: int) -> str:
        return f"document {index}"

    def payload(self, index: int, epoch: int = 0) -> Any:
        return self.documents[index]


def stories(count: int = 60, seed: int = 0) -> list[str]:
    """Return documents of 10 to 60 words, each different."""
    rng = np.random.default_rng(seed)
    return [
        f"{number} " + " ".join(rng.choice(WORDS, int(rng.integers(10, 60)))) + "."
        for number in range(count)
    ]


def prepared(
    folder: Path,
    tokenizer: str = "wordpiece",
    documents: Sequence[Any] | None = None,
    **options: Any,
) -> tuple[TokenRows, TokenRows, Text, dict[str, Any]]:
    """Prepare a small corpus in rows of 32 tokens."""
    config = TextConfig(
        tokenizer=tokenizer, vocab_size=options.pop("vocab_size", 320),
        length=options.pop("length", 32), split=options.pop("split", "document"),
    )  # fmt: skip
    special = {k: options.pop(k) for k in ("edge", "sentinels", "infill", "digits") if k in options}
    config = config.model_copy(update=special)
    held_out = options.pop("held_out", 0.2)
    source = Memory(stories() if documents is None else documents)
    return prepare_text(source, config, folder, 0, held_out, **options)


def method_of(name: str, encoder: str, text: Text, **options: Any) -> Any:
    """Return a method on a fresh encoder."""
    torch.manual_seed(0)
    kind = load(name)
    made = language.build(EncoderConfig(name=encoder), text.config, text.vocab_size)
    return kind(kind.Config(**options), made, text)


def batch_of(rows: TokenRows, count: int = 8, first: int = 0, epoch: int = 0) -> Batch:
    """Return rows as the loop gives them to a method."""
    x = torch.from_numpy(rows.batch(range(first, first + count), epoch).astype(np.int64))
    return Batch({"plain": x[None]}, torch.arange(first, first + count) * 7919 + 13)
