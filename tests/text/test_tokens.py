"""Rows of tokens: coverage, document numbers, what follows."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.text.sources import prepared
from unlabeled.types import View


def test_held_out_rows_cover_every_token_once(bpe: Any) -> None:
    _, held, _, _ = bpe
    rows = held.batch(range(len(held)))
    real = rows[:, 1] >= 0
    np.testing.assert_array_equal(rows[:, 0][real], held.ids)
    assert (rows[:, 2][~real] == -1).all()


def test_the_last_held_out_row_is_padded(tmp_path: Path) -> None:
    _, held, _, _ = prepared(tmp_path, "byte", ["x" * 600], held_out=0.1)
    last = held.payload(len(held) - 1)
    assert held.num_tokens == 61
    assert (last[1] >= 0).sum() == 61 - 32
    assert last[2, 28] == held.closing
    assert (last[1:, 29:] == -1).all()


@pytest.mark.parametrize("epoch", [0, 1, 2, 9])
def test_training_rows_are_without_replacement(bpe: Any, epoch: int) -> None:
    rows, *_ = bpe
    places = np.concatenate([
        (rows.start(i, epoch) + np.arange(rows.length)) % rows.num_tokens for i in range(len(rows))
    ])  # fmt: skip
    assert len(np.unique(places)) == len(places) > rows.num_tokens - rows.length


def test_grid_moves_with_epoch_and_not_otherwise(bpe: Any) -> None:
    rows, *_ = bpe
    assert len({rows.start(0, epoch) % rows.length for epoch in range(40)}) > 15
    np.testing.assert_array_equal(rows.payload(3, 1), rows.payload(3, 1))
    assert rows.start(3, 0) != rows.start(3, 1)


@pytest.mark.parametrize("corpus", ["bpe", "wordpiece"])
def test_rows_are_what_a_plain_loop_makes(corpus: str, request: pytest.FixtureRequest) -> None:
    rows, _, text, _ = request.getfixturevalue(corpus)
    starts = set(rows.starts.tolist())
    closing = text.opens[0] if not text.closes else -1
    assert rows.closing == closing
    for epoch in range(3):
        for index in range(len(rows)):
            first, number = rows.start(index, epoch), 0
            row = rows.payload(index, epoch)
            for place in range(rows.length):
                here, after = (
                    (first + place) % rows.num_tokens,
                    (first + place + 1) % rows.num_tokens,
                )
                number += place > 0 and here in starts
                expected = closing if after in starts else rows.ids[after]
                assert row[:, place].tolist() == [rows.ids[here], number, expected]


def test_one_target_closes_each_document(bpe: Any, wordpiece: Any) -> None:
    for _, held, text, _ in (bpe, wordpiece):
        row = held.batch(range(len(held)))
        closes = row[:, 2] == text.eos_id
        assert closes.sum() == len(held.starts)


def test_bytes_are_those_of_the_documents(bpe: Any) -> None:
    rows, held, _, found = bpe
    plain = (rows.path.with_suffix(".txt").read_text(), held.path.with_suffix(".txt").read_text())
    for part, text in zip((rows, held), plain, strict=True):
        assert part.num_bytes == len(text.encode()) - (len(part.starts) - 1)  # line ends between
    assert found["unigram_entropy"] > 1


def test_rows_and_modality_travel_to_workers(bpe: Any) -> None:
    rows, _, text, _ = bpe
    there, modality = pickle.loads(pickle.dumps((rows, text)))
    raw = modality.read(there.payload(2, 5))
    cut = modality.cut(raw, View(count=2), np.random.default_rng(0))
    assert cut.shape == (2, 3, 32)
    np.testing.assert_array_equal(cut[1].numpy(), rows.payload(2, 5))
    assert modality.raw(cut).shape == (2, 32, 1)


def test_documents_become_padded_rows(bpe: Any, wordpiece: Any) -> None:
    for _, _, text, _ in (bpe, wordpiece):
        x = text.encode_documents(["sun moon", "", "river " * 99], 16)
        assert x.shape == (3, 2, 16)
        assert (x[:, 1] >= 0).any(1).all()
        assert (x[0, 0, x[0, 1] < 0] == text.pad_id).all()
        assert x[2, 0, -1] == (text.closes or [x[2, 0, -1]])[0]


def test_plain_features_are_small_and_finite(bpe: Any) -> None:
    rows, _, text, _ = bpe
    found = text.plain_features([rows.payload(i) for i in range(20)])["lsa"]
    assert found.shape[0] == 20
    assert np.isfinite(found).all()
