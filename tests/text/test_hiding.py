"""What is hidden together, in which script, and what a generator puts in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.text.sources import batch_of, method_of, prepared, stories
from unlabeled.modalities import tokenizer as tokenizers
from unlabeled.nn.hiding import sample, shuffle
from unlabeled.nn.token_masks import (
    choose_spans,
    choose_words,
    geometric_lengths,
    harmonic_lengths,
    word_starts,
)
from unlabeled.rng import uniform


def rows(count: int = 200, length: int = 60) -> tuple[torch.Tensor, ...]:
    """Return what may be chosen, where words start, and documents."""
    generator = torch.Generator().manual_seed(0)
    begins = torch.rand(count, length, generator=generator) < 0.6
    free = torch.ones_like(begins)
    free[:, [0, 25, length - 1]] = False
    documents = (torch.arange(length) >= 25).long().expand(count, length)
    return free, word_starts(begins, free, documents), documents


@pytest.mark.parametrize("longest", [3, 10])
def test_runs_are_whole_words_within_the_budget(longest: int) -> None:
    free, starts, documents = rows()
    keys = torch.arange(len(free)) * 17
    lengths = geometric_lengths(uniform(keys, 60, salt=1), 0.2, longest)
    runs = choose_spans(uniform(keys, 60), lengths, free, starts, documents, 0.15)
    budget = round(57 * 0.15)
    assert (runs > 0).sum(1).min() >= 1
    assert (runs > 0).sum(1).float().mean() > budget - 1
    assert not ((runs > 0) & ~free).any()
    word = starts.cumsum(1)
    for row in range(40):
        first = runs[row][runs[row] > 0].min()
        assert (runs[row] > 0).sum() <= max(budget, int((runs[row] == first).sum()))
        for number in runs[row].unique().tolist():
            if number:
                places = (runs[row] == number).nonzero().flatten()
                assert (places.diff() == 1).all()  # without a gap
                assert documents[row, places].unique().numel() == 1
                inside = torch.isin(word[row], word[row, places]) & free[row]
                assert torch.equal(inside.nonzero().flatten(), places)  # whole words
                assert word[row, places].unique().numel() <= int(lengths[row, places[0]])


def test_a_first_word_beyond_the_budget_is_kept_alone() -> None:
    free = torch.ones(1, 10, dtype=torch.bool)
    starts = torch.zeros_like(free)
    starts[0, [0, 5]] = True
    documents = torch.zeros(1, 10, dtype=torch.long)
    noise, lengths = torch.rand(1, 10), torch.full((1, 10), 2)
    runs = choose_spans(noise, lengths, free, starts, documents, 0.1)
    assert (runs > 0).sum() == 5
    assert (choose_words(noise, free, starts, 0.1)).sum() == 5


def test_lengths_have_the_papers_distributions() -> None:
    noise = (torch.arange(100_000) + 0.5)[None] / 100_000
    spans = geometric_lengths(noise, 0.2, 10).float()
    assert spans.mean().item() == pytest.approx(3.8, abs=0.02)  # SpanBERT, section 3.1
    ngrams = harmonic_lengths(noise, 3)
    shares = [(ngrams == n).float().mean().item() for n in (1, 2, 3)]
    assert shares == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=1e-4)


@pytest.mark.parametrize("unit", ["word", "ngram", "span"])
def test_bert_hides_units(unit: str, wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("bert", "hf:bert-1x32h2", text, unit=unit, mask=0.5, random=0.0)
    batch = batch_of(rows)
    hidden, chosen = method.hide(batch["plain"][0], batch.keys)
    assert chosen.any(1).all()
    assert method.loss(batch, 0.0).total.isfinite()
    if unit == "span":  # a span is masked whole or left whole
        masked = hidden == text.mask_id
        together = (chosen[:, 1:] & chosen[:, :-1]).sum()
        alike = (chosen[:, 1:] & chosen[:, :-1] & (masked[:, 1:] == masked[:, :-1])).sum()
        assert alike > 0.8 * together  # two spans may touch


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "byte"])
def test_every_token_of_an_unspaced_script_is_a_word(kind: str) -> None:
    sentences = ["the river runs. 漢字仮名交文 ok", "カタカナとひらがな sun", "moon 漢字漢字"]
    tokenizer = tokenizers.train(kind, [*stories(), *sentences * 9], 700, 32)
    folder = Path(__file__).parent  # never opened: the tokenizer is put in its place
    text = _text(tokenizer, folder)
    (ids,) = text.encode(["漢字仮名 moon"])
    edges, ids = text.word_edges(), torch.tensor(ids)
    begins = edges[0][ids]
    begins[1:] |= ~edges[1][ids[:-1]]
    letters = {"wordpiece": 4, "byte": 4}.get(kind)
    before = int((ids == ids[-4]).nonzero()[0]) if kind == "byte" else len(ids)
    count = int(begins[:before].sum())
    if letters is not None:
        assert count >= letters
    else:
        assert count >= 3


def _text(tokenizer: Any, folder: Path) -> Any:
    from unlabeled.config import TextConfig
    from unlabeled.modalities.text import Text

    class Given(Text):
        tokenizer = property(lambda self: _open(tokenizer))  # type: ignore[assignment]

    return Given(TextConfig(), folder)


def _open(tokenizer: Any) -> Any:
    tokenizer.backend_tokenizer.encode_special_tokens = True
    return tokenizer


def test_samples_follow_the_softmax() -> None:
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0]).expand(20_000, 4)
    drawn = sample(logits.bfloat16(), uniform(torch.arange(20_000), 1)[:, 0])
    observed = torch.bincount(drawn, minlength=4).double()
    expected = logits[0].double().softmax(0) * 20_000
    assert ((observed - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 degrees, 0.1 %


def test_shuffling_stays_in_the_document() -> None:
    ids = torch.arange(40).expand(50, 40)
    documents = (torch.arange(40) >= 15).long().expand(50, 40)
    chosen = uniform(torch.arange(50), 40) < 0.5
    found = shuffle(ids, documents, chosen, uniform(torch.arange(50), 40, salt=1))
    assert torch.equal(found[~chosen], ids[~chosen])
    assert torch.equal(found.sort(1).values, ids)
    assert torch.equal((found >= 15), documents.bool())
    assert (found != ids)[chosen].float().mean() > 0.7


def test_memory_of_special_tokens_is_in_the_tokenizer(tmp_path: Path) -> None:
    text = prepared(tmp_path, "bpe", edge="after", sentinels=5, infill=True)[2]
    assert text.vocab_size == 320
    assert text.opens == []
    assert text.closes == [text.eos_id]
    assert text.sentinel_ids == [319, 318, 317, 316, 315]  # as T5's: the first is the last
    assert text.tokenizer.convert_ids_to_tokens(text.infill_ids) == list(tokenizers.INFILL)
    assert set(text.sentinel_ids + text.infill_ids) <= set(text.special_ids)
    assert text.encode_documents(["sun"])[0, 0, -1] == text.eos_id
    (ids,) = text.encode(["<extra_id_0>"])  # in a document it is text
    assert not set(ids) & set(text.special_ids)


def test_a_given_tokenizer_gets_what_is_missing(tmp_path: Path) -> None:
    given = tokenizers.train("bpe", stories(), 300, 32)
    given.save_pretrained(str(tmp_path / "given"))
    text = prepared(tmp_path / "run", str(tmp_path / "given"), sentinels=3)[2]
    assert len(text.sentinel_ids) == 3
    assert text.vocab_size == len(given) + 3
    assert np.array(text.sentinel_ids).max() == text.vocab_size - 1
