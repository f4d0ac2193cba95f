"""T5's span corruption and BART's noise against published figures and their own budgets."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from unlabeled import rng
from unlabeled.nn import denoise, span_corruption
from unlabeled.nn.span_corruption import noise_mask, raw_length, to_sentinels

IDS = np.arange(10, 16)
NOISE = np.array([1, 1, 0, 0, 1, 0], bool)
SENTINELS = np.arange(999, 900, -1)


def draws(key: int) -> np.random.Generator:
    return rng.generator(key)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((512, 0.15, 3.0), (568, 114)),  # preprocessors_test.py of T5, and the paper's setting
        ((64, 0.2, 2.0), (70, 22)),
        ((64, 0.2, 1.0), (63, 27)),
        ((256, 0.15, 3.0), (284, 58)),
        ((128, 0.15, 3.0), (141, 29)),
    ],
)
def test_lengths_are_t5s(given: tuple[int, float, float], expected: tuple[int, int]) -> None:
    assert raw_length(*given) == expected


def test_spans_lie_where_t5_puts_them() -> None:
    """The mask of `random_spans_noise_mask(32, 0.25, [(1, 2), (3, 4)], 2.0)`, from its lengths."""
    mask = span_corruption.alternate(np.array([6, 1, 15, 2]), np.array([3, 3, 1, 1]))
    assert "".join(map(str, mask.astype(int))) == "000000111" + "0111" + "0" * 15 + "1001"


def test_sentinels_are_t5s() -> None:
    assert to_sentinels(IDS, NOISE, SENTINELS).tolist() == [999, 12, 13, 998, 15]
    assert to_sentinels(IDS, ~NOISE, SENTINELS).tolist() == [10, 11, 999, 14, 998]


@pytest.mark.parametrize("length", [2, 3, 5, 8, 40, 141, 568])
def test_counts_are_t5s_rule(length: int) -> None:
    noise = min(max(round(length * 0.15), 1), length - 1)
    spans = min(max(round(noise / 3), 1), length - noise)
    masks = [noise_mask(length, 0.15, 3.0, draws(key)) for key in range(20)]
    for mask in masks:
        assert mask.sum() == noise
        begins = mask & ~np.concatenate([[False], mask[:-1]])
        assert begins.sum() == spans
        assert not mask[0]
        assert mask[-1]
    source, target = span_corruption.corrupted_lengths(length, 0.15, 3.0)
    if length >= 20:
        assert len(to_sentinels(np.arange(length), masks[0], SENTINELS)) + 1 == source
        assert len(to_sentinels(np.arange(length), ~masks[0], SENTINELS)) + 1 == target


def test_one_token_has_no_noise_and_rolled_masks_may_begin_with_it() -> None:
    assert not noise_mask(1, 0.15, 3.0, draws(0)).any()
    rolled = [noise_mask(20, 0.3, 2.0, draws(key), roll=True) for key in range(60)]
    assert {int(mask.sum()) for mask in rolled} == {6}
    assert {bool(mask[0]) for mask in rolled} == {True, False}


def test_there_are_never_more_spans_than_sentinels() -> None:
    mask = noise_mask(200, 0.5, 1.0, draws(1), most=7)
    assert (mask & ~np.concatenate([[False], mask[:-1]])).sum() == 7


def test_parts_are_equally_likely() -> None:
    found = Counter(tuple(span_corruption.parts(5, 3, draws(key)).tolist()) for key in range(3000))
    assert len(found) == math.comb(4, 2)
    assert all(abs(count - 500) < 5 * math.sqrt(500 * 5 / 6) for count in found.values())


def test_source_and_target_give_the_text_back() -> None:
    ids = np.arange(10, 210)
    mask = noise_mask(200, 0.15, 3.0, draws(3))
    source, target = (to_sentinels(ids, m, SENTINELS).tolist() for m in (mask, ~mask))
    hidden: dict[int, list[int]] = {}
    for token in target:
        if token > 900:
            hidden[token] = []
        else:
            hidden[max(hidden, key=list(hidden).index)].append(token)
    rebuilt = [part for token in source for part in hidden.get(token, [token])]
    assert rebuilt == ids.tolist()


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5])
def test_infilling_hides_exactly_its_share_of_words(ratio: float) -> None:
    ids = np.arange(1, 101)
    starts = np.ones(100, bool)
    starts[1::3] = False  # words of one or two tokens
    words = np.cumsum(starts) - 1
    for key in range(30):
        found = denoise.infill(ids, starts, ratio, 3.0, 0, draws(key))
        kept = found[found > 0]
        assert (np.diff(kept) > 0).all()
        left = {int(words[token - 1]) for token in kept}
        assert len(left) == starts.sum() - math.ceil(starts.sum() * ratio)
        assert set(np.flatnonzero(np.isin(words, list(left))) + 1) == set(kept.tolist())


def test_spans_have_poisson_lengths_and_insertions() -> None:
    made = [denoise.span_lengths(3000, 3.0, draws(key)) for key in range(3)]
    for lengths, inserts in made:
        assert lengths.sum() == 3000
        whole = len(lengths) + inserts
        assert inserts / whole == pytest.approx(math.exp(-3), abs=0.02)
        assert 3000 / whole == pytest.approx(3.0, rel=0.06)
        assert (lengths == 2).mean() * len(lengths) / whole == pytest.approx(0.224, abs=0.04)
    ids = np.arange(1, 31)
    many = [denoise.infill(ids, np.ones(30, bool), 0.3, 0.3, 0, draws(k)) for k in range(20)]
    assert max((found == 0).sum() for found in many) > 9  # more masks than hidden words


def test_sentences_are_permuted_whole() -> None:
    ids = np.array([5, 1, 6, 7, 1, 1, 8, 9])  # 1 ends a sentence; the second end has two
    orders = set()
    for key in range(60):
        found, source = denoise.permute_sentences(ids, ids == 1, 1.0, draws(key))
        assert (ids[source] == found).all()
        orders.add(tuple(found.tolist()))
    pieces = [[5, 1], [6, 7, 1, 1], [8, 9]]
    assert orders == {
        tuple(itertools.chain.from_iterable(order)) for order in itertools.permutations(pieces)
    }
    same, _ = denoise.permute_sentences(ids, ids == 1, 0.0, draws(0))
    assert (same == ids).all()


def test_deletion_and_rotation_keep_order() -> None:
    ids = np.arange(50)
    left = denoise.delete(ids, 0.6, draws(0))
    assert len(left) == 20
    assert (np.diff(left) > 0).all()
    assert len(denoise.delete(ids[:1], 0.9, draws(0))) == 1
    turned = denoise.rotate(ids, draws(4))
    assert (turned == np.roll(ids, -turned[0])).all()
