"""What is wrong with a run of text, in words, with what to do; read from its records alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlabeled.journal import read_json, read_lines

FEW_TIMES = 50
"""Tokens for each entry of the vocabulary below which entries are too rare to be learned."""
UNUSED = 0.25
REPEATED = 0.1
RISEN = 1.02
"""How many times its lowest the cost of held-out text is when it is called overfitting."""


def diagnose(folder: Path) -> list[str]:
    """Return a sentence for everything that is amiss with a finished run of text; often none."""
    known = read_json(folder / "tokens" / "prepared.json")
    if not known:
        return []
    metrics, health = read_lines(folder / "metrics.jsonl"), read_lines(folder / "health.jsonl")
    found = [
        _copies(known), _vocabulary(known), _unused(known), _unknown(known),
        _at_unigram(known, metrics), _without_targets(metrics), overfitting(health),
    ]  # fmt: skip
    return [sentence for sentence in found if sentence]


def _copies(known: Mapping[str, Any]) -> str:
    copies = known.get("duplicates", 0) + known.get("near_duplicates", 0)
    every = copies + sum(known.get("documents", {}).values())
    if not copies or copies < REPEATED * every:
        return ""
    return (
        f"{copies:,} of {every:,} documents are copies of another and were left out, so the text "
        "is smaller than it looks. Where does it repeat? Near copies are left out by "
        "data.near_duplicates=0.8."
    )


def _train(known: Mapping[str, Any]) -> Mapping[str, Any]:
    part: Mapping[str, Any] = known.get("parts", {}).get("train", {})
    return part


def _vocabulary(known: Mapping[str, Any]) -> str:
    tokens, entries = _train(known).get("tokens", 0), max(known.get("vocab_size", 1), 1)
    if tokens >= FEW_TIMES * entries:
        return ""
    fitting = max(256, 1 << max(tokens // (4 * FEW_TIMES), 1).bit_length())
    return (
        f"Too little text for the vocabulary: {tokens:,} tokens for {entries:,} entries are "
        f"{tokens / entries:.0f} of each. Give more text, or try modality.vocab_size={fitting} or "
        "modality.tokenizer=char."
    )


def _unused(known: Mapping[str, Any]) -> str:
    used, entries = _train(known).get("used", 0), max(known.get("vocab_size", 1), 1)
    if used >= (1 - UNUSED) * entries:
        return ""
    return (
        f"The tokenizer wastes its vocabulary: {used:,} of {entries:,} entries occur in the text; "
        "the others cost memory and time. Train one on this text (modality.tokenizer=bpe), or a "
        "smaller modality.vocab_size."
    )


def _unknown(known: Mapping[str, Any]) -> str:
    part = _train(known)
    share = part.get("unknown", 0) / max(part.get("tokens", 1), 1)
    if share < 0.005:
        return ""
    return (
        f"{share:.1%} of the tokens are unknown to the tokenizer, so that the text cannot be told "
        "apart there. Take one of bytes: modality.tokenizer=bpe."
    )


def _at_unigram(known: Mapping[str, Any], metrics: list[dict[str, Any]]) -> str:
    entropy, last = known.get("unigram_entropy"), metrics[-max(1, len(metrics) // 10) :]
    nats = [float(line.get("nats", line["loss"])) for line in last if "targets" in line]
    if not entropy or not nats or sum(nats) / len(nats) < 0.95 * entropy:
        return ""
    return (
        f"The loss ends at {sum(nats) / len(nats):.2f} nats, no better than the {entropy:.2f} of "
        "single-token frequencies: hardly any context is used. Train for longer (--time), raise "
        "optim.lr, or, where positions are learned (BERT, GPT-2), take a network with rotary ones "
        "(encoder.name=hf:modernbert-mini, or hf:llama-mini for gpt)."
    )


def _without_targets(metrics: list[dict[str, Any]]) -> str:
    empty = sum(1 for line in metrics if line.get("targets") == 0)
    if not empty:
        return ""
    return (
        f"{empty:,} of {len(metrics):,} steps in the journal had nothing to guess. Documents are "
        "too short for the method: raise method.mask_ratio or modality.length."
    )


def overfitting(health: list[dict[str, Any]]) -> str:
    """Say where held-out text was cheapest, if that was before the end.

    >>> overfitting([{"step": s, "held_out": n} for s, n in ((1, 3.0), (2, 2.0), (3, 2.2))])[:43]
    'Overfitting: held-out text was cheapest at '
    >>> overfitting([{"step": 1, "held_out": 3.0}, {"step": 2, "held_out": 2.0}])
    ''
    """
    curve = [(line["held_out"], line["step"]) for line in health if line.get("held_out")]
    if len(curve) < 3:
        return ""
    (best, step), (last, end) = min(curve), curve[-1]
    if last < RISEN * best:
        return ""
    return (
        f"Overfitting: held-out text was cheapest at step {step:,} ({best:.3f} nats a target) and "
        f"costs {last:.3f} at step {end:,}. Give --steps {step}, more text, or a smaller "
        "network."
    )
