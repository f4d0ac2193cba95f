"""What is chosen for text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlabeled import config as configs
from unlabeled.choices import Choice, Chooser, Request
from unlabeled.look import Look
from unlabeled.methods import catalogue


def choose(chooser: Chooser, seen: Look, method: str, request: Request) -> None:
    """Fill in how text is read and which network learns from it."""
    configs.check_section("modality", chooser.tree.get("modality", {}), configs.TextConfig)
    needs = catalogue.describe(method).needs
    pieces = needs in ("bidirectional", "feature", "two streams")
    if not _second_stage(chooser, method):
        chooser.choose(
            "modality", "tokenizer", "wordpiece" if pieces else "bpe",
            "trained on this text; " + ("as BERT's" if pieces else "lossless"),
        )  # fmt: skip
    entries = 2048 if seen.size < 2_000_000 else 4096 if seen.size < 20_000_000 else 8192
    chooser.choose("modality", "vocab_size", entries, f"for {seen.size / 1e6:.1f} MB of text")
    _special(chooser, method, chooser.tree.get("method", {}))
    length, why = LENGTHS.get(method, (128, "short rows train fastest"))
    chooser.choose("modality", "length", length, why)
    if seen.count == 1:
        chooser.choose("modality", "split", "tail", "one document: its tail is held out")
        chooser.choose("data", "held_out", 0.1, "the last tenth, as is usual for one text")
    stack = STACKS.get(method, NEEDED.get(needs, "hf:bert-mini"))
    chooser.choose("encoder", "name", stack, "fits minutes on a CPU")


NEEDED = {"causal": "hf:gpt2-mini", "decoder": "hf:t5-mini", "two streams": "hf:xlnet-mini"}
STACKS = {"bart": "hf:bart-mini"}
LENGTHS = {"t5": (141, "by T5's rule, 128 when spans of it are sentinels")}
SECOND = ("simcse", "ct", "tsdae")


def _second_stage(chooser: Chooser, method: str) -> bool:
    """Take the tokenizer from where weights come from; say which methods need them.

    Returns:
        Whether there was one.
    """
    init = chooser.tree.get("encoder", {}).get("init")
    if init is None:
        if method in SECOND:
            why = f"{method} is a second stage: better give --init RUN/encoder, of bert"
            chooser.choices.append(Choice("encoder.init", None, why))
        return False
    for folder in (Path(init), Path(init).parent / "tokenizer"):
        if (folder / "tokenizer.json").is_file():
            chooser.choose("modality", "tokenizer", str(folder), "belongs to the weights")
            return True
    return False


def _special(chooser: Chooser, method: str, options: Mapping[str, Any]) -> None:
    """Choose the special tokens that a method needs."""
    if method == "gpt" and options.get("middle"):
        chooser.choose("modality", "infill", True, "marks the parts of a text")
    if method in ("t5", "ul2"):
        chooser.choose("modality", "edge", "after", "as T5's")
        chooser.choose("modality", "sentinels", 100, "as T5's; each stands for a hidden span")
    elif method == "bart":
        chooser.choose("modality", "edge", "both", "as BART's")
