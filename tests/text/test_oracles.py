"""The published rules of other programs, restated as numbers: BERT's masks, windows, packing.

Which figure of ours stands against which program is a table in docs/language.md; a test below
holds that table to tests that exist.
"""

from __future__ import annotations

import itertools
import json
import math
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.text.sources import method_of
from unlabeled.muon import orthogonalise
from unlabeled.nn import packing
from unlabeled.nn.token_masks import choose_tokens, choose_words
from unlabeled.rng import uniform
from unlabeled.transfer.strided import strided, windows

ROOT = Path(__file__).parents[2]


def words_of(sizes: list[int]) -> torch.Tensor:
    """Return which tokens begin a word, (1, T)."""
    return torch.tensor([[place == 0 for size in sizes for place in range(size)]])


def berts_choice(order: list[int], sizes: list[int], budget: int) -> set[int]:
    """Choose words in an order, as BERT's page of code says: one that would overdraw is skipped."""
    chosen: set[int] = set()
    for word in order:
        if sum(sizes[w] for w in chosen) + sizes[word] <= budget:
            chosen.add(word)
    return chosen


def test_berts_counts_of_hidden_tokens() -> None:
    """max(1, round(0.15 L)), as `create_masked_lm_predictions` has it; 20 of 128 at most there."""
    for length, count in ((1, 1), (6, 1), (10, 2), (20, 3), (128, 19), (512, 77)):
        free = torch.ones(1, length, dtype=torch.bool)
        noise = uniform(torch.tensor([3]), length)
        assert choose_tokens(noise, free, 0.15).sum() == count
        single = torch.ones_like(free)
        assert choose_words(noise, free, single, 0.15).sum() == count


def test_whole_words_are_those_of_berts_rule() -> None:
    sizes = [1, 3, 1, 2, 4, 1, 1, 2, 5, 1, 1, 3, 2, 1, 1, 2, 1, 6, 1, 1]
    starts, free = words_of(sizes), torch.ones(1, sum(sizes), dtype=torch.bool)
    first, budget = starts[0].nonzero().flatten(), round(0.15 * sum(sizes))
    owner = starts[0].long().cumsum(0) - 1
    for key in range(300):
        noise = uniform(torch.tensor([key]), sum(sizes))
        order = noise[0, first].argsort(stable=True).tolist()
        chosen = choose_words(noise, free, starts, 0.15)[0]
        assert set(owner[chosen].tolist()) == berts_choice(order, sizes, budget)
        assert chosen.sum() == budget  # single tokens are left to fill it


def test_words_that_would_overdraw_are_passed_over() -> None:
    """Two words of two tokens and one of one, three tokens: the short one always, half of each."""
    starts, free = words_of([2, 2, 1]), torch.ones(4000, 5, dtype=torch.bool)
    chosen = choose_words(uniform(torch.arange(4000), 5), free, starts.expand(4000, 5), 0.6)
    assert (chosen.sum(1) == 3).all()
    assert chosen[:, 4].all()
    assert int(chosen[:, 0].sum()) == pytest.approx(2000, abs=4 * math.sqrt(1000))


def test_every_token_is_hidden_equally_often() -> None:
    free = torch.ones(20_000, 20, dtype=torch.bool)
    free[:, [0, 19]] = False  # [CLS] and [SEP]
    counts = choose_tokens(uniform(torch.arange(20_000), 20), free, 0.15).sum(0).double()
    assert counts[[0, 19]].sum() == 0
    expected = 20_000 * 3 / 18
    spread = ((counts[1:-1] - expected) ** 2 / expected).sum() * 17 / 18 / (1 - 3 / 18)
    assert spread < 40.8  # chi-square, 17 degrees, 0.1 %


ROLLING = {  # lm-evaluation-harness, tests/test_utils.py: (tokens, length, context) -> windows
    (34, 10, 1): [(-1, 9, 0, 10), (9, 19, 10, 20), (19, 29, 20, 30), (23, 33, 30, 34)],
    (34, 10, 8): [(-1, 9, 0, 10), *((k, k + 10, k + 8, k + 11) for k in range(2, 24, 3))],
    (30, 10, 10): [(-1, 9, 0, 10), *((k, k + 10, k + 10, k + 11) for k in range(20))],
    (9, 2, 1): [(-1, 1, 0, 2), (1, 3, 2, 4), (3, 5, 4, 6), (5, 7, 6, 8), (6, 8, 8, 9)],
}  # fmt: skip
"""Begin and end of an input (-1: the token that opens), begin and end of what is scored."""


@pytest.mark.parametrize(("tokens", "length", "context"), ROLLING)
def test_windows_are_the_harness_rolling_ones(tokens: int, length: int, context: int) -> None:
    """A window of ours holds the tokens of one of theirs and the last that it predicts.

    Both score every token once and the same ones together. Only the last window differs: theirs is
    moved back until it is full, ours begins at a multiple of the stride as in the guide to
    perplexity of transformers.
    """
    stride = length - context + 1
    ours = [(b - 1, e - 2, f - 1, e - 1) for b, e, f in windows(tokens + 1, length + 1, stride)]
    theirs = ROLLING[tokens, length, context]
    assert [scored for *_, first, last in ours for scored in range(first, last)] == [*range(tokens)]
    assert [o[2:] for o in ours] == [t[2:] for t in theirs]
    assert [o[:2] for o in ours[:-1]] == [t[:2] for t in theirs[:-1]]
    assert ours[-1][0] >= theirs[-1][0]


@pytest.mark.parametrize("over", [0, 3])
def test_bits_per_byte_are_the_harness(over: int, bpe: Any) -> None:
    """-sum(log p) / bytes / ln 2 over rolling windows: equal where their last window is full.

    Documents of 1 + 20 + k * 5 tokens; with 3 more, theirs gives the last of them more context.
    """
    text, length, stride = bpe[2], 20, 5
    model = method_of("gpt", "hf:llama-1x32h2", text).eval().encoder
    draws = np.random.default_rng(0)
    texts = [draws.integers(3, 300, 20 + k * stride + over).tolist() for k in range(4)]
    total, opening = 0.0, text.opens[0]
    for tokens in texts:
        ids = torch.tensor([opening, *tokens])  # (L + 1,)
        ends = [min(length, len(tokens))]
        while ends[-1] < len(tokens):
            ends.append(min(ends[-1] + stride, len(tokens)))
        for before, end in zip([0, *ends], ends, strict=False):
            begin = max(end - length, 0)
            row = torch.stack([ids[begin:end], torch.zeros(end - begin, dtype=torch.long)])
            with torch.no_grad():
                logits = model.add_head()(model.tokens(row[None]))[0].log_softmax(-1)
            scored = torch.arange(before + 1, end + 1)
            total -= float(logits[scored - 1 - begin, ids[scored]].double().sum())
    ours = strided(
        model, [[opening, *t] for t in texts], 1000, text.special_ids, length + 1, stride
    )
    theirs = total / 1000 / math.log(2)
    assert ours["targets"] == sum(map(len, texts))
    assert ours["bits_per_byte"] == pytest.approx(theirs, rel=1e-2 if over else 1e-6)


def best_fit(sizes: list[int], width: int) -> int:
    """Return the rows of a packer that puts each document where the least room is left."""
    room: list[int] = []
    for size in sizes:
        places = [i for i, left in enumerate(room) if left >= size]
        if places:
            room[min(places, key=room.__getitem__)] -= size
        else:
            room.append(width - size)
    return len(room)


@pytest.mark.parametrize("seed", range(5))
def test_packing_loses_nothing_and_fills_rows_as_modernberts(seed: int) -> None:
    """Every document whole and once; 11/9 of the fewest rows (Dosa 2007), no more than best fit."""
    width, draws = 512, np.random.default_rng(seed)
    sizes = np.minimum(draws.lognormal(4.9, 0.8, 400).astype(int) + 1, width).tolist()
    row, number = packing.fit(sizes, width)
    rows = int(row.max()) + 1
    assert np.bincount(row, weights=sizes).max() <= width
    assert len({*zip(row.tolist(), number.tolist(), strict=True)}) == len(sizes)
    fewest = -(-sum(sizes) // width)
    assert fewest <= rows <= 11 / 9 * fewest + 6 / 9
    assert rows <= best_fit(sizes, width)
    assert sum(sizes) / (rows * width) > 0.97  # the share that is filled

    laid: list[list[tuple[int, Any]]] = [[] for _ in range(rows)]
    for index in np.lexsort((number, row)):
        ids = np.full(sizes[index], index + 1)
        laid[row[index]].append((int(number[index]), ids))
    x = packing.packed(laid, 0)
    assert Counter(x[:, 0][x[:, 1] >= 0].tolist()) == {i + 1: n for i, n in enumerate(sizes)}


def test_rows_of_the_stream_are_full_and_lose_less_than_a_row(bpe: Any) -> None:
    """No target crosses documents, positions begin anew, and all but a row's rest is read."""
    rows, held, *_ = bpe
    x = rows.batch(range(len(rows)), 3)
    assert (x[:, 1] >= 0).all()  # no padding at all
    assert 0 <= rows.num_tokens - x[:, 0].size < rows.length
    inside = x[:, 1, 1:] == x[:, 1, :-1]
    assert (x[:, 2, :-1] == np.where(inside, x[:, 0, 1:], rows.closing)).all()
    held_out = held.batch(range(len(held)))
    assert (held_out[:, 1] >= 0).sum() == held.num_tokens


def test_muon_makes_updates_orthogonal() -> None:
    """As nanochat tests it: singular values near 1, whatever they were (here 1 to 100)."""
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(2, 48, 32))[0] for _ in range(2))
    x = left * torch.logspace(0, 2, 32) @ right.mT  # (2, 48, 48) of rank 32
    values = torch.linalg.svdvals(orthogonalise(x).float())[:, :32]
    assert values.max() < 1.25
    assert values.min() > 0.5


def test_byte_pairs_merge_by_rank(bpe: Any) -> None:
    """Byte-pair encoding as its paper has it, the first learned merge first, on new text."""
    text = bpe[2]
    model = json.loads(text.tokenizer.backend_tokenizer.to_str())["model"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    (before,) = [text.tokenizer.backend_tokenizer.pre_tokenizer]
    said = "sun stones rivered, moonlight 1234 snow-sand\n\n  leafy fire's"
    expected: list[int] = []
    for word, _ in before.pre_tokenize_str(said):
        parts = list(word)
        while True:
            pairs = [ranks.get(pair, len(ranks)) for pair in itertools.pairwise(parts)]
            if not pairs or min(pairs) == len(ranks):
                break
            at = pairs.index(min(pairs))
            parts[at : at + 2] = ["".join(parts[at : at + 2])]
        expected += [model["vocab"][part] for part in parts]
    assert text.encode([said])[0] == expected


def test_the_table_of_oracles_names_tests_that_exist() -> None:
    told = tomllib.loads((ROOT / "scripts" / "language.toml").read_text(encoding="utf-8"))
    assert len(told["oracle"]) > 15
    for oracle in told["oracle"]:
        for name in oracle["tests"]:
            path, _, test = name.partition("::")
            assert f"def {test}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), name
