"""XLNet: the library's loss under the order that was drawn, and the rules of that order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.text.sources import batch_of, method_of
from tests.text.test_methods import library
from unlabeled.errors import ConfigError
from unlabeled.nn import permutation
from unlabeled.types import Batch

NAME = "hf:xlnet-2x32h2"


def far(method: Any) -> Any:
    """Return the method with attention that is far from uniform."""
    for parameter in method.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(4)
    return method


def test_the_loss_and_gradient_are_the_librarys(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = far(method_of("xlnet", NAME, text))
    batch = batch_of(rows)
    x = batch["plain"].clone()
    x[:, :, 1] = 0  # one document a row, as the library reads it
    batch = Batch({"plain": x}, batch.keys)
    ours = method.loss(batch, 0.0)
    chosen, hidden = method.order(x[0], batch.keys)
    full = library(method).train()
    nats = []
    for ids, mine, unseen in zip(x[0, :, 0], chosen, hidden, strict=True):
        places = mine.nonzero().flatten()
        mapping = torch.nn.functional.one_hot(places, ids.shape[0]).float()[None]
        found = full(
            input_ids=ids[None], perm_mask=unseen.float()[None], target_mapping=mapping,
            use_mems=False,
        ).logits[0]  # fmt: skip
        nats.append(torch.nn.functional.cross_entropy(found, ids[places], reduction="none"))
    theirs = torch.cat(nats).mean()
    torch.testing.assert_close(ours.total, theirs, atol=1e-5, rtol=1e-5)
    assert float(ours.parts["targets"]) == sum(map(len, nats))
    ours.total.backward()
    theirs.backward()
    theirs_by_name = dict(full.transformer.named_parameters())
    for name, parameter in method.encoder.model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(
                parameter.grad, theirs_by_name[name].grad, atol=1e-5, rtol=1e-3
            )


def test_a_place_sees_what_the_order_lets_it_see() -> None:
    """Against the definition: x_z(t) is guessed from x_z(<t), and never from itself."""
    chosen = torch.rand(4, 12, generator=torch.Generator().manual_seed(0)) < 0.4
    keys = torch.arange(4) * 7 + 1
    unseen = permutation.unseen(chosen, keys)
    for mine, hidden in zip(chosen.tolist(), unseen.tolist(), strict=True):
        places = [i for i, is_chosen in enumerate(mine) if is_chosen]
        seen_targets = {i: sorted(j for j in places if not hidden[i][j]) for i in range(12)}
        assert all(not hidden[i][j] for i in range(12) for j in range(12) if not mine[j])
        assert all(not seen_targets[i] for i in range(12) if not mine[i])
        # The k-th target of the order sees k others, each the targets of the one before.
        order = sorted(places, key=lambda i: len(seen_targets[i]))
        assert [seen_targets[i] for i in order] == [sorted(order[:k]) for k in range(len(order))]


@pytest.mark.parametrize("one_in", [2, 6])
def test_one_token_in_k_is_chosen_in_short_spans(one_in: int) -> None:
    draws = np.random.default_rng(0)
    free = np.ones(20_000, bool)
    chosen = permutation.spans(free, one_in, 5, draws)
    assert chosen.mean() == pytest.approx(1 / one_in, rel=0.05)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(int), [0]])))
    lengths = np.diff(edges)[::2]
    assert lengths.min() == 1
    if one_in == 6:  # neighbouring spans seldom touch
        assert (lengths <= 5).mean() > 0.95
        assert lengths.mean() == pytest.approx(3, rel=0.1)
    few = permutation.spans(np.array([False, False, True]), 6, 5, np.random.default_rng(3))
    assert few.tolist() == [False, False, True]


def test_special_tokens_are_never_guessed_and_every_row_has_a_target(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("xlnet", NAME, text)
    x = batch_of(rows, 12)["plain"][0]
    for epoch in range(20):
        chosen, _ = method.order(x, torch.arange(12) + 100 * epoch)
        assert chosen.any(1).all()
        assert not torch.isin(x[:, 0][chosen], torch.tensor(text.special_ids)).any()


def test_no_target_sees_itself_a_later_one_or_another_document(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = far(method_of("xlnet", NAME, text)).eval()
    batch = batch_of(rows, 4)
    x = batch["plain"][0]
    chosen, unseen = method.order(x, batch.keys)
    places = permutation.listed(chosen)
    before = method.encoder.permuted(x, unseen, places)
    row, at = (int(i) for i in chosen.nonzero()[0])
    other = x.clone()
    other[row, 0, at] = (other[row, 0, at] + 1) % text.vocab_size
    changed = (method.encoder.permuted(other, unseen, places) - before).abs().amax(-1)[row]
    for place, moved in zip(places[row].tolist(), changed, strict=True):
        blind = bool(unseen[row, place, at]) or x[row, 1, place] != x[row, 1, at]
        if place >= 0 and blind:
            assert moved < 1e-6
    assert changed[places[row] == at].max() < 1e-6


def test_other_networks_are_refused(wordpiece: Any) -> None:
    with pytest.raises(ConfigError, match="hf:xlnet-mini"):
        method_of("xlnet", "hf:bert-2x32h2", wordpiece[2])


def test_order_does_not_depend_on_the_batch(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("xlnet", NAME, text)
    batch = batch_of(rows)
    whole = method.order(batch["plain"][0], batch.keys)
    for number, part in enumerate(batch.split(1)):
        alone = method.order(part["plain"][0], part.keys)
        assert torch.equal(alone[0][0], whole[0][number])
        assert torch.equal(alone[1][0], whole[1][number])


def test_spans_are_those_of_the_librarys_collator() -> None:
    """The same rule draws the same shares: HF's collator on one long row against ours."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=_words(), mask_token="m", pad_token="p"
    )
    collator = transformers.DataCollatorForPermutationLanguageModeling(tokenizer)
    torch.manual_seed(0)
    ids = torch.full((64, 60), 1)
    _, _, _, labels = collator.torch_mask_tokens(ids.clone())
    theirs = (labels != -100).float().mean().item()
    keys = torch.arange(64)
    ours = permutation.choose(torch.ones(64, 60, dtype=torch.bool), keys, 6, 5)
    assert ours.float().mean().item() == pytest.approx(theirs, abs=0.02)


def _words() -> Any:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({"m": 0, "a": 1, "p": 2}, unk_token="a"))
