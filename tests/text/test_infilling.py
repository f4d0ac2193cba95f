"""Prefixes and moved middles: what is seen, what is guessed, and that nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.text.sources import batch_of, method_of, prepared
from unlabeled.errors import ConfigError
from unlabeled.nn.attention import Layout
from unlabeled.nn.infilling import prefixes
from unlabeled.types import Batch

NAMES = ["hf:gpt2-2x32h2", "hf:llama-2x32h2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return prepared(tmp_path_factory.mktemp("infill"), "bpe", infill=True)


def test_a_moved_middle_can_be_moved_back(corpus: Any) -> None:
    rows, _, text, _ = corpus
    method = method_of("gpt", NAMES[0], text, middle=1.0)
    batch = batch_of(rows, 16)
    x = batch["plain"][0]
    moved, prefix = method.change(x, batch.keys)
    assert prefix is None
    assert torch.equal(moved[:, 1], x[:, 1])
    pre, mid, suf = text.infill_ids
    forms = set()
    for row, found in zip(x, moved, strict=True):
        for number in row[1].unique().tolist():
            inside = row[1] == number
            before, after = row[0, inside].tolist(), found[0, inside].tolist()
            targets = found[2, inside].tolist()
            assert targets[:-1] == after[1:]
            if mid not in after:
                assert before == after
                continue
            assert targets[-1] == text.eos_id
            head = [text.eos_id] if before[0] == text.eos_id else []
            body = after[len(head) :]
            if body[1] == suf:  # suffix first, then prefix and middle
                forms.add("spm")
                at = body.index(mid)
                whole = body[at + 1 :] + body[2:at]
            else:
                forms.add("psm")
                one, two = body.index(suf), body.index(mid)
                whole = body[1:one] + body[two + 1 :] + body[one + 1 : two]
            assert body[0] == pre
            assert head + whole == before[: len(before) - 3]
    assert forms == {"psm", "spm"}


def test_only_a_share_of_the_documents_is_moved(corpus: Any) -> None:
    rows, _, text, _ = corpus
    method = method_of("gpt", NAMES[0], text, middle=0.5)
    batch = batch_of(rows, 32)
    x = batch["plain"][0]
    moved, _ = method.change(x, batch.keys)
    share = (moved[:, 0] != x[:, 0]).any(1).float().mean().item()
    assert 0.3 < share < 0.95
    alone, _ = method.change(x[7:8], batch.keys[7:8])
    assert torch.equal(alone[0], moved[7])


def test_prefixes_begin_documents_and_leave_something_to_guess() -> None:
    documents = (torch.arange(40) >= 15).long().expand(500, 40)
    layout = Layout.of(documents)
    found = prefixes(layout, torch.arange(500) * 31, 0.6)
    assert found.any(1).float().mean().item() == pytest.approx(0.6, abs=0.08)
    for first, last in ((0, 15), (15, 40)):
        part = found[:, first:last]
        assert (part.int().diff(dim=1) <= 0).all()  # a beginning
        assert not part[:, -1].any()
        sizes = part[found.any(1)].sum(1)
        assert sizes.max() == last - first - 1


@pytest.mark.parametrize("name", NAMES)
def test_a_prefix_is_seen_from_both_sides_and_the_rest_from_one(name: str, corpus: Any) -> None:
    rows, _, text, _ = corpus
    encoder = method_of("gpt", name, text).encoder.eval()
    for parameter in encoder.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(4)
    x = batch_of(rows, 1)["plain"][0].clone()
    x[:, 1] = (torch.arange(32) >= 20).long()
    prefix = torch.zeros(1, 32, dtype=torch.bool)
    prefix[0, :8] = True
    before = encoder.tokens(x, prefix)[0]
    for place, changed in ((5, range(20)), (12, range(12, 20)), (25, range(25, 32))):
        other = x.clone()
        other[0, 0, place] = (other[0, 0, place] + 9) % 300
        change = (encoder.tokens(other, prefix)[0] - before).abs().amax(-1) > 1e-5
        assert change.nonzero().flatten().tolist() == list(changed)


def test_targets_are_what_follows_the_prefix(corpus: Any) -> None:
    rows, _, text, _ = corpus
    method = method_of("gpt", NAMES[0], text, prefix=1.0)
    batch = batch_of(rows, 8)
    x = batch["plain"][0]
    changed, prefix = method.change(x, batch.keys)
    assert prefix is not None
    dropped = (x[:, 2] >= 0) & (changed[:, 2] < 0)
    follows = torch.zeros_like(prefix)
    follows[:, :-1] = prefix[:, 1:] & (x[:, 1, 1:] == x[:, 1, :-1])
    assert torch.equal(dropped, follows & (x[:, 2] >= 0))
    loss = method.loss(batch, 0.0)
    assert int(loss.parts["targets"]) == int((changed[:, 2] >= 0).sum())


def test_gptbert_without_causal_rows_guesses_hidden_tokens_from_one_place_before(
    corpus: Any,
) -> None:
    rows, _, text, _ = corpus
    method = method_of("gptbert", NAMES[0], text, causal=0.0)
    batch = batch_of(rows, 8)
    x = batch["plain"][0]
    ids, targets, both = method.change(x, batch.keys)
    assert both.all()
    row, place = (targets >= 0).nonzero().T
    assert torch.equal(targets[row, place], x[row, 0, place + 1])
    assert (x[row, 1, place] == x[row, 1, place + 1]).all()  # never across documents
    hidden = ids != x[:, 0]
    assert (hidden.nonzero()[:, 1] > 0).all()
    assert set(map(tuple, hidden.nonzero().tolist())) <= {
        (r, p + 1) for r, p in zip(row.tolist(), place.tolist(), strict=True)
    }


def test_gptbert_with_causal_rows_alone_is_gpt(corpus: Any) -> None:
    rows, _, text, _ = corpus
    both, plain = method_of("gptbert", NAMES[0], text, causal=1.0), method_of("gpt", NAMES[0], text)
    batch = batch_of(rows, 8)
    torch.testing.assert_close(both.loss(batch, 0.0).total, plain.loss(batch, 0.0).total)


def test_gptbert_shows_no_document_another(corpus: Any) -> None:
    rows, _, text, _ = corpus
    method = method_of("gptbert", NAMES[0], text, causal=0.0)
    batch = batch_of(rows, 8)
    x = batch["plain"][0]
    other = x.clone()
    other[:, 0][(x[:, 1] > 0) & (x[:, 0] != text.eos_id)] = 20
    prefix = torch.ones_like(x[:, 0], dtype=torch.bool)
    first = x[:, 1] == 0
    tokens = [method.encoder.tokens(y, prefix)[first] for y in (x, other)]
    torch.testing.assert_close(*tokens, atol=1e-6, rtol=1e-5)


def test_marks_are_asked_for(bpe: Any) -> None:
    with pytest.raises(ConfigError, match=r"modality\.infill=true"):
        method_of("gpt", NAMES[0], bpe[2], middle=0.5)


def test_simcse_is_the_cross_entropy_of_two_dropouts(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("simcse", "hf:bert-1x32h2", text).train()
    batch = batch_of(rows, 8)
    state = torch.get_rng_state()
    loss = method.loss(batch, 0.0)
    assert torch.equal(state, torch.get_rng_state())
    assert loss.total.item() == method.loss(batch, 0.0).total.item()
    x = batch["plain"][0][:, :2]
    one = method.encoder.longest(x)
    two = method.encoder.longest(x)
    assert not torch.allclose(one, two)  # dropout is on
    method.eval()
    features = method.encoder.longest(x)
    torch.testing.assert_close(features, method.encoder.longest(x))
    for row, feature in zip(x, features, strict=True):
        sizes = torch.bincount(row[1][row[1] >= 0])
        inside = row[1] == int(sizes.argmax())
        tokens = method.encoder.tokens(row[None])[0]
        torch.testing.assert_close(feature, tokens[inside].mean(0), atol=1e-6, rtol=1e-5)
    z = torch.nn.functional.normalize(features, dim=1)
    expected = torch.nn.functional.cross_entropy(z @ z.T / 0.05, torch.arange(8))
    found = method.loss(Batch(batch.views, batch.keys), 0.0).total
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
