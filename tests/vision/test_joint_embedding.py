"""What moves, what is held and what is seen in the joint-embedding methods, as in their papers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity
from torch import nn

from tests.vision.small import batch, method
from unlabeled.nn.heads import perceptron
from unlabeled.nn.positions import sincos_2d
from unlabeled.types import Batch

TEACHERS = ["moco", "mocov3", "byol"]
SYMMETRIC = ["mocov3", "byol", "barlow", "vicreg"]


def swapped(seen: Batch) -> Batch:
    """Return the batch with its two large views exchanged."""
    return Batch({"global": seen["global"].flip(0)}, seen.keys)


@pytest.mark.parametrize("name", TEACHERS)
def test_teachers_are_slow_copies_without_gradient(name: str) -> None:
    task: Any = method(name, "cnn", momentum=0.9).train()
    task.loss(batch(task), 0.0).total.backward()
    pairs = [(task.teacher, task.encoder), (task.teacher_projector, task.projector)]
    for teacher, student in pairs:
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
        for p in student.parameters():
            p.data.add_(1.0)
    before = [p.clone() for teacher, _ in pairs for p in teacher.parameters()]
    task.after_step(0.0)
    after = [p for teacher, _ in pairs for p in teacher.parameters()]
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new - old, torch.full_like(old, 0.1), rtol=1e-3, atol=1e-5)
    assert task.exported() is task.encoder


@pytest.mark.parametrize("name", ["mocov3", "byol"])
def test_momentum_reaches_one(name: str) -> None:
    task: Any = method(name, "cnn").train()
    for p in task.encoder.parameters():
        p.data.add_(1.0)
    before = [p.clone() for p in task.teacher.parameters()]
    task.after_step(1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, task.teacher.parameters(), strict=True))


@pytest.mark.parametrize("name", SYMMETRIC)
def test_both_directions_count_alike(name: str) -> None:
    task = method(name, "cnn").train()
    seen = batch(task)
    one, two = task.loss(seen, 0.5).total.item(), task.loss(swapped(seen), 0.5).total.item()
    assert one == pytest.approx(two, rel=1e-5)


def test_byol_is_two_less_two_cosines_of_lightly() -> None:
    task: Any = method("byol", "cnn").train()
    seen = batch(task)
    told = [task.predictor(task.projector(task.encoder(x))) for x in seen["global"]]
    heard = [task.teacher_projector(task.teacher(x)) for x in seen["global"]]
    cosine = NegativeCosineSimilarity()
    expected = 2 + cosine(told[0], heard[1]) + cosine(told[1], heard[0])
    assert task.loss(seen, 0.0).total.item() == pytest.approx(expected.item(), rel=1e-5)
    squares = [
        (F.normalize(p, dim=1) - F.normalize(z, dim=1)).square().sum(1).mean()
        for p, z in zip(told, reversed(heard), strict=True)
    ]
    assert sum(squares).item() / 2 == pytest.approx(expected.item(), rel=1e-4)


def test_moco_pushes_the_teachers_keys_in_order_after_the_step() -> None:
    task: Any = method("moco").train()  # a transformer: no groups, no statistics
    seen = batch(task)
    before = task.queue.rows.clone()
    expected = F.normalize(task.teacher_projector(task.teacher(seen["global"][1])), dim=1)
    task.loss(seen, 0.0)
    assert torch.equal(task.queue.rows, before)
    task.after_step(0.0)
    torch.testing.assert_close(task.queue.rows[:8], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(task.queue.rows[8:], before[8:])


def test_moco_starts_near_chance() -> None:
    task = method("moco", temperature=1.0).train()
    assert task.chance(8) == math.log(21)
    assert task.loss(batch(task), 0.0).total.item() == pytest.approx(math.log(21), rel=0.3)


class Noted(nn.Module):
    """Notes the batches that pass."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Note and pass on."""
        self.seen.append(x)
        return self.inner(x)


def test_mocos_keys_are_normalised_in_other_company_than_their_queries() -> None:
    task: Any = method("moco", "cnn", groups=4).train()
    seen = batch(task, 16)
    task.encoder, task.teacher = Noted(task.encoder), Noted(task.teacher)
    task.loss(seen, 0.0)

    def company(groups: list[torch.Tensor], view: torch.Tensor) -> list[set[int]]:
        find = [[int((view == x).flatten(1).all(1).nonzero()) for x in group] for group in groups]
        return [set(group) for group in find]

    queries = company(task.encoder.seen, seen["global"][0])
    keys = company(task.teacher.seen, seen["global"][1])
    assert queries == [set(range(start, start + 4)) for start in range(0, 16, 4)]
    assert sorted(index for group in keys for index in group) == list(range(16))
    assert not any(group in queries for group in keys)


def test_mocos_groups_change_nothing_but_statistics() -> None:
    """In evaluation BatchNorm uses what it collected, so shuffling must undo itself."""
    found = []
    for groups in (1, 3, 4):
        torch.manual_seed(0)
        task = method("moco", "cnn", groups=groups).eval()
        found.append(task.loss(batch(task), 0.0).total.item())
    assert found == pytest.approx([found[0]] * 3, rel=1e-5)
    assert method("moco", "vit", groups=4).groups == 1  # type: ignore[comparison-overlap]


def test_moco_three_freezes_the_patches_of_a_transformer_and_fixes_its_positions() -> None:
    task: Any = method("mocov3").train()
    model = task.encoder.model
    assert not any(p.requires_grad for p in model.patch_embed.parameters())
    assert not model.pos_embed.requires_grad
    rows = model.pos_embed[0, -16:]
    torch.testing.assert_close(rows, sincos_2d(4, task.encoder.dim))
    width = task.encoder.dim
    bound = math.sqrt(6 / (2 * width))  # queries, keys and values apart
    found = model.blocks[0].attn.qkv.weight.abs().max().item()
    assert 0.95 * bound < found <= bound
    free: Any = method("mocov3", frozen_patches=False)
    assert all(p.requires_grad for p in free.encoder.model.patch_embed.parameters())


def test_moco_three_has_the_heads_of_the_authors() -> None:
    """Three layers and BatchNorm last for a transformer; two and a bare predictor for a ResNet."""

    def words(head: nn.Sequential) -> str:
        names = {nn.Linear: "L", nn.BatchNorm1d: "N", nn.ReLU: "R"}
        return "".join(names[type(layer)] for layer in head)

    vit: Any = method("mocov3", "vit")
    cnn: Any = method("mocov3", "cnn")
    assert (words(vit.projector), words(vit.predictor)) == ("LNRLNRLN", "LNRLN")
    assert (words(cnn.projector), words(cnn.predictor)) == ("LNRLN", "LNRL")
    heads = [*vit.projector, *vit.predictor, *cnn.projector, *cnn.predictor]
    assert all(layer.bias is None for layer in heads if isinstance(layer, nn.Linear))
    assert not vit.projector[-1].affine
    assert not cnn.projector[-1].affine


def test_moco_three_is_algorithm_one() -> None:
    task: Any = method("mocov3", "cnn", temperature=0.3).train()
    seen = batch(task)
    q = [F.normalize(task.predictor(task.projector(task.encoder(x)))) for x in seen["global"]]
    k = [F.normalize(task.teacher_projector(task.teacher(x))) for x in seen["global"]]
    labels = torch.arange(8)
    parts = [F.cross_entropy(q[i] @ k[1 - i].T / 0.3, labels) * 2 * 0.3 for i in (0, 1)]
    assert task.loss(seen, 0.0).total.item() == pytest.approx(sum(parts).item(), rel=1e-5)


def test_swavs_prototypes_stay_on_the_sphere_and_still_at_first() -> None:
    task: Any = method("swav", "cnn").train()
    held = [g for g in task.param_groups() if "frozen_until" in g]
    assert [p.shape for g in held for p in g["params"]] == [(12, 16)]
    task.prototypes.data.mul_(3.0)
    task.after_step(0.5)
    torch.testing.assert_close(task.prototypes.norm(dim=1), torch.ones(12))


def test_swav_uses_its_queue_once_it_is_full_and_late_enough() -> None:
    task: Any = method("swav", "cnn", queue_start=0.5).train()
    seen = batch(task)
    empty = task.loss(seen, 0.9).total.item()
    assert task.loss(seen, 0.1).total.item() == empty
    task.after_step(0.9)  # two losses heard: 16 rows fill the queue
    assert all(queue.filled for queue in task.queues)
    early = method_like(task, seen, 0.1)
    assert method_like(task, seen, 0.9) != early


def method_like(task: Any, seen: Batch, progress: float) -> float:
    """Return a loss in evaluation, which hears nothing."""
    return task.eval().loss(seen, progress).total.item()


def test_swav_keeps_a_queue_for_each_large_crop() -> None:
    task: Any = method("swav", "vit").train()
    seen = batch(task)
    told = [F.normalize(task.projector(task.encoder(x)), dim=1) for x in seen["global"]]
    task.projector.eval()
    told = [F.normalize(task.projector(task.encoder(x)), dim=1) for x in seen["global"]]
    task.loss(seen, 0.0)
    for queue in task.queues:
        queue.move()
    for queue, rows in zip(task.queues, told, strict=True):
        torch.testing.assert_close(queue.rows[:8], rows, rtol=1e-4, atol=1e-5)


def test_swav_without_small_crops_or_queue() -> None:
    task: Any = method("swav", "cnn", num_local=0, queue=0).train()
    assert list(task.views()) == ["global"]
    assert task.views()["global"].extent[0] == 0.14
    assert torch.isfinite(task.loss(batch(task), 0.9).total)
    task.after_step(0.9)


def test_nnclr_finds_by_neighbours_and_pushes_the_first_view() -> None:
    task: Any = method("nnclr", "cnn").train()
    seen = batch(task)
    told = task.projector(task.encoder(seen["global"].flatten(0, 1)))
    p = F.normalize(task.predictor(told), dim=1).chunk(2)
    near = task.queue.rows[(told @ task.queue.rows.T).argmax(1)].chunk(2)
    labels = torch.arange(8)
    parts = [F.cross_entropy(near[i] @ p[1 - i].T / 0.1, labels) / 2 for i in (0, 1)]
    assert task.loss(seen, 0.0).total.item() == pytest.approx(sum(parts).item(), rel=1e-5)
    task.after_step(0.0)
    expected = F.normalize(told.chunk(2)[0], dim=1)
    torch.testing.assert_close(task.queue.rows[:8], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["barlow", "vicreg"])
def test_expanders_have_no_bias_that_their_loss_would_remove(name: str) -> None:
    task: Any = method(name, "cnn")
    assert [type(layer).__name__ for layer in task.projector] == [
        "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear",
    ]  # fmt: skip
    assert all(layer.bias is None for layer in task.projector if isinstance(layer, nn.Linear))


def test_a_perceptron_of_one_layer_is_a_linear_map() -> None:
    assert len(perceptron(4, 8, 2, 1)) == 1
    assert perceptron(4, 8, 2, 1)[0].bias is not None
    assert perceptron(4, 8, 2, 1, norm=True)[0].bias is None


@pytest.mark.parametrize(
    ("name", "chance"),
    [
        ("moco", math.log(21)), ("mocov3", 0.8 * math.log(8)), ("nnclr", math.log(8)),
        ("swav", math.log(12)), ("byol", None), ("barlow", None), ("vicreg", None),
    ],
)  # fmt: skip
def test_chance(name: str, chance: float | None) -> None:
    assert method(name).chance(8) == pytest.approx(chance)


@pytest.mark.parametrize("name", ["byol", "barlow", "mocov3"])
def test_the_second_view_is_distorted_unlike_the_first(name: str) -> None:
    """BYOL's T and T': blur almost always and hardly ever, solarising in the second alone."""
    look = method(name).views()["global"]
    assert look.blur == (1.0, 0.1)
    assert look.solarize == (0.0, 0.2)


@pytest.mark.parametrize("name", ["moco", "nnclr", "swav"])
def test_halves_of_a_batch_see_one_queue(name: str) -> None:
    task: Any = method(name).train()
    queues = task.queues if name == "swav" else [task.queue]
    for part in batch(task, 8).split(4):
        before = [queue.rows.clone() for queue in queues]
        task.loss(part, 0.5)
        assert all(torch.equal(q.rows, x) for q, x in zip(queues, before, strict=True))
    task.after_step(0.5)
    assert all(int(queue.pushed) == 8 for queue in queues)
