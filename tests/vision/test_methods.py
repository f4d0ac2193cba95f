"""What every image method promises: pure loss, all parameters trained, coupling told truly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.vision.small import batch, encoder, method
from unlabeled.config import EncoderConfig, ImageConfig
from unlabeled.encoders import build
from unlabeled.errors import ConfigError
from unlabeled.method import Method
from unlabeled.methods import load
from unlabeled.modalities.image import Image
from unlabeled.types import Batch

CASES = [("simclr", "vit"), ("simclr", "cnn"), ("mae", "vit"), ("dino", "vit"), ("dino", "cnn")]


def _gradient(task: Method, seen: Batch) -> torch.Tensor:
    task.zero_grad()
    task.loss(seen, 0.5).total.backward()
    return torch.cat([p.grad.flatten() for p in task.parameters() if p.grad is not None])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_parameter_is_trained(name: str, kind: str) -> None:
    task = method(name, kind).train()
    loss = task.loss(batch(task), 0.5)
    assert loss.total.dtype == torch.float32
    assert not any(part.requires_grad for part in loss.parts.values())
    loss.total.backward()
    idle = [n for n, p in task.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_loss_in_evaluation_changes_no_state(name: str, kind: str) -> None:
    task = method(name, kind).eval()
    before = {k: x.clone() for k, x in task.state_dict().items()}
    first = task.loss(batch(task), 0.5).total
    second = task.loss(batch(task), 0.5).total
    assert torch.equal(first, second)
    assert all(torch.equal(x, before[k]) for k, x in task.state_dict().items())


def test_dino_in_evaluation_leaves_the_centre_alone() -> None:
    task = method("dino").eval()
    task.loss(batch(task), 0.5)
    task.after_step(0.5)
    assert not task.balance.centre.value.any()


def test_loss_in_training_moves_only_after_the_step() -> None:
    task = method("dino").train()
    before = {k: x.clone() for k, x in task.state_dict().items()}
    task.loss(batch(task), 0.5)
    assert all(torch.equal(x, before[k]) for k, x in task.state_dict().items())
    task.after_step(0.5)
    assert task.balance.centre.value.any()


@pytest.mark.parametrize("name", ["simclr", "mae", "dino"])
def test_coupling_of_samples_is_told_truly(name: str) -> None:
    task = method(name).double().train()
    for module in task.modules():  # the projector's statistics couple samples too; not the point
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eval()
    seen = batch(task, 8, dtype=torch.float64)
    whole = _gradient(task, seen)
    halves = torch.stack([_gradient(task, half) for half in seen.split(4)]).mean(0)
    same = torch.allclose(whole, halves, rtol=1e-5, atol=1e-9)
    assert same != task.couples_samples


@pytest.mark.parametrize("options", [{"norm_head": True}, {"balance": "sinkhorn"}])
def test_dino_tells_that_options_of_its_targets_couple_samples(options: dict[str, Any]) -> None:
    task = method("dino", **options).double().train()
    assert task.couples_samples
    assert not method("dino").couples_samples
    seen = batch(task, 8, dtype=torch.float64)
    whole = _gradient(task, seen)
    halves = torch.stack([_gradient(task, half) for half in seen.split(4)]).mean(0)
    assert (whole - halves).norm() / whole.norm() > 0.01


def test_a_samples_loss_does_not_depend_on_its_company() -> None:
    task = method("mae").eval()
    seen = batch(task, 6)
    alone = [task.loss(one, 0.0).total.item() for one in seen.split(1)]
    assert task.loss(seen, 0.0).total.item() == pytest.approx(sum(alone) / 6, rel=1e-5)


def test_accumulated_batches_move_the_centre_as_one() -> None:
    centres = []
    for size in (8, 4):
        torch.manual_seed(0)
        task = method("dino").train()
        for part in batch(task, 8).split(size):
            task.loss(part, 0.5)
        task.after_step(0.5)
        centres.append(task.balance.centre.value)
    torch.testing.assert_close(*centres)


@pytest.mark.parametrize("name", ["mae", "simmim", "ibot", "dinov2", "ijepa", "data2vec"])
def test_a_network_without_tokens_is_refused(name: str) -> None:
    image = ImageConfig(size=32)
    cnn = build(EncoderConfig(name="timm:resnet10t"), image)
    with pytest.raises(ConfigError) as caught:
        load(name)(load(name).Config(), cnn, Image(image))
    said = str(caught.value)
    assert said.startswith(
        f"{name} hides tokens, but encoder 'timm:resnet10t' offers only a pooled feature. "
        "Choose a transformer (timm:vit_tiny_patch16_224, "
    )
    _, _, others = said.partition("or a method that needs no tokens: ")
    assert {"dino", "lejepa", "simclr"} <= set(others.rstrip(".").split(", "))
    assert name not in others


def test_views_that_patches_do_not_tile_are_refused() -> None:
    image = ImageConfig(size=32)
    vit = build(EncoderConfig(name="timm:test_vit", patch=16), image)
    with pytest.raises(ConfigError, match="not tiled by patches of 16"):
        load("dino")(load("dino").Config(local_size=0.25), vit, Image(image, patch=8))


@pytest.mark.parametrize(
    ("name", "chance"), [("simclr", math.log(15)), ("dino", math.log(32)), ("mae", None)]
)
def test_chance(name: str, chance: float | None) -> None:
    assert method(name).chance(8) == chance


def test_dino_starts_near_chance_and_simclr_too() -> None:
    for name in ("simclr", "dino"):
        task = method(name, temperature=1.0).train()
        assert task.loss(batch(task), 0.0).total.item() == pytest.approx(task.chance(8), rel=0.1)


def test_the_teacher_is_exported_and_the_student_trained() -> None:
    dino, simclr = method("dino"), method("simclr")
    assert dino.exported() is dino.teacher
    assert simclr.exported() is simclr.encoder
    assert all(not p.requires_grad for p in dino.teacher.parameters())


def test_views_are_the_papers() -> None:
    views = method("dino", num_local=6).views()
    assert views["global"].count == 2
    assert views["global"].extent == (0.4, 1.0)
    assert views["local"].count == 6
    assert views["local"].extent == (0.05, 0.4)
    alone = method("dino", num_local=0).views()
    assert list(alone) == ["global"]
    assert alone["global"].extent[0] == 0.14
    assert method("simclr").views()["global"].extent == (0.08, 1.0)
    assert method("mae").views()["global"].count == 1


@pytest.mark.parametrize("name", ["simclr", "mae", "dino"])
def test_a_few_steps_on_one_batch_lower_the_loss(name: str) -> None:
    task = method(name).train()
    seen = batch(task)
    optimiser = torch.optim.AdamW(task.param_groups()[0]["params"], 1e-3)
    losses = []
    for _ in range(8):
        total = task.loss(seen, 0.0).total
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append(total.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_losses_under_autocast_are_close(name: str, kind: str) -> None:
    task = method(name, kind).train()
    seen = batch(task)
    full = task.loss(seen, 0.5).total.item()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = task.loss(seen, 0.5).total
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(full, rel=0.05)


def test_pretrained_weights_are_not_started_anew(tmp_path: Any) -> None:
    first = encoder()
    first.save(tmp_path)
    image = ImageConfig(size=16)
    config = EncoderConfig(name="timm:test_vit", patch=4, init=str(tmp_path))
    task = load("mae")(load("mae").Config(), build(config, image), Image(image))
    for name, x in first.state_dict().items():
        assert torch.equal(task.encoder.state_dict()[name], x)
