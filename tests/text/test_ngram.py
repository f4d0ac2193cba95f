"""The n-gram table and the compressors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from unlabeled.data.ngram import baselines, compressed, witten_bell


def naive(train: str, test: str, order: int) -> float:
    """Return nats per character, written as in the textbook."""
    letters = sorted(set(train + test))

    def probability(word: str, history: str) -> float:
        if not history:
            below, seen = 1 / len(letters), list(train)
        else:
            below = probability(word, history[1:])
            seen = [train[i + len(history)] for i in range(len(train) - len(history))
                    if train.startswith(history, i)]  # fmt: skip
        kinds = len(set(seen))
        return (seen.count(word) + kinds * below) / (len(seen) + kinds) if seen else below

    total = 0.0
    for place, word in enumerate(test):
        total -= math.log(probability(word, test[max(0, place - order + 1) : place]))
    return total / len(test)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_table_is_the_textbooks(order: int) -> None:
    train = "the cat sat on the mat; the rat sat on the cat. a hat!" * 2
    test = "the bat sat on that cat? the hat"
    assert witten_bell(train, test, order)[order] == pytest.approx(
        naive(train, test, order), abs=1e-9
    )


def test_published_numbers_on_tinyshakespeare(shared_data: Path) -> None:
    text = (shared_data / "tinyshakespeare.txt").read_text()
    border = int(len(text) * 0.9)
    found = witten_bell(text[:border], text[border:], 5)
    expected = {2: 2.4858, 3: 2.0492, 4: 1.7738, 5: 1.6688}
    assert {n: round(found[n], 4) for n in expected} == expected


def test_rich_alphabets_do_not_overflow() -> None:
    train = "".join(chr(0x4E00 + (i * 7919) % 3000) for i in range(5000))
    found = witten_bell(train, train[:500], 7)
    assert all(math.isfinite(x) for x in found.values())
    assert found[7] < found[1]


def test_compressors_profit_from_what_they_have_read() -> None:
    text = " ".join(f"line {i % 50} of the text" for i in range(800))
    found = compressed(text, text[:2000])
    assert found["xz"] < found["xz_alone"]


def test_baselines_of_a_run_folder(bpe: Any) -> None:
    found = baselines(bpe[0].path.parent, 4)
    assert set(found["bits_per_byte"]) >= {"2-gram", "4-gram", "xz", "bz2"}
    assert found["bits_per_byte"][found["best"]] == min(found["bits_per_byte"].values())
