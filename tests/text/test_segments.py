"""SOP and NSP: halves of documents, their classes, and the library's loss on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.text.sources import batch_of, method_of
from unlabeled.nn import segments
from unlabeled.nn.segments import _fitted

NAME = "hf:bert-2x32h2"


def bodies(x: Any, special: set[int]) -> list[list[list[int]]]:
    """Return the ordinary tokens of every document of every row."""
    return [
        [[i for i in row[0, row[1] == n].tolist() if i not in special] for n in row[1].unique()]
        for row in x
    ]


def pairs_of(made: Any, text: Any) -> list[tuple[int, list[int], list[int], int]]:
    """Return row, halves and class of each pair, read off the packed rows."""
    found = []
    for first, kind in zip(made.first.tolist(), made.classes.tolist(), strict=True):
        row, at = divmod(first, made.rows.shape[-1])
        number = int(made.rows[row, 1, at])
        ids = made.rows[row, 0][made.rows[row, 1] == number].tolist()
        assert ids[0] == text.opens[0]
        assert ids[-1] == text.eos_id
        body = ids[1:-1]
        middle = body.index(text.eos_id)
        found.append((row, body[:middle], body[middle + 1 :], kind))
    return found


def follows(body: list[int], one: list[int], two: list[int]) -> bool:
    """Return whether a document begins with one segment and the other comes later in it."""
    later = range(len(one), len(body) - len(two) + 1)
    return body[: len(one)] == one and any(body[i : i + len(two)] == two for i in later)


def test_sop_swaps_half_of_the_pairs(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("sop", NAME, text)
    x = batch_of(rows, 24)["plain"][0]
    classes = []
    for epoch in range(40):
        made = segments.make(
            x, torch.arange(24) + 50 * epoch, method.judge.ends, method.relate, method.judge.edges
        )
        whole = bodies(x, set(text.special_ids))
        for row, one, two, kind in pairs_of(made, text):
            assert one
            assert two
            assert any(follows(body, *((two, one) if kind else (one, two))) for body in whole[row])
            classes.append(kind)
    assert np.mean(classes) == pytest.approx(0.5, abs=0.05)


def test_nsp_takes_half_of_the_ends_from_other_rows(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("nsp", NAME, text)
    x = batch_of(rows, 24)["plain"][0]
    whole = bodies(x, set(text.special_ids))
    classes = []
    for epoch in range(40):
        made = segments.make(
            x, torch.arange(24) + 50 * epoch, method.judge.ends, method.relate, method.judge.edges
        )
        for row, one, two, kind in pairs_of(made, text):
            own = any(follows(body, one, two) for body in whole[row])
            assert own or kind
            if kind:
                others = [b for r, docs in enumerate(whole) if r != row for b in docs]
                assert any(
                    two == body[start : start + len(two)]
                    for body in others
                    for start in range(len(body))
                )
            classes.append(kind)
    assert np.mean(classes) == pytest.approx(0.5, abs=0.05)
    alone = segments.make(
        x[:1], torch.arange(1), method.judge.ends, method.relate, method.judge.edges
    )
    assert not alone.classes.any()  # there is no other row


def test_the_loss_is_the_librarys(wordpiece: Any) -> None:
    """`BertForNextSentencePrediction` on each pair alone, without segment embeddings."""
    rows, _, text, _ = wordpiece
    method = method_of("nsp", NAME, text).eval()
    for parameter in method.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(4)
    batch = batch_of(rows)
    made = segments.make(
        batch["plain"][0], batch.keys, method.judge.ends, method.relate, method.judge.edges
    )
    config = method.encoder.model.config
    full = transformers.BertForNextSentencePrediction(config).eval()
    full.bert.embeddings.load_state_dict(method.encoder.model.embeddings.state_dict())
    full.bert.encoder.load_state_dict(method.encoder.model.encoder.state_dict())
    full.bert.pooler.dense.load_state_dict(method.judge.dense.state_dict())
    full.cls.seq_relationship.load_state_dict(method.judge.relation.state_dict())
    nats = []
    for _, one, two, kind in pairs_of(made, text):
        ids = torch.tensor([[text.opens[0], *one, text.eos_id, *two, text.eos_id]])
        nats.append(full(input_ids=ids, labels=torch.tensor([kind])).loss)
    loss = method.loss(batch, 0.0)
    torch.testing.assert_close(loss.total, torch.stack(nats).mean(), atol=1e-5, rtol=1e-5)
    assert float(loss.parts["targets"]) == len(nats)


def test_the_cut_lies_between_sentences() -> None:
    ends = np.zeros(50, bool)
    ends[9] = True
    ids = np.array([1, 2, 3, 9, 4, 5, 6, 7, 9])
    for seed in range(5):
        piece = segments._cut(0, ids, ends, np.random.default_rng(seed))
        assert piece.one.tolist() == [1, 2, 3, 9]
    free = {
        len(segments._cut(0, ids, ends & False, np.random.default_rng(s)).one) for s in range(99)
    }
    assert free == set(range(1, 9))


@pytest.mark.parametrize(("one", "two"), [(1, 30), (30, 1), (30, 30), (2, 3), (12, 40), (40, 12)])
def test_pairs_fit_into_a_row(one: int, two: int) -> None:
    found = _fitted(np.arange(one), np.arange(two), 20)
    assert sum(map(len, found)) == min(one + two, 20)
    assert all(len(half) for half in found)


def test_contrastive_tension_is_sentence_transformers_formula(wordpiece: Any) -> None:
    """ContrastiveTensionLossInBatchNegatives: (CE(S, i) + CE(S^T, i)) / 2, S = 20 cos(f1, f2)."""
    rows, _, text, _ = wordpiece
    method = method_of("ct", NAME, text)
    batch = batch_of(rows, 6)
    with torch.no_grad():
        for parameter in method.other.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.05)
    method.eval()
    one, two = method.features(batch["plain"][0][:, :2])
    total = torch.zeros(())
    for i in range(6):
        rows_of = [
            torch.stack([20 * torch.dot(a, b) / a.norm() / b.norm() for a, b in each])
            for each in ([(one[i], v) for v in two], [(u, two[i]) for u in one])
        ]
        total = total - sum(scores[i] - scores.logsumexp(0) for scores in rows_of)
    found = method.loss(batch, 0.0)
    torch.testing.assert_close(found.total, total / 12, atol=1e-5, rtol=1e-5)
    found.total.backward()
    assert method.log_scale.grad.abs() > 0
    method.train()
    assert method.loss(batch, 0.0).total.item() == method.loss(batch, 0.0).total.item()
    assert method.exported() is method.encoder
