"""From rows to an answer: summary, labels saved, a grade and one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer import stats
from unlabeled.transfer.arms import OURS, PLAIN, RIVALS, in_order, name_of
from unlabeled.transfer.label_curve import Row
from unlabeled.transfer.public import is_public
from unlabeled.transfer.units import A_CLASS, Unit

Key = tuple[str, int, int]

HELPED, UNCLEAR, DID_NOT_HELP = "helped", "no_clear_difference", "did_not_help"


@dataclass(frozen=True)
class Evidence:
    """Rows with the scores of each on the test part and on its bootstrap copies.

    Args:
        rows: by (reading, labels per class, draw).
        scores: the same, (R,): the real test part first.
        seed: of the bootstrap.
        sizes: samples of each class that labels were drawn from; None: without end.
        unit: what the counts count.
        runs: (S,) real scores of each seed's run, where several are judged as one; `rows` and
            `scores` are then means over them.
    """

    rows: Mapping[Key, Row]
    scores: Mapping[Key, NDArray[np.float64]]
    seed: int
    sizes: tuple[int, ...] | None = None
    unit: Unit = A_CLASS
    runs: Mapping[Key, NDArray[np.float64]] = field(default_factory=dict)

    def counts(self, reading: str) -> list[int]:
        """Return the label counts that a reading has rows for, ascending."""
        return sorted({count for name, count, _ in self.rows if name == reading})

    def draws(self, reading: str, count: int) -> list[int]:
        """Return the draws that a reading has at a count."""
        return sorted(d for name, c, d in self.rows if (name, c) == (reading, count))

    def at(
        self, reading: str, count: int, draws: Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """Return the scores of a reading at a count, (n, R)."""
        chosen = self.draws(reading, count) if draws is None else draws
        return np.stack([self.scores[reading, count, draw] for draw in chosen])

    def share(self, count: int) -> float:
        """Return which share of the pool a draw of `count` labels a class takes."""
        if self.sizes is None:
            return 0.0
        return float(np.mean([min(count, size) / size for size in self.sizes]))

    def pool(self, reading: str, count: int, draws: Sequence[int]) -> NDArray[np.float64]:
        """Return what these draws share because of their pool, (n,); see `stats.pooled`.

        Draws of more than half the pool hardly differ: their variance is taken from the largest
        count below, falling as 1 / count.
        """
        halves = [c for c in self.counts(reading) if c <= count and self.share(c) <= 0.5]
        if not halves or self.share(count) == 0:
            return np.zeros(len(draws))
        chosen = sorted(set(draws) & set(self.draws(reading, halves[-1])))
        if len(chosen) < len(draws):
            return np.zeros(len(draws))
        scores = self.at(reading, halves[-1], chosen)[:, 0]
        share = self.share(halves[-1])
        found = stats.pooled(scores - scores.mean(), share)
        scaled: NDArray[np.float64] = found * np.sqrt(
            self.share(count) / share * halves[-1] / count
        )
        return scaled

    def seeds(
        self, reading: str, counts: Sequence[int], draws: Sequence[int]
    ) -> NDArray[np.float64] | None:
        """Return how far each seed's run is from their mean, (S,); None for one run."""
        keys = [(reading, count, draw) for count in counts for draw in draws]
        if not keys or any(key not in self.runs for key in keys):
            return None
        mean = np.mean([self.runs[key] for key in keys], axis=0)
        found: NDArray[np.float64] = mean - mean.mean()
        return found

    def readings(self) -> list[str]:
        """Return which readings have rows, ours first."""
        return in_order({name for name, _, _ in self.rows})

    def best(self, among: Sequence[str]) -> str | None:
        """Return the reading that is best on the validation part, of those with all rows."""
        found: dict[str, list[float]] = {name: [] for name in among}
        for row in self.rows.values():
            if row.reading in found:
                found[row.reading].append(row.validation)
        most = max(map(len, found.values()), default=0)
        whole = [name for name in among if most and len(found[name]) == most]
        return max(whole, key=lambda name: float(np.mean(found[name])), default=None)


def collect(
    rows: Mapping[Key, Row],
    guesses: Mapping[Key, NDArray[np.int64]],
    y: NDArray[np.int64],
    metric: str,
    seed: int,
    group: NDArray[np.str_] | None = None,
    sizes: Sequence[int] | None = None,
    unit: Unit = A_CLASS,
) -> Evidence:
    """Score all rows on the test part and on bootstrap copies of it."""
    keys = list(rows)
    count = stats.REPLICATES if len(y) <= 20_000 else stats.REPLICATES // 4
    weights = stats.item_weights(len(y), seed, group, count)
    found = stats.resample(np.stack([guesses[key] for key in keys]), y, metric, weights)
    classes = None if sizes is None else tuple(sizes)
    return Evidence(rows, dict(zip(keys, found, strict=True)), seed, classes, unit)


def summary(evidence: Evidence) -> list[dict[str, Any]]:
    """Return mean and 95 % interval of each reading at each count."""
    found = []
    for reading in evidence.readings():
        for count in evidence.counts(reading):
            draws = evidence.draws(reading, count)
            part = stats.interval(
                evidence.at(reading, count),
                evidence.pool(reading, count, draws),
                evidence.seeds(reading, [count], draws),
            )
            found.append(
                {
                    "reading": reading,
                    "name": name_of(reading),
                    "labels_per_class": count,
                    "mean": part.mean,
                    "low": None if part.low is None else max(0.0, part.low),
                    "high": None if part.high is None else min(1.0, part.high),
                    "n": part.n,
                    "mae": _mean_error(evidence, reading, count),
                }
            )
    return found


def _mean_error(evidence: Evidence, reading: str, count: int) -> float | None:
    """Return the mean absolute error over draws, of grades or numbers."""
    keys = [(reading, count, draw) for draw in evidence.draws(reading, count)]
    found = [row.mae for row in map(evidence.rows.get, keys) if row is not None]
    kept = [error for error in found if error is not None]
    return float(np.mean(kept)) if kept and len(kept) == len(found) else None


def difference(evidence: Evidence, ours: str, theirs: str) -> stats.Interval | None:
    """Return ours minus theirs, paired by draw and averaged over the counts that both have.

    Counts at which only one draw was made are left out where others have several.
    """
    found = {
        count: set(evidence.draws(ours, count)) & set(evidence.draws(theirs, count))
        for count in evidence.counts(ours)
        if count in evidence.counts(theirs)
    }
    # One draw has no interval: where other counts have more, a count with one says nothing.
    repeated = {count: draws for count, draws in found.items() if len(draws) > 1}
    shared = list(repeated or found)
    chosen = sorted(set.intersection(*(found[count] for count in shared))) if shared else []
    if not chosen:
        return None
    parts = [evidence.at(ours, c, chosen) - evidence.at(theirs, c, chosen) for c in shared]
    pools = [evidence.pool(ours, c, chosen) - evidence.pool(theirs, c, chosen) for c in shared]
    seeds = evidence.seeds(ours, shared, chosen)
    return stats.interval(np.mean(parts, axis=0), np.mean(pools, axis=0), seeds)


def headline_count(counts: Sequence[int]) -> int:
    """Return at which label count labels saved are stated: 50, with room above it to compare.

    >>> [headline_count(c) for c in ([1, 5, 10, 50, 100, 500], [1, 5, 10, 50], [1, 5], [3])]
    [50, 10, 1, 3]
    """
    fitting = [c for c in counts if c <= min(50, counts[-1] / 5)]
    return fitting[-1] if fitting else counts[0]


def saved(evidence: Evidence, ours: str, rival: str, at: int) -> dict[str, Any]:
    """Return labels saved against one rival at the score reached with `at` labels a class."""
    counts = evidence.counts(rival)
    found = stats.labels_saved(
        counts,
        evidence.at(ours, at),
        [evidence.at(rival, c) for c in counts],
        at,
        evidence.seed,
        (
            evidence.pool(ours, at, evidence.draws(ours, at)),
            [evidence.pool(rival, c, evidence.draws(rival, c)) for c in counts],
        ),
        evidence.seeds(ours, [at], evidence.draws(ours, at)),
    )
    return {
        "against": rival,
        "reading": ours,
        "score": found.score,
        "ours": found.ours,
        "theirs": found.theirs,
        "ratio": found.ratio,
        "low": found.low,
        "high": found.high,
        "reached": found.censored != "at_least",
        "censored": found.censored,
        "text": wording(found, evidence.unit),
    }


def wording(found: stats.Saved, unit: Unit = A_CLASS) -> str:
    """Write labels saved with their interval, and say where the data end.

    >>> wording(stats.Saved(3.14, 2.2, 4.5, 50, 157.0, 0.7, ""))
    '3.1x (95 % interval 2.2 to 4.5)'
    >>> wording(stats.Saved(10.0, 8.1, None, 50, 500.0, 0.7, "at_least"))
    'at least 10x (95 % interval from 8.1): never reached with 500 labels a class'
    """
    if found.censored == "at_most":
        return f"at most {_times(found.ratio)}: better already with {found.theirs:.0f} {unit.short}"
    if found.censored == "at_least":
        low = f" (95 % interval from {_short(found.low)})" if found.low is not None else ""
        return (
            f"at least {_times(found.ratio)}{low}: never reached with "
            f"{found.theirs:.0f} {unit.labels}"
        )
    low = "below" if found.low is None else _short(found.low)
    high = "beyond what was measured" if found.high is None else _short(found.high)
    if found.low is None and found.high is None:
        return f"{_times(found.ratio)} (its interval is wider than what was measured)"
    return f"{_times(found.ratio)} (95 % interval {low} to {high})"


def _times(ratio: float) -> str:
    return f"{_short(ratio)}x"


def _short(value: float) -> str:
    """Write two digits, or all of a whole number.

    >>> _short(3.14), _short(157.2), _short(0.66)
    ('3.1', '157', '0.66')
    """
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def grade(differences: Mapping[str, stats.Interval]) -> str:
    """Return the grade: helped only if better than every rival, beyond doubt.

    Args:
        differences: rival -> our score minus theirs.
    """
    known = [d for d in differences.values() if d.low is not None and d.high is not None]
    if any(d.high is not None and d.high < 0 for d in known):
        return DID_NOT_HELP
    certain = bool(known) and len(known) == len(differences)
    if certain and all(d.low is not None and d.low > 0 for d in known):
        return HELPED
    return UNCLEAR


def sentence(
    given: str,
    ours: str,
    differences: Mapping[str, stats.Interval],
    savings: Mapping[str, Any],
    unit: Unit = A_CLASS,
) -> str:
    """Return the verdict in one sentence."""
    if not differences:
        return "Nothing was compared, so whether pre-training helped is not known."
    name = name_of(ours)
    among = differences
    if given == UNCLEAR:  # beaten rivals are not what is unclear
        among = {r: d for r, d in differences.items() if d.low is None or not d.low > 0}
    if given == DID_NOT_HELP:  # a rival that is ahead by more is not named if it may be by chance
        among = {r: d for r, d in differences.items() if d.high is not None and d.high < 0}
    worst = min(among, key=lambda rival: among[rival].mean)
    gap = among[worst]
    points = f"{_percent(abs(gap.mean))} points{_range(gap)}"
    if given == DID_NOT_HELP:
        plain = "plain features are better: " if worst in PLAIN else ""
        return (
            f"Pre-training did not help: {plain}{name_of(worst)} beats {name} by {points} "
            "on average."
        )
    if given == UNCLEAR:
        side = "above" if gap.mean >= 0 else "below"
        if gap.low is None:
            return (
                f"No clear difference: {name} is {points} {side} {name_of(worst)}, of which only "
                "one draw was made; a difference without an interval is none."
            )
        return (
            f"No clear difference: {name} is {points} {side} {name_of(worst)} on average, "
            "which these draws and test samples cannot tell from none."
        )
    if "scratch" in savings:
        found = savings["scratch"]
        tail = f" Labels saved against training from scratch, with {found['ours']} {unit.short}: "
        tail += f"{found['text']}."
    else:
        tail = " Training from scratch was not measured."
    return (
        f"Pre-training helped: {name} is {points} above {name_of(worst)}, its closest rival, "
        f"on average.{tail}"
    )


def _range(gap: stats.Interval) -> str:
    if gap.low is None or gap.high is None or math.isnan(gap.low):
        return ""
    ends = sorted((gap.low, gap.high), key=abs) if gap.mean < 0 else (gap.low, gap.high)
    sign = -1 if gap.mean < 0 else 1
    return f" (95 % interval {_percent(sign * ends[0])} to {_percent(sign * ends[1])})"


def judge(evidence: Evidence) -> dict[str, Any]:
    """Return summary, labels saved, differences, grade and verdict, as results.json holds them."""
    ours = evidence.best(OURS)
    found: dict[str, Any] = {"summary": summary(evidence), "ours": ours}
    rivals = [n for n in (*RIVALS, *filter(is_public, evidence.readings())) if evidence.counts(n)]
    pairs = {r: difference(evidence, ours, r) for r in rivals} if ours is not None else {}
    differences = {rival: pair for rival, pair in pairs.items() if pair is not None}
    savings: dict[str, Any] = {}
    if ours is not None:
        for rival in rivals:
            at = headline_count(evidence.counts(rival))
            if at in evidence.counts(ours):
                savings[rival] = saved(evidence, ours, rival, at)
                savings[rival]["curve"] = [
                    saved(evidence, ours, rival, count)
                    for count in evidence.counts(rival)
                    if count in evidence.counts(ours)
                ]
    without = {rival: gap for rival, gap in differences.items() if not is_public(rival)}
    given = grade(without)
    return found | {
        "labels_saved": savings,
        "differences": {rival: vars(pair) for rival, pair in differences.items()},
        "grade": given,
        "verdict": sentence(given, ours or "", without, savings, evidence.unit)
        + beside_public(ours or "", differences),
    }


def beside_public(ours: str, differences: Mapping[str, stats.Interval]) -> str:
    """Return a sentence about the best public weights; they do not touch the grade.

    Whether pre-training on these data helped is one question, whether there is something better
    to begin with is another.
    """
    gaps = {rival: gap for rival, gap in differences.items() if is_public(rival)}
    if not gaps:
        return ""
    best = min(gaps, key=lambda rival: gaps[rival].mean)
    gap = gaps[best]
    points = f"{_percent(abs(gap.mean))} points{_range(gap)}"
    if gap.high is not None and gap.high < 0:
        return (
            f" Public weights are better still: {name_of(best)} is {points} above "
            f"{name_of(ours)}; use them, or start from them with --init."
        )
    if gap.low is not None and gap.low > 0:
        return f" It is also {points} above {name_of(best)}."
    return f" {name_of(best)} cannot be told apart from it ({points})."
