"""What is chosen for text."""

from __future__ import annotations

from unlabeled import config as configs
from unlabeled.choices import Chooser, Request
from unlabeled.look import Look
from unlabeled.methods import catalogue


def choose(chooser: Chooser, seen: Look, method: str, request: Request) -> None:
    """Fill in how text is read and which network learns from it."""
    configs.check_section("modality", chooser.tree.get("modality", {}), configs.TextConfig)
    causal = catalogue.describe(method).needs == "causal"
    chooser.choose(
        "modality", "tokenizer", "bpe" if causal else "wordpiece",
        "trained on this text; " + ("lossless" if causal else "as BERT's"),
    )  # fmt: skip
    entries = 2048 if seen.size < 2_000_000 else 4096 if seen.size < 20_000_000 else 8192
    chooser.choose("modality", "vocab_size", entries, f"for {seen.size / 1e6:.1f} MB of text")
    chooser.choose("modality", "length", 128, "short rows train fastest")
    if seen.count == 1:
        chooser.choose("modality", "split", "tail", "one document: its tail is held out")
        chooser.choose("data", "held_out", 0.1, "the last tenth, as is usual for one text")
    chooser.choose(
        "encoder", "name", "hf:gpt2-mini" if causal else "hf:bert-mini", "fits minutes on a CPU"
    )
