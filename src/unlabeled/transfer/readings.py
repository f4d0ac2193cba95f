"""The readings of a study: what is done with the same few labels.

A reading is a function of (which samples are labelled, how many a class, number of the draw).
It sees the classes of those samples and of the validation part; of the test part it sees the
samples alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from unlabeled.transfer import aims, baselines, knn, metrics, ordinal, probe, targets
from unlabeled.transfer.aims import Number, aim_of
from unlabeled.transfer.calibration import sureness
from unlabeled.transfer.features import of_inputs
from unlabeled.transfer.material import Known
from unlabeled.transfer.remembered import Remembered
from unlabeled.transfer.training import Recipe, scores, train
from unlabeled.transfer.ways import RATES
from unlabeled.types import View

_WEIGHTINGS = ("none", "balanced")


@dataclass(frozen=True)
class Outcome:
    """What a reading says of the validation part and of the test part.

    Args:
        validation: (V,) classes or grades, (V, K) labels or (V,) numbers.
        test: the same of M samples.
        choices: hyper-parameters that were chosen.
        sure: (M,) probability of the class that each is said to be of; None: it has none.
    """

    validation: NDArray[Any]
    test: NDArray[Any]
    choices: dict[str, Any]
    sure: NDArray[np.floating] | None = None


Reading = Callable[[NDArray[np.int64], int, int], Outcome]
Answer = tuple[NDArray[Any], NDArray[np.floating] | None]
"""Guesses of the test part, and how sure they are."""


def validated(known: Known, guess: NDArray[Any]) -> float:
    """Return how good guesses of the validation part are, by the metric that fits it."""
    aims, metric = known.targets, targets.METRICS.get(known.task)
    truth: NDArray[Any] = (known.y if aims is None else aims)[known.validation]
    if metric is None:
        return metrics.single(guess, truth, len(known.classes))
    return targets.score(guess, truth, metric) if len(truth) else 0.0


class Frozen:
    """Features computed once, for all readings of an encoder that is not trained.

    Args:
        known: the samples.
        make: returns features of the labelled and of the test samples.
        weighting: of classes, as for `probe.fit`.
    """

    def __init__(
        self, known: Known, make: Callable[[], baselines.Plain], weighting: str | None = None
    ) -> None:
        self.known, self._make, self.weighting = known, make, weighting

    @staticmethod
    def of_encoder(
        known: Known,
        encoder: Callable[[], nn.Module],
        weighting: str | None = None,
        kept: tuple[Remembered, str] | None = None,
    ) -> Frozen:
        """Return the features of an encoder, those that are `kept` under a name from there."""

        def make() -> baselines.Plain:
            parts = (known.train, known.test)
            if kept is not None:
                train, test = (kept[0].of(kept[1], encoder, part) for part in parts)
            else:
                network = encoder()
                train, test = (of_inputs(network, part) for part in parts)
            return baselines.Plain(train, test, whiten=True)

        return Frozen(known, make, weighting)

    @cached_property
    def features(self) -> baselines.Plain:
        """Return the features; computed when first asked for."""
        return self._make()

    @cached_property
    def scaler(self) -> probe.Scaler:
        """Return the scaling, from labelled samples without their labels."""
        return probe.Scaler.fit(self.features.train[self.known.steady], each=self.features.whiten)

    @cached_property
    def scaled(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return scaled features of the labelled and of the test samples."""
        return self.scaler(self.features.train), self.scaler(self.features.test)

    def knn(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Read by nearest neighbours."""
        known, num_classes = self.known, len(self.known.classes)
        x, y = self.features.train[rows], known.y[rows]
        asked = (self.features.train[known.validation], self.features.test)
        if known.targets is not None:
            k = min(5, len(rows))
            said = [targets.nearest(x, known.targets[rows], part, k) for part in asked]
            return Outcome(said[0], said[1], {"k": k})
        k = knn.choose_k(x, y, num_classes)
        shares = [knn.shares(x, y, part, num_classes, k) for part in asked]
        if known.task == "ordinal":
            guesses = [knn.mean_class(part) for part in shares]
            return Outcome(guesses[0], guesses[1], {"k": k})
        guesses = [part.argmax(axis=1) for part in shares]
        return Outcome(guesses[0], guesses[1], {"k": k}, shares[1].max(axis=1))

    def fitted(self, rows: NDArray[np.int64], draw: int) -> probe.Probe:
        """Return the linear reading of some labelled samples: a column for each output.

        Outputs are those that a network has (`aims.outputs`); of numbers, in their own unit.
        """
        known, x = self.known, self.scaled[0][rows]
        if known.task == "ordinal":
            link = ordinal.fit(x, known.y[rows], len(known.classes), draw)
            weight = np.repeat(link.weight[:, None], len(link.cuts), axis=1)
            return probe.Probe(weight, -link.cuts, link.penalty)
        if known.targets is not None:
            return targets.fit(x, known.targets[rows], draw, self.weighting)
        return probe.fit(x, known.y[rows], len(known.classes), draw, self.weighting)

    def head(self, rows: NDArray[np.int64], draw: int) -> probe.Probe:
        """Return the linear reading as a network's training begins with it."""
        fitted, aim = self.fitted(rows, draw), aim_of(self.known, rows)
        return aim.begun(fitted) if isinstance(aim, Number) else fitted

    def probe(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Read by logistic regression, by ridge where targets are numbers, or by a linked line."""
        if self.known.targets is not None:
            return self._to_targets(self.known.targets, rows, draw)
        if self.known.task == "ordinal":
            return self._to_grades(rows, draw)
        if not isinstance(self.features.train, np.ndarray):
            return self._sparse(rows, draw)
        fitted = self.fitted(rows, draw)
        train, test = self.scaled
        guess, scores = fitted.predict(train[self.known.validation]), fitted.scores(test)
        chosen: dict[str, Any] = {"l2": fitted.penalty}
        if aims.imbalanced(self.known, rows):
            chosen["class_weights"] = _WEIGHTINGS[fitted.balanced]
        return Outcome(guess, scores.argmax(axis=1), chosen, sureness(scores))

    @property
    def _read(self) -> tuple[Any, Any, bool]:
        """Return features as they are read: scaled where dense, as they are where sparse."""
        dense = isinstance(self.features.train, np.ndarray)
        found = self.scaled if dense else (self.features.train, self.features.test)
        return *found, dense

    def _to_grades(self, rows: NDArray[np.int64], draw: int) -> Outcome:
        train, test, dense = self._read
        tried = probe.PENALTIES if dense else baselines.PENALTIES
        y, num_grades = self.known.y[rows], len(self.known.classes)
        link = ordinal.fit(train[rows], y, num_grades, draw, tried)
        guesses = link.predict(train[self.known.validation]), link.predict(test)
        return Outcome(*guesses, {"l2": link.penalty})

    def _to_targets(self, aims: NDArray[np.float32], rows: NDArray[np.int64], draw: int) -> Outcome:
        train, test, _ = self._read
        asked = [train[self.known.validation], test]
        said, chosen = targets.linear(train[rows], aims[rows], asked, draw)
        return Outcome(said[0], said[1], chosen)

    def _sparse(self, rows: NDArray[np.int64], draw: int) -> Outcome:
        x = self.features.train
        model, penalty = baselines.fit_sparse(x[rows], self.known.y[rows], draw)
        guesses = model.predict(x[self.known.validation]), model.predict(self.features.test)
        sure = model.predict_proba(self.features.test).max(axis=1)
        said = [guess.astype(np.int64) for guess in guesses]
        return Outcome(said[0], said[1], {"l2": penalty}, sure)


@dataclass(frozen=True)
class Search:
    """What is tried on the validation part; the same for a pre-trained and a fresh encoder.

    Args:
        rates: learning rates, the default first.
        views: augmentations; the first is the pre-training method's own.
        lengths: shares of the longest run, ascending; rates are judged by the first, views by all:
            a strong augmentation pays late, so short runs would choose against it.
        epochs: passes over the labels in the longest run.
        fewest: least steps of the longest run.
        most: most steps of the longest run.
        ways: which weights are moved; the first is judged with the rates.
        weightings: of classes, ``none`` or ``balanced``; further ones than the first are tried
            where classes are imbalanced.
    """

    views: tuple[View, ...]
    rates: tuple[float, ...] = (1e-3, 2e-4, 4e-3)
    lengths: tuple[float, ...] = (0.25, 0.5, 1.0)
    epochs: int = 30
    fewest: int = 200
    most: int = 1500
    ways: tuple[str, ...] = ("all",)
    # What rows depend on is told by the repr; balanced draws are trained as they were before.
    weightings: tuple[str, ...] = field(default=("none", "balanced"), repr=False)

    def longest(self, num_labels: int) -> Recipe:
        """Return the longest run with the first rate and view."""
        batch = 32 if num_labels < 32 else 64
        steps = min(max(self.fewest, math.ceil(self.epochs * num_labels / batch)), self.most)
        balanced = self.weightings[0] == "balanced"
        return Recipe(
            rate=self.rates[0], steps=steps, view=self.views[0], batch=batch, balanced=balanced
        )

    @property
    def cost(self) -> float:
        """Return what a search with its final runs costs, in longest runs."""
        return self.lengths[0] * self.tried + len(self.views)

    @property
    def tried(self) -> int:
        """Return how many short runs are made before the long ones."""
        others = len(self.rates) + len(self.ways) - 1
        return others if others > 1 else 0


class Made(NamedTuple):
    """A training: what it guesses, where it was stopped, its gain on validation, its model."""

    outcome: Outcome
    stop: int
    gained: float
    model: nn.Module | None


class Trained:
    """A network is trained; rate, view, length and which weights move are chosen on validation.

    The search is made once for each number of labels, with the samples of the first draw.

    Args:
        known: the samples.
        start: makes the classifier that training starts from, given labelled rows and the draw.
        search: what is tried.
        base: what distinguishes this arm: layer-wise rates, frozen statistics.
        seed: of training.
        keep: whether the last model is kept in `kept`.
    """

    def __init__(
        self,
        known: Known,
        start: Callable[[NDArray[np.int64], int], nn.Module],
        search: Search,
        base: Mapping[str, Any],
        seed: int,
        keep: bool = False,
    ) -> None:
        self.known, self.start, self.search, self.seed = known, start, search, seed
        self.keep = keep
        self.kept: nn.Module | None = None
        self.base = dict(base)
        self._chosen: dict[int, tuple[Recipe, int]] = {}

    def recall(self, count: int, num_labels: int, choices: Mapping[str, Any]) -> None:
        """Take over what an earlier, interrupted study chose for `count` labels a class."""
        view = self.search.views[int(choices["view"]) % len(self.search.views)]
        recipe = replace(
            self.longest(num_labels),
            rate=float(choices["rate"]),
            view=view,
            way=str(choices.get("way", "all")),
            balanced=choices.get("class_weights", "none") == "balanced",
            **self.base,
        )
        self._chosen[count] = recipe, int(choices["steps"])

    def steps(self, count: int, num_labels: int) -> float:
        """Return about how many steps a row will take."""
        if count in self._chosen:
            return self._chosen[count][1]
        return self.search.cost * self.longest(num_labels).steps

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Train on the labelled samples of a draw."""
        model = self.start(rows, draw)
        if count in self._chosen:
            recipe, stop = self._chosen[count]
            found = self._run(model, rows, recipe, [stop], draw)
            self.kept = found.model
            return found.outcome
        best = self._short(model, rows, draw)
        tries = [replace(best, view=view) for view in self.search.views]
        made = [self._run(model, rows, recipe, self._stops(recipe), draw) for recipe in tries]
        place = max(range(len(made)), key=lambda i: made[i].gained)
        self._chosen[count] = tries[place], made[place].stop
        self.kept = made[place].model
        return made[place].outcome

    def longest(self, num_labels: int) -> Recipe:
        """Return the longest run for so many labels."""
        return self.search.longest(num_labels)

    def _stops(self, recipe: Recipe) -> list[int]:
        return [max(1, round(share * recipe.steps)) for share in self.search.lengths]

    def _short(self, model: nn.Module, rows: NDArray[np.int64], draw: int) -> Recipe:
        """Choose the rate, then which weights are moved, by short runs."""
        best = replace(self.longest(len(rows)), **self.base)
        if not self.search.tried:
            return best
        gained: dict[Recipe, float] = {}
        for rate in self.search.rates:
            recipe = replace(best, rate=rate)
            gained[recipe] = self._judge(model, rows, recipe, draw)
        best = max(gained, key=gained.__getitem__)
        for way in self.search.ways[1:]:
            recipe = replace(best, way=way, rate=best.rate * RATES[way])
            gained[recipe] = self._judge(model, rows, recipe, draw)
        best = max(gained, key=gained.__getitem__)
        if len(self.search.weightings) > 1 and aims.imbalanced(self.known, rows):
            recipe = replace(best, balanced=not best.balanced)
            gained[recipe] = self._judge(model, rows, recipe, draw)
        return max(gained, key=gained.__getitem__)

    def _judge(self, model: nn.Module, rows: NDArray[np.int64], recipe: Recipe, draw: int) -> float:
        stop = self._stops(recipe)[0]
        for _, averaged in self._train(model, rows, recipe, [stop], draw):
            return self._validate(averaged, rows)[1]
        raise AssertionError("unreachable")

    def _validate(self, model: nn.Module, rows: NDArray[np.int64]) -> tuple[NDArray[Any], float]:
        """Return the guesses of the validation part, and how good they are."""
        aim = aim_of(self.known, rows)
        logits = scores(model, self.known.train, self.known.validation)
        return aim.guess(logits), aim.gain(logits)

    def _train(
        self,
        model: nn.Module,
        rows: NDArray[np.int64],
        recipe: Recipe,
        stops: list[int],
        draw: int,
    ) -> Any:
        fresh, seed = copy.deepcopy(model), self.seed + draw
        aim = aim_of(self.known, rows, recipe.balanced)
        return train(fresh, self.known.train, rows, aim.wanted, recipe, seed, stops, aim.loss)

    def _tested(self, model: nn.Module, rows: NDArray[np.int64]) -> Answer:
        """Return the guesses of the test part, and how sure they are."""
        logits = scores(model, self.known.test)
        sure = sureness(logits) if self.known.task == "single" else None
        return aim_of(self.known, rows).guess(logits), sure

    def _run(
        self,
        model: nn.Module,
        rows: NDArray[np.int64],
        recipe: Recipe,
        stops: list[int],
        draw: int,
    ) -> Made:
        """Train once and keep the stop that is best on the validation part."""
        best, found, kept = -math.inf, None, None
        for stop, averaged in self._train(model, rows, recipe, stops, draw):
            guess, gained = self._validate(averaged, rows)
            if gained > best:
                best, found = gained, (guess, *self._tested(averaged, rows), stop)
                kept = copy.deepcopy(averaged) if self.keep else None
        assert found is not None
        choices = {
            "rate": recipe.rate,
            "view": self.search.views.index(recipe.view),
            "steps": found[3],
            "longest": recipe.steps,
            "way": recipe.way,
        }
        if aims.imbalanced(self.known, rows):
            choices["class_weights"] = _WEIGHTINGS[recipe.balanced]
        return Made(Outcome(found[0], found[1], choices, found[2]), found[3], best, kept)
