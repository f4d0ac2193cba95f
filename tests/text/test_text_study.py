"""Cost of text, memorisation and minimal pairs, against plain loops and the library's models."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.text.sources import method_of
from unlabeled.errors import UsageError
from unlabeled.transfer import copied, minimal_pairs
from unlabeled.transfer.strided import strided, windows


@pytest.fixture(scope="module")
def gpt(bpe: Any) -> Any:
    method = method_of("gpt", "hf:llama-2x32h2", bpe[2])
    for parameter in method.parameters():  # so that context matters
        parameter.data.mul_(1 + 2 * (parameter.ndim > 1))
    return method.eval()


@pytest.fixture(scope="module")
def library(gpt: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("library")
    gpt.encoder.save(folder)
    return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


def documents(rows: Any) -> list[Any]:
    ends = [*rows.starts[1:], rows.num_tokens]
    return [rows.ids[a:b].astype(np.int64) for a, b in zip(rows.starts, ends, strict=True)]


@pytest.mark.parametrize(("context", "stride"), [(16, 15), (16, 5), (32, 16), (7, 1)])
def test_windows_score_every_token_once(context: int, stride: int) -> None:
    for length in (1, 2, 6, 7, 31, 32, 33, 100):
        scored = [
            t for _, end, first in windows(length, context, stride) for t in range(first, end)
        ]
        assert scored == list(range(1, length))
        for begin, end, first in windows(length, context, stride):
            assert end - begin <= context
            assert first - begin >= min(first, context - stride) >= 1


@pytest.mark.parametrize(("context", "stride"), [(16, 15), (16, 6)])
def test_strided_perplexity_is_the_loop_of_the_library(
    context: int, stride: int, gpt: Any, library: Any, bpe: Any
) -> None:
    _, held, text, _ = bpe
    texts = documents(held)
    found = strided(gpt.encoder, texts, held.num_bytes, text.special_ids, context, stride)
    total, count = 0.0, 0
    for ids in texts:  # as in transformers' guide to perplexity
        before = 0
        for begin in range(0, len(ids), stride):
            end = min(begin + context, len(ids))
            target = torch.tensor(ids[None, begin:end]).clone()
            target[:, : begin + len(target[0]) - end + max(before - begin, 0)] = -100
            scored = int((target[0, 1:] >= 0).sum())
            if scored:
                with torch.no_grad():
                    loss = library(torch.tensor(ids[None, begin:end]), labels=target).loss
                total, count = total + float(loss) * scored, count + scored
            before = end
            if end == len(ids):
                break
    assert found["targets"] == count
    assert found["nats_per_token"] == pytest.approx(total / count, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-4)
    bits = total / count * (held.num_tokens - len(texts)) / math.log(2) / held.num_bytes
    assert found["bits_per_byte"] == pytest.approx(bits, rel=1e-5)


def test_windows_that_cannot_be_are_said(bpe: Any) -> None:
    encoder = method_of("gpt", "hf:gpt2-1x32h2", bpe[2]).encoder
    with pytest.raises(UsageError, match="2 to 32"):
        strided(encoder, [], 0, (), 64, 8)
    with pytest.raises(UsageError, match="without any context"):
        strided(encoder, [], 0, (), 16, 16)


def test_shared_ngrams_are_those_of_a_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copied, "CHUNK", 97)  # so that passages cross the borders of parts
    draws = np.random.default_rng(0)
    train = draws.integers(0, 5, 2000)
    texts = [draws.integers(0, 5, 50) for _ in range(5)]
    texts[3][10:30] = train[85:105]
    for n in (1, 2, 3, 5, 7, 16, 20, 21):
        known = {tuple(train[i : i + n]) for i in range(len(train) - n + 1)}
        plain = [[tuple(t[i : i + n]) in known for i in range(len(t) - n + 1)] for t in texts]
        assert [one.tolist() for one in copied.seen(train, texts, n)] == plain
    size, passage = copied.longest(train, texts)
    assert size >= 20
    assert tuple(passage) in {tuple(train[i : i + size]) for i in range(len(train))}
    assert not any(one.any() for one in copied.seen(train, texts, size + 1))


def test_a_model_that_recites_is_told_from_one_that_does_not(gpt: Any, bpe: Any) -> None:
    rows, held, text, _ = bpe
    found = copied.copied(gpt.encoder, text, rows, held)
    assert found["tokens"] > 0
    assert "It recites" not in " ".join(copied.words(found))
    found["generated"]["shares"]["16"] = 0.5
    assert "It recites" in " ".join(copied.words(found))


SENTENCES = ["3 sun moon river.", "sun", "snow sand leaf bird"]


def test_likelihood_is_the_librarys(gpt: Any, library: Any, bpe: Any) -> None:
    text = bpe[2]
    found = minimal_pairs.likelihoods(gpt.encoder, text, SENTENCES, "fp32")
    for sentence, value in zip(SENTENCES, found, strict=True):
        ids = torch.tensor([[*text.opens, *text.encode([sentence])[0]]])
        with torch.no_grad():
            loss = library(ids, labels=ids).loss
        assert value == pytest.approx(-float(loss) * (ids.shape[1] - 1), rel=1e-5)


def test_pseudo_likelihood_hides_one_token_at_a_time(wordpiece: Any, tmp_path: Path) -> None:
    text = wordpiece[2]
    method = method_of("bert", "hf:bert-2x32h2", text).eval()
    method.encoder.save(tmp_path)
    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    found = minimal_pairs.likelihoods(method.encoder, text, SENTENCES, "fp32")
    for sentence, value in zip(SENTENCES, found, strict=True):
        ids, total = torch.tensor(text.tokenizer(sentence).input_ids), 0.0
        for place in range(1, len(ids) - 1):
            hidden = ids.clone()
            hidden[place] = text.mask_id
            with torch.no_grad():
                logits = model(hidden[None]).logits[0, place]
            total += float(logits.log_softmax(-1)[ids[place]])
        assert value == pytest.approx(total, rel=1e-4)


def test_ties_count_half() -> None:
    same = np.zeros(10)
    found = minimal_pairs.accuracy(same, same)
    assert (found["accuracy"], found["ties"]) == (0.5, 10)
    won = minimal_pairs.accuracy(np.ones(8), np.zeros(8))  # Wilson: n / (n + z^2)
    assert won["low"] == pytest.approx(8 / (8 + 1.959964**2), rel=1e-6)
    assert won["high"] == pytest.approx(1.0)


def test_a_table_of_characters_prefers_what_it_counted() -> None:
    found = minimal_pairs.by_ngrams("the cat sits. " * 50, ["the cat sits", "the cat sist"])
    assert found[0] > found[1]
    again = minimal_pairs.by_ngrams("the cat sits. " * 50, ["the cat sist", "the cat sits"])
    assert found[0] == pytest.approx(again[1], rel=1e-3)


def test_tables_of_pairs(tmp_path: Path) -> None:
    (tmp_path / "blimp.jsonl").write_text(
        "\n".join(json.dumps({"sentence_good": "a b", "sentence_bad": "b a", "UID": "order"})
                  for _ in range(3))
    )  # fmt: skip
    pairs = minimal_pairs.read(tmp_path / "blimp.jsonl")
    assert (pairs.good, pairs.groups) == (["a b"] * 3, ["order"] * 3)
    (tmp_path / "bad.csv").write_text("one,two\n1,2\n")
    with pytest.raises(UsageError, match="good,bad"):
        minimal_pairs.read(tmp_path / "bad.csv")
    (tmp_path / "empty.csv").write_text("good,bad\nx,y\nx,\n")
    with pytest.raises(UsageError, match="Pair 2"):
        minimal_pairs.read(tmp_path / "empty.csv")


def test_groups_and_unknown_tokens_are_told(wordpiece: Any) -> None:
    text = wordpiece[2]
    method = method_of("bert", "hf:bert-1x32h2", text).eval()
    pairs = minimal_pairs.Pairs(["sun moon", "sun"], ["moon sun", "☃"], ["a", "b"])
    found = minimal_pairs.judge(method.encoder, text, pairs, "sun moon " * 30, "fp32")
    assert set(found["groups"]) == {"a", "b"}
    assert found["unknown"] == 1
    assert "pseudo-likelihood" in minimal_pairs.words(found)[0]
