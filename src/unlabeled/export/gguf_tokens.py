"""A tokenizer as llama.cpp wants it: tokens, their kinds, merges, and how text is cut before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from unlabeled.errors import UsageError

SPLITS = {0: "gpt-2", 1: "smollm"}
"""What llama.cpp calls the rules that cut text into words, by `modality.digits`."""
NEVER = ("<|pad|> <|pad|>",)
"""A merge that cannot happen: llama.cpp asks for some, and bytes or characters have none."""
TEXT, SPECIAL, UNUSED = 1, 3, 5
"""llama.cpp's kinds of tokens."""


@dataclass(frozen=True)
class Pieces:
    """A tokenizer as llama.cpp wants it.

    Args:
        tokens: in the order of their ids, bytes spelled as GPT-2 does.
        types: `TEXT`, `SPECIAL` or `UNUSED` for each.
        merges: pairs of tokens with a space between, the first learned first.
        split: how text is cut before, a name of llama.cpp.
    """

    tokens: list[str]
    types: list[int]
    merges: list[str]
    split: str


def pieces_of(text: Any, size: int = 0) -> Pieces:
    """Return the tokenizer of a modality.

    Args:
        text: the modality.
        size: rows of the network's embedding; those without a token get a name.

    Raises:
        UsageError: llama.cpp has no such tokenizer.
    """
    known = json.loads(text.tokenizer.backend_tokenizer.to_str())
    model, names = known["model"], text.tokenizer.get_vocab()
    special = {*text.special_ids, *(entry["id"] for entry in known["added_tokens"])}
    tokens = sorted(names, key=names.__getitem__)
    split = _split(known.get("pre_tokenizer"))
    if model["type"] == "WordLevel":
        tokens = [t if i in special else _spelled(t) for i, t in enumerate(tokens)]
        split = SPLITS[0] if all(tokens) else None
    if model["type"] not in ("BPE", "WordLevel") or split is None or known.get("normalizer"):
        raise UsageError(
            f"llama.cpp has no form for this tokenizer, {model['type']} with its way of cutting "
            "text. Train with modality.tokenizer=bpe and modality.digits=0 or 1, with "
            "modality.tokenizer=byte, or with char where all characters are ASCII."
        )
    types = [SPECIAL if index in special else TEXT for index in range(len(tokens))]
    unused = range(len(tokens), size)
    return Pieces(
        [*tokens, *map("[PAD{}]".format, unused)],
        [*types, *(UNUSED for _ in unused)],
        [" ".join(pair) for pair in model.get("merges", [])] or list(NEVER),
        split,
    )


def _spelled(character: str) -> str:
    """Return the byte of a character as GPT-2 spells it; empty if there are several bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    ((word, _),) = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(character)
    return word if len(word) == 1 else ""


def _split(rule: Any) -> str | None:
    """Return llama.cpp's name of a way of cutting text before byte pairs, None if it has none."""
    parts = rule["pretokenizers"] if rule and rule["type"] == "Sequence" else [rule]
    if not parts[-1] or parts[-1]["type"] != "ByteLevel" or parts[-1]["add_prefix_space"]:
        return None
    before = parts[:-1]
    if not before:
        return SPLITS[0]
    digits = {"type": "Split", "pattern": {"Regex": r"\p{N}{1,1}"}, "behavior": "Isolated"}
    same = len(before) == 1 and digits.items() <= before[0].items() and parts[-1]["use_regex"]
    return SPLITS[1] if same else None
