"""Which weights fine-tuning moves, and that what comes out is the library's own network."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from torch import nn

from tests.transfer.planted import PlantedRun, Projection, random_weight
from unlabeled.transfer import splits, training
from unlabeled.transfer.features import Inputs
from unlabeled.transfer.readings import Search, Trained
from unlabeled.transfer.training import Classifier, Recipe
from unlabeled.transfer.ways import RANK, WAYS, prepare
from unlabeled.types import PLAIN


def network() -> Classifier:
    torch.manual_seed(0)
    encoder = timm.create_model(
        "vit_tiny_patch16_224", img_size=8, patch_size=4, in_chans=1, num_classes=0,
        embed_dim=24, depth=3, num_heads=3,
    )  # fmt: skip
    return Classifier(encoder, 24, 3)


@pytest.fixture
def inputs(tmp_path):
    run = PlantedRun(tmp_path)
    return Inputs(run.source(), range(30), run.modality())


def moved(inputs, way: str, stop: int, steps: int = 8) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """Train briefly and return the model and what was added to each of its tensors."""
    model = network()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    recipe = Recipe(rate=1e-2, steps=steps, batch=8, way=way, warmup=0.01)
    y = np.arange(30) % 3
    ((_, after),) = training.train(model, inputs, np.arange(30), y, recipe, 0, [stop])
    assert set(after.state_dict()) == set(before)  # what is saved is the library's network
    return after, {name: after.state_dict()[name] - x for name, x in before.items()}


def test_all_weights_move(inputs):
    _, change = moved(inputs, "all", 8)
    assert all(float(x.abs().max()) > 0 for name, x in change.items() if "cls_token" not in name)


def test_only_the_last_blocks_move(inputs):
    _, change = moved(inputs, "last", 8)
    still = {name for name, x in change.items() if not x.any()}
    assert {n for n in change if n.startswith(("encoder.blocks.0", "encoder.patch"))} <= still
    assert (
        not {n for n in change if n.startswith(("encoder.blocks.2", "head", "encoder.no"))} & still
    )


def test_the_head_moves_first(inputs):
    _, change = moved(inputs, "thaw", 2)  # a quarter of 8 steps
    assert {name for name, x in change.items() if x.any()} == {"head.weight", "head.bias"}
    _, change = moved(inputs, "thaw", 8)
    assert change["encoder.blocks.0.attn.qkv.weight"].any()


def test_thin_matrices_are_added_and_nothing_else(inputs):
    model, change = moved(inputs, "lora", 8)
    body = {name: x for name, x in change.items() if name.startswith("encoder.")}
    for name, x in body.items():
        thin = x.ndim > 1 and "pos_embed" not in name and "cls_token" not in name
        assert bool(x.any()) is thin, name
        if thin:
            assert torch.linalg.matrix_rank(x.flatten(1), atol=1e-5) <= RANK
    assert change["head.weight"].any()
    assert not any(".parametrizations." in name for name, _ in model.named_parameters())


def test_thin_matrices_change_nothing_before_training(inputs):
    model, x = network(), inputs.plain(np.arange(4))
    nn.init.normal_(model.head.weight)
    before = model.eval()(x)
    prepare(model, "lora", 0)
    assert torch.equal(model(x), before)
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert all(n.startswith("head.") or n.endswith((".a", ".b")) for n in names)


def test_the_way_is_chosen_on_validation_and_remembered(tmp_path):
    run = PlantedRun(tmp_path)
    material = splits.prepare(run, None, None, None, most=20, draws=1, most_test=90, seed=0)

    def start(rows, draw):
        return Classifier(Projection(random_weight(0)), 6, 3)

    search = Search((PLAIN,), rates=(3e-2,), epochs=1, fewest=12, most=12, ways=WAYS)
    arm = Trained(material, start, search, {}, seed=0)
    assert search.tried == 4
    first = arm(material.pool[:30], 10, 0)
    assert first.choices["way"] in WAYS
    assert arm._chosen[10][0].way == first.choices["way"]
    again = Trained(material, start, replace(search, ways=("all",)), {}, seed=0)
    again.recall(10, 30, first.choices)
    assert (again(material.pool[:30], 10, 0).test == first.test).all()
