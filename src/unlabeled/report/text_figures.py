"""What `evaluate` measured of text without labels, as rows of the section on training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlabeled.report.folder import Folder
from unlabeled.report.pictures import short
from unlabeled.report.wording import number, percent

_FIGURES = {
    "bits_per_byte": "Bits per byte",
    "pseudo_bits_per_byte": "Pseudo-bits per byte (both sides seen)",
    "rebuilt_bits_per_byte": "Bits per byte to rebuild it",
    "nats_per_token": "Nats a target",
    "accuracy": "Targets guessed right",
    "targets": "Targets, all in one full pass",
    "context": "Tokens in a row",
    "bytes": "Bytes",
    "documents": "Documents",
}


def blocks(folder: Folder) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return titles with rows of name and value; none where nothing was measured."""
    kept = folder.text
    found = [(f"Text: {name}", _text(one)) for name, one in _tables(kept.get("texts")).items()]
    if isinstance(kept.get("memorised"), Mapping):
        found.append(("Does it recite its training text?", _memorised(kept["memorised"])))
    for name, one in _tables(kept.get("pairs")).items():
        found.append((f"Minimal pairs: {name}", _pairs(one)))
    for name, one in _tables(kept.get("retrieval")).items():
        counts = f"{number(one.get('queries'))} queries, {number(one.get('documents'))} documents"
        found.append((f"Retrieval: {name}, {counts}", _retrieval(one)))
    return found


def _retrieval(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, ", ".join(f"{figure} {number(value)}" for figure, value in row.items()))
        for name, row in _tables(found.get("rows")).items()
    ]


def _tables(tree: Any) -> dict[str, Mapping[str, Any]]:
    items = tree.items() if isinstance(tree, Mapping) else ()
    return {str(name): one for name, one in items if isinstance(one, Mapping)}


def _text(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(words, number(found[key], 4)) for key, words in _FIGURES.items() if key in found]
    strided = found.get("strided")
    if isinstance(strided, Mapping):
        how = f"context {strided.get('context')}, stride {strided.get('stride')}"
        rows.append((f"Perplexity a token, {how}", number(strided.get("perplexity"), 4)))
        rows.append((f"Bits per byte, {how}", number(strided.get("bits_per_byte"), 4)))
    plain = found.get("baselines") if isinstance(found.get("baselines"), Mapping) else {}
    assert isinstance(plain, Mapping)
    if found.get("best") in plain and "bits_per_byte" in found:
        rows.append((f"Best plain baseline: {found['best']}", number(plain[found["best"]], 4)))
    known = found.get("in_training")
    if isinstance(known, Mapping):
        name = f"{known.get('n')}-grams of tokens that stand in the training text"
        rows.append((name, percent(known.get("share"), 1)))
    return rows


def _memorised(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    ours, theirs = (found.get(part) or {} for part in ("generated", "held_out"))
    written = f"{number(found.get('samples'))} of {number(found.get('tokens'))} tokens in all"
    longest = f"{number(ours.get('longest'))} (held-out text: {number(theirs.get('longest'))})"
    rows = [
        ("Samples", f"{written}, temperature {number(found.get('temperature'))}"),
        ("Longest passage shared with the training text, tokens", longest),
        ("That passage", short(str(ours.get("words", "")), 240)),
    ]
    shares = theirs.get("shares") or {}
    for n, share in (ours.get("shares") or {}).items():
        beside = f"(held-out text: {percent(shares.get(n), 1)})"
        rows.append((f"{n}-grams found in the training text", f"{percent(share, 1)} {beside}"))
    return rows


def _pairs(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {"model": f"Preferred right, by {found.get('likelihood')}", "5-gram": "A 5-gram table"}
    rows = []
    for name, who in names.items():
        one = found.get(name) or {}
        span = f"95 % interval {number(one.get('low'))} to {number(one.get('high'))}"
        counts = f"{number(one.get('pairs'))} pairs, {number(one.get('ties'))} ties at half"
        rows.append((who, f"{number(one.get('accuracy'))} ({span}; {counts})"))
    for name, one in _tables(found.get("groups")).items():
        rows.append((f"Group {name}", f"{number(one.get('accuracy'))} of {one.get('pairs')}"))
    return rows
