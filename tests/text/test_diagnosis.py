"""What is amiss with a run of text is said, with what to do; a good one is left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.text.sources import batch_of, method_of
from unlabeled.transfer.diagnosis import diagnose
from unlabeled.types import Batch

GOOD: dict[str, Any] = {
    "documents": {"train": 900, "held_out": 100}, "duplicates": 3, "near_duplicates": 0,
    "vocab_size": 1000, "unigram_entropy": 6.0,
    "parts": {"train": {"tokens": 100_000, "used": 990, "unknown": 0}},
}  # fmt: skip


def run(
    folder: Path, known: dict[str, Any], loss: float = 3.0, curve: Any = (4.0, 3.5, 3.2)
) -> Any:
    (folder / "tokens").mkdir()
    (folder / "tokens" / "prepared.json").write_text(json.dumps(known))
    metrics = [{"step": s, "loss": loss, "targets": 30.0} for s in range(20)]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, metrics)) + "\n")
    health = [{"step": s, "held_out": nats} for s, nats in enumerate(curve)]
    (folder / "health.jsonl").write_text("\n".join(map(json.dumps, health)) + "\n")
    return diagnose(folder)


def test_a_good_run_is_left_alone(tmp_path: Path) -> None:
    assert run(tmp_path, GOOD) == []
    assert diagnose(tmp_path / "images") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"duplicates": 400}, "copies of another"),
        ({"vocab_size": 8000}, "Too little text for the vocabulary"),
        ({"parts": {"train": {"tokens": 100_000, "used": 500, "unknown": 0}}}, "wastes"),
        ({"parts": {"train": {"tokens": 100_000, "used": 990, "unknown": 2000}}}, "2.0% of"),
    ],
)
def test_text_that_does_not_fit_is_said(change: Any, words: str, tmp_path: Path) -> None:
    assert words in " ".join(run(tmp_path, {**GOOD, **change}))


def test_training_that_goes_wrong_is_said(tmp_path: Path) -> None:
    found = " ".join(run(tmp_path, GOOD, loss=5.9, curve=(4.0, 3.0, 3.2)))
    assert "single-token frequencies" in found
    assert "cheapest at step 1" in found
    assert "--steps 1" in found


def test_masks_have_the_shares_of_transformers_collator(wordpiece: Any) -> None:
    """Chi-square of hidden, kept and random tokens, ours and the library's, p = 0.001."""
    rows, _, text, _ = wordpiece
    method = method_of("bert", "hf:bert-1x32h2", text)
    counts = np.zeros((2, 3))
    collator = transformers.DataCollatorForLanguageModeling(text.tokenizer, seed=0)
    for epoch in range(12):
        batch = batch_of(rows, min(len(rows), 32), 0, epoch)
        x = batch["plain"][0]
        hidden, chosen = method.hide(x, batch.keys + epoch * 10_007)
        ids = x[:, 0]
        special = torch.isin(ids, torch.tensor(text.special_ids))
        theirs, labels = collator.torch_mask_tokens(ids.clone(), special)
        for number, (after, where) in enumerate(((hidden, chosen), (theirs, labels >= 0))):
            assert not (where & special).any()
            before, now = ids[where], after[where]
            masked = now == text.mask_id
            same = (now == before) & ~masked
            counts[number] += [int(masked.sum()), int(same.sum()), int((~masked & ~same).sum())]
    assert counts.sum(1).min() > 1000
    expected = counts.sum(0) * counts.sum(1, keepdims=True) / counts.sum()
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # 2 degrees of freedom, p = 0.001


def test_logits_at_tokens_that_are_not_hidden_get_no_gradient(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("bert", "hf:bert-1x32h2", text)
    batch, seen = batch_of(rows, 4), []
    tokens_at = method.encoder.tokens_at
    method.encoder.tokens_at = lambda x, where: seen.append(where) or tokens_at(x, where)
    method.loss(batch, 0.0)
    _, chosen = method.hide(batch["plain"][0], batch.keys)
    assert seen[0].tolist() == chosen.flatten().nonzero().flatten().tolist()


def test_a_markov_source_is_learned_to_its_entropy_rate(bpe: Any) -> None:
    """Four states, each followed by two, in shares 3 to 1: 0.562 nats, and no less."""
    text = bpe[2]
    draws = np.random.default_rng(0)
    rate = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    walk = [0]
    for likely in draws.random(204 * 16 * 33) < 0.75:
        walk.append((walk[-1] + (1 if likely else 2)) % 4)
    stream = torch.tensor(walk[: 204 * 16 * 33]).view(-1, 33) + 10
    method = method_of("gpt", "hf:llama-1x32h2", text)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-2)
    x = torch.stack([stream[:, :32], torch.zeros_like(stream[:, :32]), stream[:, 1:]], 1)
    for step in range(200):
        optimizer.zero_grad()
        rows = x[step * 16 : step * 16 + 16]
        method.loss(Batch({"plain": rows[None]}, torch.arange(16)), 0.0).total.backward()
        optimizer.step()
    with torch.no_grad():
        left = method.loss(Batch({"plain": x[3200:][None]}, torch.arange(64)), 0.0).total
    assert 0.97 * rate < float(left) < 1.1 * rate
