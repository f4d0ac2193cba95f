"""GPT and BERT against transformers, and the invariances of a language loss."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from tests.text.sources import batch_of, method_of
from unlabeled.errors import ConfigError
from unlabeled.nn.token_masks import choose_tokens, choose_words, word_starts
from unlabeled.rng import uniform
from unlabeled.types import Batch

GPTS, BERTS = ["hf:gpt2-2x32h2", "hf:llama-2x32h2"], ["hf:bert-2x32h2", "hf:modernbert-2x32h2"]
CASES = [("gpt", name) for name in GPTS] + [("bert", name) for name in BERTS]


def corpus(name: str, bpe: Any, wordpiece: Any) -> Any:
    return wordpiece if "bert-" in name else bpe


def gradients(method: Any, total: Tensor) -> dict[str, Tensor]:
    method.zero_grad()
    total.backward()
    return {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}


def library(method: Any) -> Any:
    """Return transformers' own model with a head on copies of the method's weights."""
    full = copy.deepcopy(method.encoder)._full_model()
    for name, part in method.head.parts.items():
        setattr(full, name, copy.deepcopy(part))
    full.tie_weights()
    full.set_attn_implementation("eager")
    return full


@pytest.mark.parametrize("name", GPTS)
def test_gpt_is_the_librarys_loss_and_gradient(name: str, bpe: Any) -> None:
    method = method_of("gpt", name, bpe[2])
    ids = torch.randint(3, 300, (4, 32))
    x = torch.stack([ids, torch.zeros_like(ids), torch.full_like(ids, -1)], 1)
    x[:, 2, :-1] = ids[:, 1:]
    ours = method.loss(Batch({"plain": x[None]}, torch.arange(4)), 0.0)
    full = library(method)
    theirs = full(input_ids=ids, labels=ids).loss
    torch.testing.assert_close(ours.total, theirs, atol=1e-5, rtol=1e-5)
    grads = gradients(method, ours.total)
    theirs.backward()
    for key, p in full.base_model.named_parameters():
        torch.testing.assert_close(grads[f"encoder.model.{key}"], p.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", BERTS)
def test_bert_is_the_librarys_loss_and_gradient(name: str, wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("bert", name, text)
    batch = batch_of(rows)
    x = batch["plain"][0].clone()
    x[:, 1] = 0  # one document a row, as the library reads it
    batch = Batch({"plain": x[None]}, batch.keys)
    ours = method.loss(batch, 0.0)
    hidden, chosen = method.hide(x, batch.keys)
    labels = torch.where(chosen, x[:, 0], -100)
    full = library(method)
    theirs = full(input_ids=hidden, labels=labels).loss
    torch.testing.assert_close(ours.total, theirs, atol=1e-5, rtol=1e-5)
    grads = gradients(method, ours.total)
    theirs.backward()
    for key, p in full.base_model.named_parameters():
        torch.testing.assert_close(grads[f"encoder.model.{key}"], p.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_first_loss_is_chance_and_every_weight_learns(
    kind: str, name: str, bpe: Any, wordpiece: Any
) -> None:
    rows, _, text, _ = corpus(name, bpe, wordpiece)
    method = method_of(kind, name, text)
    loss = method.loss(batch_of(rows), 0.0)
    assert method.chance(8) == pytest.approx(math.log(text.vocab_size))
    assert loss.total.item() == pytest.approx(method.chance(8), rel=0.03)
    grads = gradients(method, loss.total)
    assert all(
        grads[n].abs().sum() > 0 for n, _ in method.named_parameters() if "key.bias" not in n
    )


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_accumulated_gradients_are_those_of_the_big_batch(
    kind: str, name: str, bpe: Any, wordpiece: Any
) -> None:
    rows, _, text, _ = corpus(name, bpe, wordpiece)
    method = method_of(kind, name, text)
    batch = batch_of(rows)
    x = batch["plain"].clone()
    x[:, 1:4, 1, 10:], x[:, 1:4, 2, 10:] = -1, -1  # rows with few targets
    batch = Batch({"plain": x}, batch.keys)
    whole = method.loss(batch, 0.0)
    expected = gradients(method, whole.total)
    count = sum(float(method.loss(part, 0.0).parts["targets"]) for part in batch.split(1))
    assert count == float(whole.parts["targets"])
    method.zero_grad()
    for part in batch.split(1):
        loss = method.loss(part, 0.0)
        (loss.total * loss.parts["targets"] / count).backward()
    for key, p in method.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(p.grad, expected[key], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("kind", "name"), [CASES[0], CASES[2]])
def test_one_batch_is_learned_by_heart(kind: str, name: str, bpe: Any, wordpiece: Any) -> None:
    rows, _, text, _ = corpus(name, bpe, wordpiece)
    method = method_of(kind, name.replace("2x32h2", "2x64h2"), text)
    x = batch_of(rows, 2)["plain"].clone()
    x[:, :, 1] = 0  # else what begins a document cannot be known
    x[:, 1, 0, 0] = 7
    batch = Batch({"plain": x}, torch.arange(2))
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        loss = method.loss(batch, 0.0).total
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_bf16_changes_little(kind: str, name: str, bpe: Any, wordpiece: Any) -> None:
    rows, _, text, _ = corpus(name, bpe, wordpiece)
    method = method_of(kind, name, text)
    batch = batch_of(rows)
    exact = method.loss(batch, 0.0).total
    expected = gradients(method, exact)
    with torch.autocast("cpu", torch.bfloat16):
        near = method.loss(batch, 0.0).total
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, exact, atol=5e-3, rtol=0)
    found = gradients(method, near)
    both = [torch.cat([g[n].flatten() for n in expected]) for g in (found, expected)]
    assert torch.cosine_similarity(*both, dim=0) > 0.999


def test_noise_is_never_predicted_better_than_chance(bpe: Any) -> None:
    method = method_of("gpt", "hf:gpt2-1x32h2", bpe[2])
    optimizer = torch.optim.AdamW(method.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(100):
        ids = torch.randint(0, 8, (16, 33), generator=generator)
        x = torch.stack([ids[:, :-1], torch.zeros(16, 32, dtype=torch.long), ids[:, 1:]], 1)
        loss = method.loss(Batch({"plain": x[None]}, torch.arange(16)), 0.0).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 == pytest.approx(math.log(8), abs=0.12)
    assert min(losses) > math.log(8) - 0.02


def test_gpt_scores_no_target_across_documents(bpe: Any) -> None:
    rows, _, text, _ = bpe
    method = method_of("gpt", GPTS[0], text)
    batch = batch_of(rows)
    x = batch["plain"][0]
    other = x.clone()
    other[:, 0][other[:, 1] == 0] = 5  # the first document of each row becomes another
    other[:, 2][other[:, 1] == 0] = -1
    x = x.clone()
    x[:, 2][x[:, 1] == 0] = -1
    a, b = (method.loss(Batch({"plain": y[None]}, batch.keys), 0.0) for y in (x, other))
    assert float(a.parts["targets"]) > 0
    torch.testing.assert_close(a.total, b.total)


def test_masks_are_eighty_ten_ten(wordpiece: Any) -> None:
    _, _, text, _ = wordpiece
    method = method_of("bert", BERTS[0], text)
    first = int(method.hiding.ordinary[0])
    ids = torch.full((2000, 40), first)
    ids[:, 0], ids[:, 39] = text.opens[0], text.closes[0]
    x = torch.stack([ids, torch.zeros_like(ids)], 1)
    hidden, chosen = method.hide(x, torch.arange(2000) * 31)
    assert chosen.sum(1).unique().tolist() == [6]  # round(38 * 0.15)
    assert not chosen[:, [0, 39]].any()
    torch.testing.assert_close(hidden[~chosen], ids[~chosen])
    got = hidden[chosen]
    masked = (got == text.mask_id).sum().item()
    kept = (got == first).sum().item()
    swapped = len(got) - masked - kept
    expected = torch.tensor([0.8, 0.1, 0.1]) * len(got)
    observed = torch.tensor([masked, kept, swapped], dtype=torch.float)
    assert ((observed - expected) ** 2 / expected).sum() < 13.8  # chi-square, 2 degrees, 0.1 %
    drawn = got[(got != text.mask_id)]
    assert not torch.isin(drawn, torch.tensor(list(text.special_ids))).any()
    assert len(drawn.unique()) > 0.9 * len(method.hiding.ordinary)
    where = chosen.float().mean(0)[1:39]
    assert (where - 6 / 38).abs().max() < 0.04


def test_masks_do_not_depend_on_the_batch(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("bert", BERTS[0], text)
    batch = batch_of(rows)
    x = batch["plain"][0]
    whole, _ = method.hide(x, batch.keys)
    alone, _ = method.hide(x[5:6], batch.keys[5:6])
    torch.testing.assert_close(whole[5:6], alone)
    other, _ = method.hide(x, batch.keys + 1)
    assert not torch.equal(whole, other)


def test_every_row_has_a_target_and_no_nan() -> None:
    free = torch.zeros(5, 40, dtype=torch.bool)
    free[0, 3] = free[1, :2] = free[2, :10] = free[3] = True
    chosen = choose_tokens(uniform(torch.arange(5), 40), free, 0.15)
    assert chosen.sum(1).tolist() == [1, 1, 2, 6, 0]
    assert not (chosen & ~free).any()


def test_a_batch_without_targets_costs_nothing(wordpiece: Any) -> None:
    _, _, text, _ = wordpiece
    method = method_of("bert", BERTS[0], text)
    ids = torch.full((2, 32), text.opens[0])
    x = torch.stack([ids, torch.zeros_like(ids)], 1)
    loss = method.loss(Batch({"plain": x[None]}, torch.arange(2)), 0.0)
    assert loss.total.item() == 0


def test_whole_words_are_hidden_together() -> None:
    torch.manual_seed(0)
    begins = torch.rand(64, 60) < 0.5
    free = torch.ones_like(begins)
    free[:, [0, 20, 59]] = False
    documents = (torch.arange(60) >= 20).long().expand(64, 60)
    starts = word_starts(begins, free, documents)
    chosen = choose_words(uniform(torch.arange(64), 60), free, starts, 0.15)
    assert (chosen.sum(1) >= 1).all()
    assert chosen.sum(1).float().mean() > 7
    starts = begins | ~free
    starts[:, 0] = starts[:, 20] = True
    word = starts.cumsum(1)
    for row in range(64):
        for number in word[row].unique():
            inside = chosen[row][(word[row] == number) & free[row]]
            assert inside.all() or not inside.any()


@pytest.mark.parametrize("corpus_name", ["wordpiece", "bpe"])
def test_whole_words_agree_with_the_tokenizer(
    corpus_name: str, request: pytest.FixtureRequest
) -> None:
    text = request.getfixturevalue(corpus_name)[2]
    encoding = text.tokenizer.backend_tokenizer.encode(
        "the moonriver stonecloud, zzz sunstar! treeleaf", add_special_tokens=False
    )
    ids = torch.tensor(encoding.ids)
    edges = text.word_edges()
    begins = edges[0][ids]
    begins[1:] |= ~edges[1][ids[:-1]]
    begins[0] = True
    words = encoding.word_ids
    expected = [i == 0 or words[i] != words[i - 1] for i in range(len(words))]
    assert begins.tolist() == expected


def test_loss_changes_no_state(bpe: Any, wordpiece: Any) -> None:
    for kind, name in CASES:
        rows, _, text, _ = corpus(name, bpe, wordpiece)
        method = method_of(kind, name, text)
        before = {k: v.clone() for k, v in method.state_dict().items()}
        first = method.loss(batch_of(rows), 0.0).total
        torch.testing.assert_close(method.loss(batch_of(rows), 0.9).total, first)
        assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())


def test_wrong_pairs_are_refused_with_what_would_work(bpe: Any, tmp_path: Any) -> None:
    text = copy.copy(bpe[2])
    with pytest.raises(ConfigError, match="hf:gpt2-mini"):
        method_of("gpt", BERTS[0], text)
    with pytest.raises(ConfigError, match="hf:bert-mini"):
        method_of("bert", GPTS[0], text)
    text.mask_id = None
    with pytest.raises(ConfigError, match="needs a mask token"):
        method_of("bert", BERTS[0], text)


def test_transformers_writes_where_the_tokenizer_ends(bpe: Any) -> None:
    method = method_of("gpt", GPTS[0], bpe[2])
    assert method.encoder.model.config.eos_token_id == bpe[2].eos_id
    assert isinstance(library(method), transformers.GPT2LMHeadModel)
