"""What is chosen for text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlabeled import config as configs
from unlabeled.choices import Choice, Chooser, Request, short
from unlabeled.errors import ConfigError
from unlabeled.look import Look
from unlabeled.methods import catalogue
from unlabeled.methods.tasks import parts


def propose(seen: Look, tree: Mapping[str, Mapping[str, Any]]) -> tuple[str, str] | None:
    """Propose crops of documents where there are many long ones, and nothing to begin from.

    What few labels are worth with it was measured on reviews of a thousand bytes
    (docs/results.md); of short texts there is nothing to crop, and few have few negatives.
    """
    if "init" in tree.get("encoder", {}) or seen.count < MANY or seen.size < LONG * seen.count:
        return None
    return "contriever", "features of documents; choose bert to tag words, gpt to generate"


def choose(chooser: Chooser, seen: Look, method: str, request: Request) -> None:
    """Fill in how text is read and which network learns from it."""
    configs.check_section("modality", chooser.tree.get("modality", {}), configs.TextConfig)
    needs = catalogue.describe(method).needs
    pieces = needs in ("bidirectional", "feature", "two streams", "text")
    if method == "inherit" and not (
        chooser.tree["method"].get("teacher") or chooser.tree.get("encoder", {}).get("init")
    ):
        raise ConfigError(
            "inherit learns from a teacher: give method.teacher=RUN/encoder, or --init RUN/encoder "
            "to keep what those weights know."
        )
    teacher = str(chooser.tree.get("method", {}).get("teacher", ""))
    if not (_of_teacher(chooser, teacher) or _second_stage(chooser, method)):
        chooser.choose(
            "modality", "tokenizer", "wordpiece" if pieces else "bpe",
            "trained on this text; " + ("as BERT's" if pieces else "lossless"),
        )  # fmt: skip
    entries = 2048 if seen.size < 2_000_000 else 4096 if seen.size < 20_000_000 else 8192
    chooser.choose("modality", "vocab_size", entries, f"for {seen.size / 1e6:.1f} MB of text")
    if chooser.tree["modality"].get("extend"):
        chooser.choose("optim", "new_rows", 0.1, "the rows of added tokens move alone at first")
    _special(chooser, method, chooser.tree.get("method", {}))
    asked = chooser.tree.get("method", {})
    tasks = parts(str(asked.get("name", method)), asked)
    length, why = max(LENGTHS.get(task, (128, "short rows train fastest")) for task in tasks)
    chooser.choose("modality", "length", length, why)
    if seen.count == 1:
        chooser.choose("modality", "split", "tail", "one document: its tail is held out")
        chooser.choose("data", "held_out", 0.1, "the last tenth, as is usual for one text")
    if "name" in chooser.tree.get("encoder", {}) and teacher:
        return
    stack, why = STACKS.get(method, NEEDED.get(needs, "hf:bert-mini")), "fits minutes on a CPU"
    if method in QUICK and short(request) is not None:
        stack, why = QUICK[method]
    chooser.choose("encoder", "name", stack, why)


NEEDED = {"causal": "hf:gpt2-mini", "decoder": "hf:t5-mini", "two streams": "hf:xlnet-mini"}
STACKS = {"bart": "hf:bart-mini"}
QUICK = {
    "contriever": ("hf:bert-1x128h2", "passes over the data count for more than depth on a CPU"),
    "bert": ("hf:modernbert-mini", "leaves word counts behind sooner than BERT's own stack"),
}
"""Networks of short runs on a CPU; docs/log.md, 2026-11-25."""
MANY, LONG = 1000, 400
"""Documents, and bytes of each, from which on crops of them are the better task."""
LENGTHS = {
    "t5": (141, "by T5's rule, 128 when spans of it are sentinels"),
    "contriever": (256, "crops are of documents of up to 256 tokens, as the authors'"),
}
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
    return _tokenizer_of(chooser, Path(init), "the weights")


def _tokenizer_of(chooser: Chooser, weights: Path, whose: str) -> bool:
    """Take the tokenizer that lies in a folder with weights, or beside it in a run."""
    for folder in (weights, weights.parent / "tokenizer"):
        if (folder / "tokenizer.json").is_file():
            chooser.choose("modality", "tokenizer", str(folder), f"belongs to {whose}")
            return True
    return False


def _of_teacher(chooser: Chooser, teacher: str) -> bool:
    """Take the tokenizer of a teacher and a stack that sees text as it does."""
    weights = Path(teacher).resolve()
    if not teacher or not (weights / "config.json").is_file():
        return False
    chooser.tree["method"]["teacher"] = str(weights)
    family = json.loads((weights / "config.json").read_text("utf-8")).get("model_type")
    stack = f"hf:{family}-mini"
    chooser.choose("encoder", "name", stack, "of the teacher's family; it may be larger")
    return _tokenizer_of(chooser, weights, "the teacher")


def _special(chooser: Chooser, method: str, options: Mapping[str, Any]) -> None:
    """Choose the special tokens that a method needs."""
    if method == "gpt" and options.get("middle"):
        chooser.choose("modality", "infill", True, "marks the parts of a text")
    if method in ("t5", "ul2"):
        chooser.choose("modality", "edge", "after", "as T5's")
        chooser.choose("modality", "sentinels", 100, "as T5's; each stands for a hidden span")
    elif method == "bart":
        chooser.choose("modality", "edge", "both", "as BART's")
