"""Writing and filling: caches, sampling rules, stops, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.text.sources import batch_of, method_of, prepared
from unlabeled.config import TextConfig
from unlabeled.errors import UsageError
from unlabeled.generate import Sampling, Writer, _draw, fill, generate
from unlabeled.transfer.text_scores import evaluate_tokens


def stand_in(folder: Path, method: str, text: Any) -> Any:
    """Return what generate asks of a run."""
    config = SimpleNamespace(method={"name": method}, modality=text.config)
    return SimpleNamespace(folder=folder, config=config, modality=lambda: text)


def trained(name: str, encoder: str, corpus: Any, steps: int = 60) -> Any:
    rows, _, text, _ = corpus
    method = method_of(name, encoder, text)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-2)
    for step in range(steps):
        optimizer.zero_grad()
        method.loss(batch_of(rows, 8, (step * 8) % (len(rows) - 8), step), 0.0).total.backward()
        optimizer.step()
    return method.eval()


@pytest.fixture(scope="module")
def gpt(bpe: Any) -> Any:
    return trained("gpt", "hf:gpt2-2x32h2", bpe)


@pytest.mark.parametrize("encoder", ["hf:gpt2-2x32h2", "hf:llama-2x32h2"])
def test_cache_changes_nothing_even_past_the_window(encoder: str, bpe: Any) -> None:
    method = trained("gpt", encoder, bpe, 10)
    rows = [[0, 5, 9], [0, 7, 30, 31, 8, 9], [0]]
    texts = []
    for cache in (True, False):
        writer = Writer(method.encoder, bpe[2], limit=16, cache=cache)
        texts.append(writer.write(rows, 40, Sampling(1.0), seed=3))
    assert texts[0] == texts[1]
    assert max(map(len, texts[0])) > 16


def test_neighbours_in_a_batch_change_nothing(gpt: Any, bpe: Any) -> None:
    writer = Writer(gpt.encoder, bpe[2], limit=32)
    together = writer.write([[0, 5], [0, 9, 12, 40, 41]], 12, Sampling(0.0))
    alone = [writer.write([row], 12, Sampling(0.0))[0] for row in ([0, 5], [0, 9, 12, 40, 41])]
    assert together == alone


def test_prefilled_logits_are_those_of_training(gpt: Any, bpe: Any) -> None:
    writer = Writer(gpt.encoder, bpe[2], limit=32)
    ids = torch.tensor([[0, 5, 9, 30]])
    logits, _ = writer._next(ids, torch.ones_like(ids), None)
    with torch.no_grad():
        x = torch.stack([ids, torch.zeros_like(ids)], 1)
        expected = gpt.head(gpt.encoder.tokens(x)[:, -1])
    allowed = ~writer.banned
    torch.testing.assert_close(logits[:, allowed], expected[:, allowed], atol=1e-5, rtol=1e-5)


def test_unused_and_special_ids_are_never_written(bpe: Any) -> None:
    method = method_of("gpt", "hf:gpt2-2x32h2", bpe[2])
    text = bpe[2]
    writer = Writer(method.encoder, text, limit=32)
    writer.banned[text.eos_id] = True
    ids = writer.write([[0]] * 20, 30, Sampling(5.0))
    assert not set(np.unique(ids)) & set(text.special_ids)


def test_sampling_rules() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.07, 0.03]]).log()
    assert Sampling(0.0).shares(logits).tolist() == [[1, 0, 0, 0, 0]]
    torch.testing.assert_close(Sampling(1.0).shares(logits), logits.exp())
    kept = lambda **rules: int((Sampling(1.0, **rules).shares(logits) > 0).sum())  # noqa: E731
    assert kept(top_k=2) == 2
    assert kept(top_p=0.7) == 2
    assert kept(top_p=0.76) == 3
    assert kept(top_p=0.01) == 1
    assert kept(min_p=0.29) == 3
    sharp = Sampling(0.5).shares(logits)
    torch.testing.assert_close(sharp, logits.exp() ** 2 / (logits.exp() ** 2).sum())


def test_draws_follow_the_probabilities() -> None:
    shares = torch.tensor([[0.0, 0.5, 0.3, 0.2, 0.0]]).expand(20_000, 5)
    uniform = torch.arange(20_000) / 20_000
    counts = torch.bincount(_draw(shares, uniform), minlength=5) / 20_000
    torch.testing.assert_close(counts, shares[0], atol=1e-3, rtol=0)
    assert _draw(torch.tensor([[0.5, 0.4999999, 0.0]]), torch.tensor([0.99999999])).item() == 1


def test_text_goes_on_from_the_prompt(gpt: Any, bpe: Any, tmp_path: Path) -> None:
    gpt.encoder.save(tmp_path / "encoder")
    run = stand_in(tmp_path, "gpt", bpe[2])
    prompts = ["3 sun moon", ""]
    texts = generate(run, prompts, max_tokens=20, temperature=0.0, seed=1)
    assert all(text.startswith(prompt) for text, prompt in zip(texts, prompts, strict=True))
    assert len(texts[0]) > len(prompts[0])
    assert generate(run, prompts[0], max_tokens=20, temperature=0.0) == texts[:1]
    word = texts[0].removeprefix(prompts[0]).split()[1]
    short = generate(run, prompts[0], max_tokens=20, temperature=0.0, stop=word)[0]
    assert word not in short.removeprefix(prompts[0])
    with pytest.raises(UsageError, match="does not fill"):
        fill(run, "sun ___")


def test_unknown_characters_in_a_prompt_are_named(tmp_path: Path) -> None:
    corpus = prepared(tmp_path, "char", ["abc abc cab " * 40], held_out=0.1)
    method_of("gpt", "hf:gpt2-1x32h2", corpus[2]).encoder.save(tmp_path / "encoder")
    with pytest.raises(UsageError, match="'é'"):
        generate(stand_in(tmp_path, "gpt", corpus[2]), "café")


def test_masks_are_filled(wordpiece: Any, tmp_path: Path) -> None:
    method = trained("bert", "hf:bert-2x32h2", wordpiece, 20)
    method.encoder.save(tmp_path / "encoder")
    run = stand_in(tmp_path, "bert", wordpiece[2])
    found = fill(run, "sun [MASK] river ___.", count=3)
    assert [len(guesses) for guesses in found] == [3, 3]
    assert all(0 < share <= 1 for guesses in found for _, share in guesses)
    with pytest.raises(UsageError, match="nothing to guess"):
        fill(run, "sun moon")


def test_bits_per_byte_count_every_byte_once(gpt: Any, bpe: Any) -> None:
    _, held, text, _ = bpe
    found = evaluate_tokens(gpt, held, batch_size=3)
    assert found == pytest.approx(evaluate_tokens(gpt, held, batch_size=64), rel=1e-5)
    ordinary = int((~np.isin(held.ids, text.special_ids)).sum())
    assert found["targets"] == ordinary
    bits = found["nats_per_token"] * ordinary / np.log(2) / held.num_bytes
    assert found["bits_per_byte"] == pytest.approx(bits)
    assert found["nats_per_token"] < 5


def test_masks_are_frozen_in_evaluation(wordpiece: Any) -> None:
    _, held, _, _ = wordpiece
    method = method_of("bert", "hf:bert-2x32h2", wordpiece[2])
    found = evaluate_tokens(method, held, batch_size=5)
    assert found == pytest.approx(evaluate_tokens(method, held, batch_size=64), rel=1e-5)
    assert "bits_per_byte" not in found
    assert found["pseudo_bits_per_byte"] > 0
    assert isinstance(wordpiece[2].config, TextConfig)
