"""Crops of documents, and the loss of finding one by the other, against definitions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.text.sources import batch_of, method_of
from unlabeled.errors import ConfigError
from unlabeled.nn import packing, text_crops
from unlabeled.types import Batch

NAMES = ["hf:bert-1x32h2", "hf:modernbert-1x32h2", "hf:gpt2-1x32h2"]


def crops_of(size: int = 200, count: int = 400, **options: Any) -> list[list[torch.Tensor]]:
    """Return two crops of a document of running numbers, `count` times over."""
    ids = torch.arange(size).expand(count, -1) + 10
    x = torch.stack([ids, torch.zeros_like(ids)], 1)
    special = torch.zeros(size + 10, dtype=torch.bool)
    extent = options.pop("extent", (0.05, 0.5))
    keys = torch.arange(count) * 7919
    made = text_crops.crop(x, keys, extent, special, ([1], [2]), 0, **options)
    return [
        [made.x[r, 0][made.x[r, 1] == n] for r, n in zip(row, number, strict=True)]
        for row, number in zip(made.row.tolist(), made.number.tolist(), strict=True)
    ]


def test_crops_are_runs_of_the_document_in_its_edges() -> None:
    for view in crops_of():
        for crop in view:
            assert crop[0] == 1
            assert crop[-1] == 2
            assert (crop[1:-1].diff() == 1).all()


def test_shares_are_uniform_and_views_independent() -> None:
    one, two = (torch.tensor([len(c) - 2.0 for c in view]) / 200 for view in crops_of())
    for share in (one, two):
        assert 0.045 <= share.min() < 0.08
        assert 0.47 < share.max() <= 0.5
        assert abs(share.mean() - 0.275) < 4 * 0.13 / 20  # four standard errors
    assert abs(torch.corrcoef(torch.stack([one, two]))[0, 1]) < 0.2
    first, last = (torch.tensor([c[i].item() for c in crops_of()[0]]) for i in (1, -2))
    assert first.min() == 10  # crops reach both ends
    assert last.max() == 209


def test_a_share_of_the_tokens_is_left_out() -> None:
    plain, thinned = crops_of()[0], crops_of(delete=0.3)[0]
    kept = sum(len(c) - 2 for c in thinned) / sum(len(c) - 2 for c in plain)
    assert abs(kept - 0.7) < 0.02
    assert all(set(a.tolist()) <= set(b.tolist()) for a, b in zip(thinned, plain, strict=True))
    assert all(len(c) >= 3 for c in crops_of(4, extent=(0.05, 0.05), delete=0.9)[0])


def test_the_longest_document_of_a_row_is_cropped(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("contriever", NAMES[0], text, delete=0.0)
    x = batch_of(rows, 8)["plain"][0]
    made = text_crops.crop(
        x, torch.arange(8), (0.3, 0.5), method.special, method.edges, method.padding
    )
    for view in range(2):
        for row in range(8):
            r, n = made.row[view, row], made.number[view, row]
            crop = made.x[r, 0][made.x[r, 1] == n].tolist()[len(text.opens) : -1]
            sizes = torch.bincount(x[row, 1][x[row, 1] >= 0])
            inside = x[row, 0][x[row, 1] == int(sizes.argmax())].tolist()
            assert any(inside[i : i + len(crop)] == crop for i in range(len(inside)))
            assert not set(crop) & set(text.special_ids)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_the_cross_entropy_of_crops_alone(name: str, wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("contriever", name, text).eval()
    batch = batch_of(rows, 6)
    features = method.features(batch)  # (2, 6, D)
    made = text_crops.crop(
        batch["plain"][0], batch.keys, (0.05, 0.5), method.special, method.edges, 0, 0.1
    )
    for view in range(2):
        for row in range(6):
            ids = made.x[made.row[view, row], 0][
                made.x[made.row[view, row], 1] == made.number[view, row]
            ]
            alone = torch.stack([ids, torch.zeros_like(ids)])[None]
            tokens = method.encoder.tokens(alone)[0]
            torch.testing.assert_close(features[view, row], tokens.mean(0), atol=1e-5, rtol=1e-4)
    z = torch.nn.functional.normalize(features.flatten(0, 1), dim=1)
    logits = (z @ z.T / 0.05).masked_fill(torch.eye(12).bool(), -torch.inf)
    expected = torch.nn.functional.cross_entropy(logits, (torch.arange(12) + 6) % 12)
    found = method.loss(batch, 0.0).total
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_it_joins_masked_words_as_in_declutr(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    batch = batch_of(rows, 6)
    both = method_of("combine", NAMES[0], text, tasks=("bert", "contriever"), weights=(1.0, 0.5))
    assert set(both.views()) == {"plain"}
    assert both.couples_samples
    loss = both.loss(batch, 0.0)
    parts = [both.tasks[name].loss(batch, 0.0).total for name in ("bert", "contriever")]
    torch.testing.assert_close(loss.total, parts[0] + 0.5 * parts[1])


def test_crops_of_one_document_are_found(wordpiece: Any) -> None:
    """It learns: of eight documents, each about one word, crops soon find each other."""
    text = wordpiece[2]
    method = method_of("contriever", "hf:bert-1x32h2", text)
    bodies = text.encode(
        [f"{word} " * 30 for word in ["sun", "moon", "river", "stone", "tree", "bird"]]
    )
    ids = torch.tensor([body[:24] for body in bodies])
    x = torch.stack([ids, torch.zeros_like(ids), torch.zeros_like(ids)], 1)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    for step in range(30):
        optimizer.zero_grad()
        loss = method.loss(Batch({"plain": x[None]}, torch.arange(6) + 100 * step), 0.0)
        loss.total.backward()
        optimizer.step()
    assert loss.parts["found"] == 1
    assert loss.total.item() < 0.5 < method.chance(6)


def test_documents_are_laid_without_waste() -> None:
    sizes = [3, 5, 4, 1, 8, 2]
    row, number = packing.fit(sizes, 8)
    for r in range(int(row.max()) + 1):
        inside = [i for i in range(6) if row[i] == r]
        assert sum(sizes[i] for i in inside) <= 8
        assert sorted(number[inside]) == list(range(len(inside)))
    assert int(row.max()) + 1 == 3  # 23 tokens cannot have fewer


def test_a_crop_has_a_share_between_two(wordpiece: Any) -> None:
    with pytest.raises(ConfigError, match=r"smallest=0\.8 is above"):
        method_of("contriever", NAMES[0], wordpiece[2], smallest=0.8)
