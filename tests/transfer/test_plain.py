"""Plain features of images and trees on plain features, against definitions and known worlds."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tests.transfer.given import known_of
from unlabeled.transfer import baselines, image_baselines, patch_codes, probe, targets
from unlabeled.transfer.baselines import Plain
from unlabeled.transfer.boosted import Boosted
from unlabeled.transfer.readings import Frozen


class Drawn:
    """Images as `Inputs` hands them out."""

    def __init__(self, images: np.ndarray) -> None:
        self.cuts = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.cuts)


def stripes(count: int, seed: int):
    """Return images whose class is the direction of stripes, at chance phase: no pixel knows."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=count)
    place = np.arange(16) + rng.uniform(0, 6, size=(count, 1))
    wave = np.sin(2 * np.pi * place / 4)[:, None, :] * np.ones((1, 16, 1))
    images = np.where(y[:, None, None] == 1, wave.transpose(0, 2, 1), wave)
    images = 128 + 50 * images + 20 * rng.normal(size=images.shape)
    return np.clip(images, 0, 255).astype(np.uint8)[:, None], y


@pytest.mark.parametrize("name", ["codes", "convolutions"])
def test_patches_see_what_pixels_do_not(name):
    (x, y), (asked, truth) = stripes(60, 0), stripes(200, 1)
    train, test = Drawn(x), Drawn(asked)

    def score(plain: Plain) -> float:
        scale = probe.Scaler.fit(plain.train, each=plain.whiten)
        found = probe.fit(scale(plain.train), y, 2).predict(scale(plain.test))
        return float((found == truth).mean())

    made = patch_codes.for_images(train, test, train, words=32)
    found = made[name]()
    assert found.train.shape == (60, 4 * 32)
    assert score(found) > 0.95
    assert score(baselines.principal(image_baselines.pixels, train, test, train)) < 0.75


def test_answers_are_those_of_the_definitions():
    rng = np.random.default_rng(0)
    x, centres = rng.normal(size=(5, 7)), rng.normal(size=(4, 7))
    distance = np.linalg.norm(x[:, None] - centres, axis=2)
    expected = np.maximum(0, distance.mean(1, keepdims=True) - distance)
    found = patch_codes.triangle(torch.from_numpy(x), torch.from_numpy(centres))
    assert np.allclose(found, expected)
    both = patch_codes.rectified(torch.from_numpy(x), torch.from_numpy(centres)).numpy()
    assert np.allclose(both[:, :4] - both[:, 4:], x @ centres.T)
    assert (both >= 0).all()
    maps = torch.arange(32.0).view(1, 4, 4, 2)
    assert patch_codes.quarters(maps)[0, :4].tolist() == [5, 9, 21, 25]  # means of 2 x 2 places


def test_whitened_patches_are_uncorrelated_but_for_the_ridge():
    patches = patch_codes.patches_of(torch.rand(40, 1, 12, 12)).flatten(0, 2)
    white = patch_codes.Whitening.fit(patches)(patches).double()
    values = torch.linalg.eigvalsh(white.T @ white / (len(white) - 1))
    raw = torch.linalg.eigvalsh(torch.cov(patches.double().T))
    assert torch.allclose(values, raw / (raw + 0.1 * raw.mean()), atol=1e-3)


def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order].astype(np.float32), y[order].astype(np.int64)
    known = known_of(y[:900], y[900:], checked=300)
    return known, {"pixels": Frozen(known, lambda: Plain(x[:900], x[900:]))}


def test_trees_read_digits_and_a_handful_of_labels():
    known, plain = digits()
    found = Boosted(known, plain, trees=20)(known.pool[:200], 20, 0)
    assert (found.test == known.y_test).mean() > 0.8
    few = Boosted(known, plain, trees=20)(known.pool[:30], 3, 0)
    assert (few.test == known.y_test).mean() > 0.4  # a leaf of 20 would say one class for all
    assert few.choices["leaf"] < 20


def test_trees_read_numbers_and_several_labels():
    known, plain = digits()
    known.targets, known.task = known.y.astype(np.float32), "regression"
    found = Boosted(known, plain, trees=20)(known.pool[:200], 20, 0)
    assert targets.score(found.test, known.y_test.astype(np.float32), "r2") > 0.5
    known.targets = np.stack([known.y % 2, known.y > 4, known.y < 99], 1).astype(np.float32)
    known.task = "multi"
    truth = np.stack([known.y_test % 2, known.y_test > 4, known.y_test < 99], 1)
    several = Boosted(known, plain, trees=20)(known.pool[:200], 20, 0)
    assert (several.test == truth).mean(axis=0).min() > 0.8
