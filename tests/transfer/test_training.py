from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.transfer.planted import PlantedRun, Projection, basis
from unlabeled.transfer import splits, training
from unlabeled.transfer.features import Inputs, features, of_inputs
from unlabeled.transfer.probe import Scaler, fit
from unlabeled.transfer.readings import Search, Trained
from unlabeled.transfer.training import LIGHT, Classifier, Recipe
from unlabeled.types import PLAIN


@pytest.fixture
def run(tmp_path):
    return PlantedRun(tmp_path)


@pytest.fixture
def inputs(run):
    return Inputs(run.source(), range(60), run.modality())


def test_features_are_those_of_the_encoder(run, inputs):
    payloads = [run.source().payload(i) for i in range(60)]
    found = features(run.encoder(), run.modality(), payloads, batch_size=7)
    pixels = (run.source().pictures[:60].reshape(60, -1) / 255.0 - 0.5) / 0.5
    assert np.allclose(found, pixels @ basis().T, atol=1e-5)
    assert np.allclose(found, of_inputs(run.encoder(), inputs, precision="fp32"), atol=1e-5)


def test_unreadable_samples_are_left_out_and_named(run):
    class Broken:
        def __len__(self):
            return 3

        def name(self, index):
            return f"file {index}"

        def payload(self, index, epoch=0):
            return b"no image" if index == 1 else run.source().payload(index)

    found = Inputs(Broken(), range(3), run.modality())
    assert found.indices.tolist() == [0, 2]
    assert found.bad[0][0] == "file 1"
    assert "not an image" in found.bad[0][1]


def test_views_depend_on_keys_alone(inputs):
    rows, keys = np.array([3, 4]), np.array([11, 12])
    a, b = inputs.view(rows, LIGHT, keys), inputs.view(rows[::-1], LIGHT, keys[::-1].copy())
    assert torch.equal(a, b.flip(0))
    assert not torch.equal(a, inputs.view(rows, LIGHT, keys + 100))
    assert torch.equal(inputs.plain(rows), inputs.view(rows, PLAIN, keys))


def test_rates_fall_towards_the_first_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Linear(2, 2)
            self.blocks = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
            self.norm = nn.LayerNorm(2)

    groups = training.param_groups(Classifier(Net(), 2, 2), Recipe(lowest=0.1))
    rates = {id(p): g["scale"] for g in groups for p in g["params"]}
    model_rates = sorted({round(r, 4) for r in rates.values()})
    assert model_rates[0] == 0.1
    assert model_rates[-1] == 1.0
    assert len(model_rates) == 4
    assert all(g["weight_decay"] == 0 for g in groups if g["params"][0].ndim < 2)


def test_a_head_can_begin_as_the_probe(run, inputs):
    y = run.source().y[:60].astype(np.int64)
    found = of_inputs(run.encoder(), inputs, precision="fp32")
    scaler = Scaler.fit(found)
    fitted = fit(scaler(found), y, 3)
    model = Classifier(run.encoder(), 6, 3)
    model.start_from(fitted, scaler)
    with torch.no_grad():
        logits = model(inputs.plain(slice(0, 60))).numpy()
    assert np.allclose(logits, fitted.scores(scaler(found)), atol=1e-3)


def test_training_learns_repeats_and_keeps_the_global_generator(run, inputs):
    y, rows = run.source().y[:60].astype(np.int64), np.arange(60)
    ends = []
    for _ in range(2):
        model = Classifier(Projection(torch.tensor(basis(), dtype=torch.float32)), 6, 3)
        before = torch.get_rng_state()
        stops = [
            step
            for step, _ in training.train(model, inputs, rows, y, Recipe(steps=40), 3, [20, 40])
        ]
        assert stops == [20, 40]
        assert torch.equal(before, torch.get_rng_state())
        ends.append(model)
    assert torch.equal(ends[0].head.weight, ends[1].head.weight)
    assert (training.scores(ends[0], inputs).argmax(1) == y).mean() > 0.6


def test_statistics_can_be_frozen(run, inputs):
    class Normed(Projection):
        def __init__(self):
            super().__init__(torch.tensor(basis(), dtype=torch.float32))
            self.bn = nn.BatchNorm1d(6)

        def pool(self, tokens):
            return self.bn(tokens[:, 0])

    y, rows = run.source().y[:60].astype(np.int64), np.arange(60)
    for frozen in (True, False):
        model = Classifier(Normed(), 6, 3)
        list(training.train(model, inputs, rows, y, Recipe(steps=3, frozen_statistics=frozen), 0))
        assert bool((model.encoder.bn.running_mean == 0).all()) is frozen


def test_a_search_chooses_on_validation_and_is_made_once_for_each_count(run):
    material = splits.prepare(run, None, None, None, most=20, draws=1, most_test=90, seed=0)
    search = Search((PLAIN, LIGHT), rates=(1e-3, 3e-2), epochs=1, fewest=8, most=8)

    def start(rows, draw):
        return Classifier(run.encoder(), 6, 3)

    arm = Trained(material, start, search, {}, seed=0)
    assert arm.steps(5, 15) == search.cost * 8
    rows = material.pool[:15]
    first = arm(rows, 5, 0)
    assert first.choices["steps"] in (2, 4, 8)
    assert arm.steps(5, 15) == first.choices["steps"]
    again = arm(rows, 5, 0)
    assert again.choices == first.choices
    assert (again.test == first.test).all()
    other = Trained(material, start, search, {}, seed=0)
    other.recall(5, 15, first.choices)
    assert (other(rows, 5, 0).test == first.test).all()
    assert replace(search, rates=(1e-3,), views=(PLAIN,)).tried == 0


def test_weights_of_classes_are_chosen_where_some_are_rare_and_obeyed_where_said(run, monkeypatch):
    material = splits.prepare(run, None, None, None, most=20, draws=1, most_test=90, seed=0)
    by_class = [material.pool[material.y[material.pool] == k] for k in range(3)]
    rows = np.concatenate([by_class[0][:16], by_class[1][:3], by_class[2][:3]])
    search = Search((PLAIN,), rates=(1e-3, 3e-2), lengths=(1.0,), epochs=1, fewest=4, most=4)
    tried = []
    real = Trained._train

    def watched(self, model, given, recipe, *rest):
        tried.append(recipe.balanced)
        return real(self, model, given, recipe, *rest)

    monkeypatch.setattr(Trained, "_train", watched)

    def made(search, given):
        tried.clear()
        arm = Trained(material, lambda r, d: Classifier(run.encoder(), 6, 3), search, {}, seed=0)
        return arm, arm(given, 5, 0)

    _, even = made(search, material.pool[:15])
    assert "class_weights" not in even.choices
    assert set(tried) == {False}
    _, chosen = made(search, rows)
    assert chosen.choices["class_weights"] in ("none", "balanced")
    assert tried[:3] == [False, False, True]
    arm, said = made(replace(search, weightings=("balanced",)), rows)
    assert said.choices["class_weights"] == "balanced"
    assert set(tried) == {True}
    arm.recall(5, len(rows), said.choices)
    assert (arm(rows, 5, 0).test == said.test).all()
