"""T5, BART and TSDAE: the library's numbers, and no document knows of another."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from tests.text.sources import batch_of, method_of, prepared
from unlabeled.encoders import hub_folder, language
from unlabeled.errors import ConfigError
from unlabeled.nn import pairs
from unlabeled.nn.guesses import Guess
from unlabeled.types import Batch

STACKS = ["hf:t5-2x32h2", "hf:bart-2x32h2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("pairs")
    return prepared(folder, "bpe", edge="both", sentinels=12, vocab_size=340)


def made(method: Any, batch: Batch) -> pairs.Pairs:
    change = method.corrupt if hasattr(method, "corrupt") else method.spoil
    return pairs.make(batch["plain"][0], batch.keys, change, method.edges)


@pytest.mark.parametrize(("name", "stack"), list(itertools.product(["t5", "bart"], STACKS)))
def test_packed_loss_is_the_librarys_on_documents_alone(
    name: str, stack: str, corpus: Any, tmp_path: Path
) -> None:
    rows, _, text, _ = corpus
    method = method_of(name, stack, text)
    for parameter in method.parameters():  # so that attention is far from uniform
        if parameter.ndim > 1 and "t5" not in stack:
            parameter.data.mul_(3)
    batch = batch_of(rows)
    found = made(method, batch)
    method.encoder.save(tmp_path)
    with hub_folder.quiet():
        full = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    nats = []
    for source, inputs, targets in zip(found.source, found.inputs, found.targets, strict=True):
        for number in range(int(source[1].max()) + 1):
            read, written = source[1] == number, inputs[1] == number
            if not read.any():
                continue
            labels = targets[written]
            shifted = full.prepare_decoder_input_ids_from_labels(labels[None])
            assert torch.equal(shifted[0], inputs[0, written])
            logits = full(
                input_ids=source[0, read][None], decoder_input_ids=inputs[0, written][None]
            ).logits[0]
            nats.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))
    expected = torch.cat(nats)
    loss = method.loss(batch, 0.0)
    assert float(loss.parts["targets"]) == len(expected)
    torch.testing.assert_close(loss.total, expected.mean(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["t5", "bart", "tsdae"])
def test_a_document_does_not_change_another(name: str, corpus: Any) -> None:
    rows, _, text, _ = corpus
    method = method_of(name, "hf:bert-2x32h2" if name == "tsdae" else f"hf:{name}-2x32h2", text)
    batch = batch_of(rows)
    x = batch["plain"][0]
    row = next(i for i in range(len(x)) if x[i, 1].max() >= 1)
    other = x.clone()
    second = other[row, 1] == 1
    ordinary = second & ~torch.isin(other[row, 0], torch.tensor(list(text.special_ids)))
    other[row, 0, ordinary] = 20
    scores = [
        method.scores(Batch({"plain": y[None, row : row + 1]}, batch.keys[row : row + 1])).nats
        for y in (x, other)
    ]
    first = [
        int((made(method, Batch({"plain": y[None]}, batch.keys)).inputs[row, 1] == 0).sum())
        for y in (x, other)
    ]
    assert first[0] == first[1]
    torch.testing.assert_close(scores[0][: first[0]], scores[1][: first[0]], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("target", "length"), [("spans", 5), ("text", 13), ("dropped", 3)])
def test_t5_writes_each_form_of_target(target: str, length: int, corpus: Any) -> None:
    text = corpus[2]
    method = method_of("t5", STACKS[0], text, target=target, mask_ratio=0.25)
    ids = np.arange(30, 42)
    source, written = method.corrupt(ids, np.random.Generator(np.random.Philox(key=1)))
    hidden = ids[np.isin(ids, source, invert=True)]
    assert len(hidden) == 3
    kept = set(ids) - set(hidden)
    if target == "spans":
        assert [i for i in written if i in ids] == hidden.tolist()
        assert written[0] == text.sentinel_ids[0]
        assert source.tolist().count(text.sentinel_ids[0]) == 1
    elif target == "text":
        assert written.tolist() == ids.tolist()
    else:
        assert written.tolist() == hidden.tolist()
        assert set(source) == kept


def test_both_sides_end_and_begin_as_the_tokenizer_says(corpus: Any) -> None:
    rows, _, text, _ = corpus
    assert text.opens == text.closes == [text.eos_id]
    method = method_of("t5", STACKS[0], text)
    found = made(method, batch_of(rows))
    for source, inputs, targets in zip(found.source, found.inputs, found.targets, strict=True):
        for number in range(int(source[1].max()) + 1):
            assert source[0, source[1] == number][-1] == text.eos_id
            assert targets[inputs[1] == number][-1] == text.eos_id
            assert inputs[0, inputs[1] == number][0] == text.pad_id
    assert (found.source[:, 0][found.source[:, 1] < 0] == text.pad_id).all()


def test_pairs_do_not_depend_on_the_batch(corpus: Any) -> None:
    rows, _, text, _ = corpus
    method = method_of("bart", STACKS[1], text)
    batch = batch_of(rows)
    whole = made(method, batch)
    alone = made(method, list(batch.split(1))[5])
    width = alone.source.shape[2]
    torch.testing.assert_close(whole.source[5:6, :, :width], alone.source)
    other = made(method, Batch(batch.views, batch.keys + 1))
    assert other.source.shape != whole.source.shape or not torch.equal(other.source, whole.source)


@pytest.mark.parametrize("name", ["t5", "bart", "tsdae"])
def test_accumulated_gradients_are_those_of_the_big_batch(name: str, corpus: Any) -> None:
    rows, _, text, _ = corpus
    method = method_of(name, "hf:bert-1x32h2" if name == "tsdae" else f"hf:{name}-1x32h2", text)
    batch = batch_of(rows)
    whole = method.loss(batch, 0.0)
    whole.total.backward()
    expected = {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
    method.zero_grad()
    for part in batch.split(3):
        loss = method.loss(part, 0.0)
        (loss.total * loss.parts["targets"] / whole.parts["targets"]).backward()
    for n, p in method.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(p.grad, expected[n], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["t5", "bart", "tsdae"])
def test_one_batch_is_learned_by_heart(name: str, corpus: Any) -> None:
    rows, _, text, _ = corpus
    method = method_of(name, "hf:bert-1x64h2" if name == "tsdae" else f"hf:{name}-1x64h2", text)
    batch = batch_of(rows, 2)
    optimizer = torch.optim.AdamW(method.parameters(), lr=5e-3)
    for _ in range(100):
        optimizer.zero_grad()
        loss = method.loss(batch, 0.0).total
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    assert method.scores(batch).right.float().mean() > 0.99


@pytest.mark.parametrize("stack", STACKS)
def test_folder_opens_in_transformers_and_here(stack: str, corpus: Any, tmp_path: Path) -> None:
    rows, _, text, _ = corpus
    method = method_of("t5", stack, text).eval()
    x = batch_of(rows, 1)["plain"][0].clone()
    x[:, 1] = 0
    method.encoder.save(tmp_path)
    with hub_folder.quiet():
        bare = transformers.AutoModel.from_pretrained(tmp_path).eval()
    features = bare.get_encoder()(input_ids=x[:, 0]).last_hidden_state.mean(1)
    torch.testing.assert_close(method.encoder(x), features, atol=1e-6, rtol=1e-5)
    assert bare.config.decoder_start_token_id == (text.pad_id if "t5" in stack else text.eos_id)
    back = language.load(tmp_path, head=True).eval()
    torch.testing.assert_close(back(x), features, atol=1e-6, rtol=1e-5)
    tokens = method.encoder.decode(x, x)[0]
    torch.testing.assert_close(back.add_head()(tokens), method.head(tokens))


def _logits(guess: Guess) -> Tensor:
    return guess.head(guess.tokens)


def test_tsdae_sees_the_vector_alone(corpus: Any) -> None:
    """With equal vectors, two spoiled texts give the same guesses."""
    text = corpus[2]
    method = method_of("tsdae", "hf:bert-1x32h2", text).eval()
    inputs = torch.stack([torch.arange(10, 18), torch.zeros(8, dtype=torch.long)])[None]
    where = torch.ones(8, dtype=torch.bool)
    vector = torch.randn(1, 1, 32)
    logits = _logits(method.reader(method.encoder, vector, inputs, where))
    changed = _logits(method.reader(method.encoder, vector + 1, inputs, where))
    assert (logits - changed).abs().amax(-1).min() > 1e-4  # at every place, by cross-attention
    later = inputs.clone()
    later[0, 0, 5] = 40
    same = _logits(method.reader(method.encoder, vector, later, where))
    torch.testing.assert_close(same[:5], logits[:5])


def test_wrong_tokenizers_and_stacks_are_refused(corpus: Any, bpe: Any) -> None:
    with pytest.raises(ConfigError, match=r"modality\.sentinels=100"):
        method_of("t5", STACKS[0], bpe[2])
    with pytest.raises(ConfigError, match="hf:t5-mini"):
        method_of("bart", "hf:bert-1x32h2", corpus[2])
    with pytest.raises(ConfigError, match="hf:bert-mini"):
        method_of("bert", STACKS[0], corpus[2])
    text = copy.copy(corpus[2])
    text.mask_id = None
    with pytest.raises(ConfigError, match="needs a mask token"):
        method_of("bart", STACKS[1], text)


def test_ul2_draws_seven_denoisers_and_loses_nothing(corpus: Any) -> None:
    """Table 1 of the paper: modes, shares of noise, and spans of 64 on long documents."""
    from collections import defaultdict

    _, _, text, _ = corpus
    method = method_of("ul2", "hf:t5-1x32h2", text)
    ids = np.arange(1000, 1400)
    marks = {int(number): mode for mode, number in method.modes.items()}
    assert not set(marks) & set(method.sentinels.tolist())
    shares, counts = defaultdict(list), defaultdict(int)
    for seed in range(700):
        source, target = method.corrupt(ids, np.random.default_rng(seed))
        mode, source = marks[int(source[0])], source[1:]
        hidden = target[target >= 1000]
        assert sorted([*source[source >= 1000], *hidden]) == ids.tolist()
        if mode == "S":
            assert hidden.tolist() == ids[300:].tolist()
        counts[mode] += 1
        shares[mode].append(round(len(hidden) / 400, 2))
    assert counts["R"] / 700 == pytest.approx(2 / 7, abs=0.06)
    assert counts["S"] / 700 == pytest.approx(1 / 7, abs=0.05)
    assert set(shares["R"]) == {0.15}
    assert set(shares["S"]) == {0.25}
    assert set(shares["X"]) == {0.15, 0.5}
