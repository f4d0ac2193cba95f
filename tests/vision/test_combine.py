"""Several tasks on one encoder: the same objects, added up, each moving what it moves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.vision.small import IMAGE, batch, encoder, method
from unlabeled.errors import UsageError
from unlabeled.methods import load, tasks
from unlabeled.modalities.image import Image

OPTIONS = {
    "simclr": {"hidden_dim": 32, "out_dim": 16},
    "vicreg": {"hidden_dim": 32, "out_dim": 16},
    "byol": {"hidden_dim": 32, "out_dim": 16, "momentum": 0.5},
    "mae": {"decoder_heads": 1, "decoder_depth": 1},
    "dino": {"out_dim": 32, "hidden_dim": 32, "bottleneck_dim": 16, "num_local": 2},
}


def combined(*tasks: str, kind: str = "vit", weights: tuple[float, ...] = ()) -> Any:
    """Return tasks on one small encoder."""
    found: Any = load("combine")
    config = found.Config(tasks=tasks, weights=weights, options={t: OPTIONS[t] for t in tasks})
    torch.manual_seed(0)
    return found(config, encoder(kind), Image(IMAGE, patch=4))


def test_the_loss_is_the_weighted_sum_of_the_tasks_own() -> None:
    task = combined("byol", "simclr", weights=(2.0, 0.5)).train()
    seen = batch(task)
    loss = task.loss(seen, 0.5)
    parts = [task.tasks[name].loss(_own(task, name, seen), 0.5).total for name in task.tasks]
    assert loss.total.item() == pytest.approx((2.0 * parts[0] + 0.5 * parts[1]).item(), rel=1e-5)
    assert loss.parts["byol_loss"].item() == pytest.approx(parts[0].item(), rel=1e-5)


def _own(task: Any, name: str, seen: Any) -> Any:
    views = {kind: seen[there] for kind, there in task.named[name].items()}
    return type(seen)(views, seen.keys)


def test_one_task_alone_is_that_task() -> None:
    alone = combined("simclr").train()
    torch.manual_seed(0)
    plain = method("simclr").train()
    plain.load_state_dict(alone.tasks["simclr"].state_dict())
    seen = batch(alone)
    assert alone.loss(seen, 0.5).total.item() == pytest.approx(plain.loss(seen, 0.5).total.item())


def test_tasks_share_the_encoder_and_views_that_are_alike() -> None:
    task = combined("dino", "mae", "byol")
    assert all(part.encoder is task.encoder for part in task.tasks.values())
    assert set(task.views()) == {"global", "local", "mae-global", "byol-global"}
    found: Any = load("combine")
    both = found.Config(tasks=("moco", "nnclr"), options={"moco": {"queue": 8}})
    shared = found(both, encoder("cnn"), Image(IMAGE, patch=4))
    assert list(shared.views()) == ["global"]


def test_every_parameter_is_in_one_group_and_gets_a_gradient() -> None:
    task = combined("dino", "mae").train()
    params = [p for group in task.param_groups() for p in group["params"]]
    assert len(params) == len({id(p) for p in params})
    assert {id(p) for p in params} == {id(p) for p in task.parameters() if p.requires_grad}
    task.loss(batch(task), 0.5).total.backward()
    assert [n for n, p in task.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("order", [("dino", "mae"), ("mae", "dino")])
def test_teachers_start_as_the_student_whatever_the_order(order: tuple[str, str]) -> None:
    task = combined(*order)
    dino = task.tasks["dino"]
    for slow, fast in zip(dino.teacher.parameters(), dino.encoder.parameters(), strict=True):
        torch.testing.assert_close(slow, fast)
    assert task.encoder.pretrained is False


def test_each_task_moves_its_own_after_a_step() -> None:
    task = combined("dino", "byol").train()
    seen = batch(task)
    task.loss(seen, 0.5)
    for p in task.encoder.parameters():
        p.data.add_(1.0)
    before = [p.clone() for p in task.tasks["byol"].teacher.parameters()]
    task.after_step(0.5)
    state = task.tasks["dino"].state_dict()
    assert any(x.any() for name, x in state.items() if "centre" in name)
    after = task.tasks["byol"].teacher.parameters()
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_what_is_kept_is_the_first_tasks() -> None:
    assert (task := combined("dino", "simclr")).exported() is task.tasks["dino"].teacher
    assert (task := combined("simclr", "dino")).exported() is task.encoder
    assert task.num_prototypes() == 32
    assert combined("simclr", "mae").num_prototypes() is None


def test_health_reads_the_worst_projection_and_the_entropy_of_its_prototypes() -> None:
    task = combined("simclr", "byol", "dino").train()
    parts = task.loss(batch(task), 0.5).parts
    spreads = [parts["simclr_projection_spread"], parts["byol_projection_spread"]]
    assert parts["projection_spread"] == min(spreads)
    assert parts["entropy"] == parts["dino_entropy"]


def test_samples_are_coupled_as_soon_as_one_task_couples_them() -> None:
    assert combined("mae", "simclr").couples_samples
    assert not combined("mae", "dino").couples_samples


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tasks": ["simclr", "simclr"]}, "each once"),
        ({"tasks": []}, "one or more methods"),
        ({"tasks": ["simclr", "combine"]}, "not combine itself"),
        ({"tasks": ["simclr", "vicrg"]}, "Did you mean 'vicreg'"),
        ({"tasks": ["simclr", "gpt"]}, "no kind of data"),
        ({"tasks": ["simclr", "mae"], "weights": [1.0]}, "one weight >= 0 for each task"),
        ({"weights": [0.0, 0.0]}, "not all 0"),
        ({"options": {"mae": {}}}, "for no task"),
        ({"options": {"simclr": {"temprature": 1}}}, "method.options.simclr.temprature"),
        ({"options": {"simclr": {"temperature": -1.0}}}, "temperature=-1.0 is not possible"),
    ],
)
def test_what_cannot_be_combined_is_answered(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        tasks.check("combine", options)


def test_the_task_that_asks_most_leads_the_choice_of_an_encoder() -> None:
    assert tasks.lead("combine", {"tasks": ["simclr", "mae"]}) == "mae"
    assert tasks.lead("combine", {"tasks": ["byol", "simclr"]}) == "byol"
    assert tasks.lead("simclr", {}) == "simclr"
    assert tasks.parts("combine", {}) == ["simclr", "vicreg"]
