"""What held-out text costs a language model: every token once, weighted by tokens, repeatable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlabeled import device, rng
from unlabeled.data.ngram import baselines
from unlabeled.data.tokens import TokenRows
from unlabeled.journal import write_json
from unlabeled.kinds import strings
from unlabeled.method import Method
from unlabeled.runs import INFO, Run
from unlabeled.types import Batch

MOST_TOKENS = 1_000_000
"""How much held-out text a finished run is scored on."""

FROZEN = 0x0DD5
"""Seed of the masks in evaluation: the same for every run, so that figures compare."""


@torch.inference_mode()
def evaluate_tokens(
    method: Method,
    rows: TokenRows,
    batch_size: int = 64,
    precision: str = "fp32",
    limit: int | None = None,
) -> dict[str, Any]:
    """Score rows in a full pass.

    Special tokens stand for no text: what they cost is left out of every figure but
    ``nats_per_special``. Rows are read one by one with no context from the row before.

    Args:
        method: one with `scores`, as trained.
        rows: held-out rows.
        batch_size: rows at a time; changes nothing.
        precision: ``fp32`` or ``bf16``.
        limit: most rows that are read.

    Returns:
        ``nats_per_token``, ``accuracy``, ``targets``; for a generator ``bits_per_byte``, for a
        masked model ``pseudo_bits_per_byte`` (what a token costs given both sides under one frozen
        mask, for every token: comparable between masked models only); for a decoder
        ``rebuilt_bits_per_byte`` (the same of what is written given the spoiled text); for a
        detector the shares ``replaced``, ``caught`` (of the replaced), ``accused`` (of the others).
    """
    count = len(rows) if limit is None else min(limit, len(rows))
    where = next(method.parameters()).device
    special = torch.tensor(list(_special(method)), device=where)
    sums, extra = np.zeros(5), np.zeros(2)
    training = method.training
    method.eval()
    for start in range(0, count, batch_size):
        indices = range(start, min(start + batch_size, count))
        x = torch.from_numpy(rows.batch(indices).astype(np.int64)).to(where)
        keys = torch.tensor([rng.sample_key(FROZEN, 0, i) for i in indices], device=where)
        with device.autocast(precision, where):
            nats, targets, right = method.scores(Batch({"plain": x[None]}, keys))  # type: ignore[operator]
        text = ~torch.isin(targets, special)
        sums += [float(nats[text].double().sum()), *_counts(targets[text], right[text])]
        extra += [float(nats[~text].double().sum()), int((~text).sum())]
    method.train(training)
    return _summary(method, rows, count, sums.tolist(), extra.tolist())


def _counts(targets: Tensor, right: Tensor) -> list[int]:
    """Count targets, those that are right, those that are 1, and those that are both."""
    ones = targets == 1
    return [len(targets), int(right.sum()), int(ones.sum()), int((ones & right).sum())]


def _special(method: Any) -> tuple[int, ...]:
    found: tuple[int, ...] = method.special_ids
    return found


def _summary(
    method: Method, rows: TokenRows, count: int, sums: list[float], extra: list[float]
) -> dict[str, Any]:
    nats = sums[0] / max(sums[1], 1)
    found: dict[str, Any] = {
        "nats_per_token": nats,
        "accuracy": sums[2] / max(sums[1], 1),
        "targets": int(sums[1]),
        "rows": count,
        "context": rows.length,
    }
    if method.scored == "replaced":
        found |= _detection(sums[1:])
    if extra[1]:
        found["nats_per_special"] = extra[0] / extra[1]
    # A part of the rows is taken to hold its share of the bytes.
    bytes_seen = rows.num_bytes * min(1.0, count * rows.length / max(rows.num_tokens, 1))
    if method.scored == "text":
        found["bits_per_byte"] = sums[0] / math.log(2) / max(bytes_seen, 1)
    elif method.scored in ("hidden", "permuted", "rebuilt"):
        ordinary = rows.num_tokens - _num_special(method, rows)
        name = {"rebuilt": "rebuilt"}.get(method.scored, "pseudo")
        found[f"{name}_bits_per_byte"] = nats * ordinary / math.log(2) / max(rows.num_bytes, 1)
    return found


def _detection(counts: list[float]) -> dict[str, float]:
    """Return what share of tokens was replaced, and how often the encoder said so."""
    total, right, ones, caught = counts
    accused = (total - ones) - (right - caught)
    return {
        "replaced": ones / max(total, 1),
        "caught": caught / max(ones, 1),
        "accused": accused / max(total - ones, 1),
    }


def _num_special(method: Method, rows: TokenRows) -> int:
    return int(np.isin(rows.ids, _special(method)).sum())


def score_run(run: Run) -> list[str]:
    """Score the held-out text of a finished run beside plain baselines, and remember it.

    Writes ``held_out`` and ``baselines`` into run.json, and what `drift.beside` returns.

    Returns:
        Sentences for a person; none for a run of images, or where nothing is held out.
    """
    from unlabeled.transfer import drift  # which scores rows by the function above

    if not strings(run.config.data.kind) or not len(run.rows("held_out")):
        return []
    method = run.method()
    if not method.scored:
        return []
    limit = -(-MOST_TOKENS // run.rows("held_out").length)
    found = evaluate_tokens(
        method, run.rows("held_out"), precision=run.config.loop.precision, limit=limit
    )
    plain = baselines(run.folder / "tokens")
    figures = {name: round(value, 4) for name, value in plain.get("bits_per_byte", {}).items()}
    others = drift.beside(run, method, found, limit)
    write_json(run.folder / INFO, {**run.info, "held_out": found, "baselines": figures, **others})
    drifted = drift.words(run, found, others)
    if method.scored != "text":
        return [f"Held-out text: {sentence(method.scored, found)}", *drifted]
    own, best = found["bits_per_byte"], plain["best"]
    worse = "better than" if own < figures[best] else "no better than"
    return [
        f"Held-out text: {own:.3f} bits per byte, {worse} the best plain baseline "
        f"({best}: {figures[best]:.3f}; xz: {figures['xz']:.3f}).",
        *drifted,
    ]


def sentence(scored: str, found: dict[str, Any]) -> str:
    """Say what the figures of a text mean, for a method that does not write it."""
    if scored == "replaced":
        return (
            f"{found['replaced']:.1%} of the tokens were replaced; "
            f"{found['caught']:.1%} of them were caught and {found['accused']:.1%} of the others "
            f"accused ({found['nats_per_token']:.3f} nats each). {found['accuracy']:.1%} are told "
            f"right, where taking all for originals has {1 - found['replaced']:.1%}."
        )
    return f"{found['accuracy']:.1%} of {_WHAT[scored]}, {found['nats_per_token']:.3f} nats each."


_WHAT = {
    "hidden": "hidden tokens guessed",
    "permuted": "tokens guessed in a random order",
    "rebuilt": "tokens written right",
    "paired": "pairs of segments told right (half is chance)",
}
