"""Codes, masks and iterations of HuBERT and BEST-RQ, against what they are by definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.loop.running import small_config
from unlabeled.nn import codes
from unlabeled.prepare import prepare
from unlabeled.state import batches, build


@pytest.fixture(scope="module")
def prepared(sound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return prepare(small_config("hubert", sound_folder), tmp_path_factory.mktemp("run"))


def made(prepared: Any, sound_folder: Path, **options: Any) -> tuple[Any, Any]:
    config = small_config("hubert", sound_folder)
    config = config.model_copy(update={"method": {**config.method, **options}})
    state = build(config, Path(), prepared)
    return state.method, next(batches(state))


def test_k_means_finds_planted_centres() -> None:
    rng = np.random.default_rng(0)
    planted = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    x = planted.repeat(50, 1) + torch.from_numpy(0.1 * rng.standard_normal((200, 2))).float()
    found = codes.centres(x, 4, seed=0)
    assert torch.cdist(planted, found).min(1).values.max() < 0.1
    torch.testing.assert_close(codes.nearest(x, found), torch.cdist(x, found).argmin(1))
    assert torch.equal(found, codes.centres(x, 4, seed=0))


def test_random_codes_are_the_nearest_of_all_by_cosine() -> None:
    x = 3 * torch.randn(500, 40) + 7
    made = codes.RandomCodes(x, 64)
    spread = (x - x.mean(0)) / x.std(0)
    projected = F.normalize(spread @ made.projection, dim=1)
    torch.testing.assert_close(made(x), torch.cdist(projected, made.table).argmin(1))
    torch.testing.assert_close(made.table.norm(dim=1), torch.ones(64))
    assert codes.perplexity(made(x), 64) > 30  # without normalisation few codes would serve all
    raw = codes.nearest(F.normalize(x @ made.projection, dim=1), made.table)
    assert codes.perplexity(raw, 64) < 15


def test_loss_is_the_cross_entropy_of_hidden_tokens_alone(
    prepared: Any, sound_folder: Path
) -> None:
    method, batch = made(prepared, sound_folder)
    found = method.loss(batch, 0.1)
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.bias.zero_()
    flat = method.loss(batch, 0.1)
    assert flat.total.item() == pytest.approx(method.chance(8))
    assert float(found.parts["targets"]) < batch["plain"].shape[1] * batch["plain"].shape[2]


def test_what_is_hidden_cannot_be_seen_and_what_is_not_is_kept(
    prepared: Any, sound_folder: Path
) -> None:
    for random in (False, True):
        method, batch = made(prepared, sound_folder, random_codes=random)
        x = batch["plain"][0]
        hidden = torch.zeros(len(x), -(-x.shape[1] // 2), dtype=torch.bool)
        hidden[:, 2:5] = True
        seen = method.hide(x, hidden, batch.keys)
        torch.testing.assert_close(seen[:, :4], x[:, :4])
        torch.testing.assert_close(seen[:, 10:], x[:, 10:])
        torch.testing.assert_close(seen[..., -1], x[..., -1])
        assert float(seen[:, 4:10, :-1].std()) == pytest.approx(0.1 if random else 0.0, abs=0.02)
        other = x.clone()
        other[:, 4:10, :-1] += 1
        torch.testing.assert_close(method.hide(other, hidden, batch.keys), seen)


def test_the_second_iteration_names_features_of_the_middle_layer_once(
    prepared: Any, sound_folder: Path
) -> None:
    method, batch = made(prepared, sound_folder)
    x = batch["plain"][0]
    first = method.codes_of(x)
    torch.testing.assert_close(first, codes.nearest(method.encoder.stacked(x), method.first.table))
    method.after_step(0.49)
    assert not method.settled
    method.after_step(0.5)
    assert method.settled
    assert method.teacher.num_layers == 1
    assert not method.head.weight.any()
    own = codes.nearest(method.teacher.tokens(x), method.own.table)
    torch.testing.assert_close(method.codes_of(x), own)
    assert len(own.unique()) > 3
    before = method.own.table.clone()
    method.encoder.model.get_input_embeddings().weight.data.add_(1.0)
    method.after_step(0.6)
    torch.testing.assert_close(method.own.table, before)
