"""Is the study itself right? Worlds whose answer is known, evaluated a hundred times.

    python bench/study.py --repetitions 100
    python bench/study.py --repetitions 100 --reading probe --truth 60

Samples of four classes, each a mixture of two clouds, lie in 6 dimensions beside a nuisance of 10.
An encoder that found the 6 needs fewer labels than one that hands on all 16; how many fewer is
known from thousands of draws of an unlimited pool. Each repetition draws a new finite pool and a
new test part, runs the study as `unlabeled evaluate` runs it, and asks whether the true number lies
inside the interval. Then both arms get features that know nothing, or chance projections of the
same samples, and the study must not say that anything helped. About 5 minutes on one core; linear
probes, with a choice among three penalties, about 10.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer import probe, verdict
from unlabeled.transfer.baselines import Plain
from unlabeled.transfer.label_curve import Row
from unlabeled.transfer.material import Material
from unlabeled.transfer.readings import Frozen
from unlabeled.transfer.study import Store, Study

CLASSES, SIGNAL, NUISANCE = 4, 6, 10
PENALTIES = (0.1, 1.0, 10.0)
"""Tried by probes here, which half of the six of `probe.PENALTIES` makes affordable."""
COUNTS = (1, 5, 10, 50, 100, 300)
PER_CLASS, NUM_TEST, DRAWS = 300, 600, 5
FINE = (1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 50, 70, 100, 140, 200, 300)
_CENTRES = 1.25 * np.random.default_rng(4).normal(size=(CLASSES, 2, SIGNAL))
_TURN = np.linalg.qr(np.random.default_rng(5).normal(size=(SIGNAL + NUISANCE,) * 2))[0]


def samples(count: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw samples of the world, (N, signal + nuisance), and their classes."""
    y = np.arange(count) % CLASSES
    signal = _CENTRES[y, rng.integers(2, size=count)] + rng.normal(size=(count, SIGNAL))
    x = np.concatenate([signal, 0.9 * rng.normal(size=(count, NUISANCE))], axis=1)
    return x.astype(np.float32), y


def look(x: NDArray[np.float32], arm: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the features that an arm's encoder gives of samples.

    Args:
        x: (N, signal + nuisance).
        arm: ``signal`` (found), ``all`` (turned, with the nuisance), ``noise`` (knows nothing).
        rng: of the noise.
    """
    if arm == "signal":
        return x[:, :SIGNAL]
    if arm == "noise":
        return rng.normal(size=(len(x), SIGNAL)).astype(np.float32)
    return (x @ _TURN).astype(np.float32)


class Memory(Store):
    """Rows in memory: a hundred studies need not survive a power cut."""

    def __init__(self) -> None:
        self.folder = Path()
        self.rows, self.guesses = {}, {}

    def add(self, row: Row, guess: NDArray[np.int64]) -> None:
        """Keep a row."""
        self.rows[row.key], self.guesses[row.key] = row, guess


def frozen(known: Material, train: NDArray[np.float32], test: NDArray[np.float32]) -> Frozen:
    """Return the readings of given features."""
    return Frozen(known, lambda: Plain(train, test, whiten=True))


def material(y: NDArray[np.int64], y_test: NDArray[np.int64], checked: int) -> Material:
    """Return a study's material without samples: the features are given."""
    rows = np.arange(len(y))
    names = [str(i) for i in range(CLASSES)]
    return Material(None, y, rows[checked:], rows[:checked], None, y_test, None, names)  # type: ignore[arg-type]


def study(arms: dict[str, str], reading: str, seed: int) -> dict[str, object]:
    """Run one repetition on a new pool and a new test part, and return its verdict.

    Args:
        arms: name of a reading -> what its encoder sees.
        reading: ``knn`` or ``probe``.
        seed: of the pool, the test part and the draws.
    """
    rng = np.random.default_rng(seed)
    checked = 100
    x, y = samples(CLASSES * PER_CLASS + checked, rng)
    x_test, y_test = samples(NUM_TEST, rng)
    known = material(y, y_test, checked)
    readings = {
        name: getattr(frozen(known, look(x, arm, rng), look(x_test, arm, rng)), reading)
        for name, arm in arms.items()
    }
    work = Study(known, readings, COUNTS, DRAWS, seed, "accuracy", Memory())
    work.run()
    evidence = verdict.collect(
        work.store.rows, work.store.guesses, y_test, "accuracy", seed, sizes=known.class_sizes
    )
    return verdict.judge(evidence)


def curve(arm: str, reading: str, repeats: int, seed: int) -> NDArray[np.float64]:
    """Return the true mean score at `FINE`, from fresh pools and large test parts."""
    rng = np.random.default_rng(seed)
    found = np.zeros(len(FINE))
    for _ in range(repeats):
        x, y = samples(CLASSES * (max(FINE) + 1), rng)
        x_test, y_test = samples(4000, rng)
        known = material(y, y_test, CLASSES)
        look_at = frozen(known, look(x, arm, rng), look(x_test, arm, rng))
        for i, count in enumerate(FINE):
            outcome = getattr(look_at, reading)(known.pool[: CLASSES * count], count, 0)
            found[i] += (outcome.test == y_test).mean() / repeats
    return found


def true_saving(ours: NDArray[np.float64], theirs: NDArray[np.float64], at: int) -> float:
    """Return labels saved at our score with `at` labels, inf or 0 beyond what was measured."""
    target = np.interp(np.log(at), np.log(FINE), ours)
    if target > theirs.max():
        return np.inf
    if target < theirs[0]:
        return 0.0
    return float(np.exp(np.interp(target, np.maximum.accumulate(theirs), np.log(FINE))) / at)


@dataclass
class Tally:
    """How often an interval held the truth."""

    held: int = 0
    made: int = 0


def holds(saving: dict[str, object], truth: float, most: float) -> bool:
    """Return whether an interval holds the truth; an open end holds all beyond it."""
    low, high = saving["low"], saving["high"]
    under = low is None or float(low) <= truth * 1.0001 or truth * float(saving["ours"]) > most
    return under and (high is None or truth <= float(high) * 1.0001)


def coverage(repetitions: int, reading: str, repeats: int) -> dict[int, Tally]:
    """Return for each label count how often the true saving was inside."""
    ours, theirs = curve("signal", reading, repeats, 1), curve("all", reading, repeats, 2)
    print(
        "true scores",
        dict(zip(FINE, zip(ours.round(3), theirs.round(3), strict=True), strict=True)),
    )
    truth = {at: true_saving(ours, theirs, at) for at in COUNTS}
    tallies = {at: Tally() for at in COUNTS}
    for seed in range(repetitions):
        found = study({"knn": "signal", "scratch": "all"}, reading, 1000 + seed)
        for part in found["labels_saved"]["scratch"]["curve"]:  # type: ignore[index]
            at = part["ours"]
            tallies[at].made += 1
            tallies[at].held += holds(part, truth[at], max(COUNTS))
    for at, tally in tallies.items():
        print(f"{reading}: {at} labels a class save {truth[at]:.2f}x; "
              f"held in {tally.held} of {tally.made}")  # fmt: skip
    return tallies


def claims(repetitions: int, arms: dict[str, str], reading: str) -> int:
    """Return how often the study says that pre-training helped."""
    said = [study(arms, reading, 5000 + seed)["grade"] for seed in range(repetitions)]
    return said.count(verdict.HELPED)


def main() -> None:
    """Print coverage and false claims."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--truth", type=int, default=150, help="pools behind the true curves")
    parser.add_argument("--reading", choices=("knn", "probe"), default="knn")
    given = parser.parse_args()
    probe.PENALTIES = PENALTIES
    coverage(given.repetitions, given.reading, given.truth)
    for name, arm in (("knows nothing", "noise"), ("sees what the rival sees", "all")):
        said = claims(given.repetitions, {"knn": arm, "scratch": arm}, given.reading)
        print(f"{given.reading}, ours {name}: 'helped' in {said} of {given.repetitions}")


if __name__ == "__main__":
    main()
