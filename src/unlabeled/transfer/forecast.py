"""What features foretell: the next steps of logs by a linear head, beside what needs no training.

Errors are of normalised observations (by the pre-training pool's means and deviations) and the mean
over all steps up to a horizon, as in Zhou et al., "Informer", AAAI 2021, arXiv:2012.07436. The head
is ridge regression, as for TS2Vec (Yue et al., AAAI 2022, arXiv:2106.10466); its penalty, and
whether it says a level or a change from the last value, are chosen for all ways alike on episodes
of the pool that it did not learn from. Linear regression on the window itself is the rival to beat
(Zeng, Chen, Zhang and Xu, AAAI 2023, arXiv:2205.13504).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unlabeled.device import device
from unlabeled.nn.precision import full
from unlabeled.transfer.futures import Values, Windows
from unlabeled.transfer.ridge import PENALTIES, Ridge
from unlabeled.transfer.stats import item_weights

OURS = ("features", "joined")
MOST_INPUTS = 1024
"""Numbers of the window that a regression on all channels is given."""
_BLOCK = 256


@dataclass(frozen=True)
class Parts:
    """Windows that are learned from, chosen on, and scored."""

    train: Windows
    validation: Windows
    test: Windows

    def each(self, of: Callable[[Windows], Values]) -> tuple[Values, Values, Values]:
        """Return something of all three."""
        return of(self.train), of(self.validation), of(self.test)


@dataclass
class Guess:
    """What a way says: errors of steps up to each horizon.

    Args:
        squared: horizon -> (N, 2) squared errors of a test window and how many numbers they are of.
        absolute: horizon -> (N,) absolute errors.
        checked: horizon -> mean squared error on the validation windows.
        choices: horizon -> what was chosen there.
    """

    squared: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    absolute: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    checked: dict[int, float] = field(default_factory=dict)
    choices: dict[int, dict[str, Any]] = field(default_factory=dict)


def told(encoder: Any, windows: Windows) -> Values:
    """Return what a frozen encoder says of histories: the last token and the mean, (N, 2 D)."""
    where = device()
    encoder.to(where).eval()
    found = []
    with torch.inference_mode():
        for x in torch.split(windows.x, _BLOCK):
            tokens = full(encoder.tokens(x.to(where)))  # (B, N, D)
            mean = full(encoder(x.to(where)))
            found.append(torch.cat([tokens[:, -1], mean], 1).cpu().numpy())
    rows: Values = np.concatenate(found)
    return rows


def recent(windows: Windows) -> Values:
    """Return the last steps of all channels, as many as a regression is given, (N, K C)."""
    filled = windows.filled
    steps = max(1, min(filled.shape[1], MOST_INPUTS // filled.shape[2]))
    return np.asarray(filled[:, -steps:].reshape(len(filled), -1))


def seasonal(filled: Values, period: int, ahead: int) -> Values:
    """Return what was `period` steps before, again and again, (N, L, S) -> (N, H, S).

    >>> seasonal(np.arange(4.0).reshape(1, 4, 1), 2, 3).ravel().tolist()
    [2.0, 3.0, 2.0]
    """
    places = filled.shape[1] - period + np.arange(ahead) % period
    return np.asarray(filled[:, places])


def errors(guess: Values, windows: Windows, ahead: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return squared errors with their numbers, (N, 2), and absolute errors, (N,).

    Args:
        guess: (N, >= ahead, S).
        windows: what happened; what is missing does not count.
        ahead: steps that count.
    """
    missed = np.asarray(guess[:, :ahead] - windows.y[:, :ahead], np.float64)
    count = (~np.isnan(missed)).sum((1, 2))
    missed = np.nan_to_num(missed)
    squared = np.stack([np.square(missed).sum((1, 2)), count], 1)
    return squared, np.abs(missed).sum((1, 2))


def _mean(squared: NDArray[Any]) -> float:
    return float(squared[:, 0].sum() / max(1.0, squared[:, 1].sum()))


Candidate = tuple[dict[str, Any], Callable[[Windows], Values]]
"""A choice of hyper-parameters, and what it foretells of windows, (N, H, S)."""


def choose(parts: Parts, candidates: Sequence[Candidate], horizons: Sequence[int]) -> Guess:
    """Return the errors of the candidate that is best on the validation windows, by horizon."""
    found, best = Guess(), dict[int, tuple[float, int]]()
    for number, (_, tell) in enumerate(candidates):
        guess = tell(parts.validation)
        for ahead in horizons:
            missed = _mean(errors(guess, parts.validation, ahead)[0])
            best[ahead] = min(best.get(ahead, (np.inf, 0)), (missed, number))
    for number in {number for _, number in best.values()}:
        guess = candidates[number][1](parts.test)
        for ahead in (h for h in horizons if best[h][1] == number):
            found.squared[ahead], found.absolute[ahead] = errors(guess, parts.test, ahead)
            found.checked[ahead], found.choices[ahead] = best[ahead][0], candidates[number][0]
    return found


def regressions(parts: Parts, inputs: Sequence[Sequence[Values]]) -> list[Candidate]:
    """Return ridge regressions of all penalties, of levels and of changes.

    Args:
        parts: the windows.
        inputs: (N, D) of the training, validation and test windows, for each group of observations
            that has a regression of its own: one of all, or one for each.
    """
    y, last = parts.train.y, parts.train.filled[:, -1, None, : parts.train.y.shape[2]]
    wanted = np.where(np.isnan(y), last, y)  # what is missing is learned as no change
    split = np.array_split(np.arange(y.shape[2]), len(inputs))
    known = {id(part): i for i, part in enumerate((parts.train, parts.validation, parts.test))}

    def tell(models: Sequence[Ridge], penalty: float, change: bool, windows: Windows) -> Values:
        place, shape = known[id(windows)], (len(windows), y.shape[1], -1)
        said = [
            model.guess(given[place], penalty).reshape(shape)
            for model, given in zip(models, inputs, strict=True)
        ]
        level = windows.filled[:, -1, None, : y.shape[2]] if change else 0.0
        return np.asarray(np.concatenate(said, 2) + level, np.float32)

    found: list[Candidate] = []
    for change in (False, True):
        aim = wanted - last if change else wanted
        models = [
            Ridge(given[0], aim[:, :, columns].reshape(len(aim), -1))
            for given, columns in zip(inputs, split, strict=True)
        ]
        for penalty in PENALTIES:
            about = {"penalty": penalty, "says": "change" if change else "level"}
            found.append((about, _bind(tell, models, penalty, change)))
    return found


def _bind(tell: Callable[..., Values], *given: Any) -> Callable[[Windows], Values]:
    return lambda windows: tell(*given, windows)


def plain(parts: Parts) -> dict[str, list[Candidate]]:
    """Return what needs no network: the mean, no change, the last period, two regressions."""
    states, ahead = parts.train.y.shape[2], parts.train.y.shape[1]

    def still(windows: Windows) -> Values:
        return np.repeat(windows.filled[:, -1:, :states], ahead, 1)

    def again(period: int) -> Callable[[Windows], Values]:
        return lambda windows: seasonal(windows.filled[:, :, :states], period, ahead)

    own = [parts.each(_channel(number)) for number in range(states)]
    return {
        "mean": [({}, lambda windows: np.zeros_like(windows.y))],
        "persistence": [({}, still)],
        "seasonal": [({"period": p}, again(p)) for p in range(2, parts.train.x.shape[1] + 1)],
        "linear": regressions(parts, own),
        "window": regressions(parts, [parts.each(recent)]),
    }


def _channel(number: int) -> Callable[[Windows], Values]:
    return lambda windows: np.asarray(windows.filled[:, :, number])


def compare(parts: Parts, encoders: Mapping[str, Any], horizons: Sequence[int]) -> dict[str, Guess]:
    """Return what every way foretells.

    Args:
        parts: the windows; futures have at least as many steps as the longest horizon.
        encoders: ``features`` and ``untrained``.
        horizons: steps ahead.
    """
    found = {name: choose(parts, tries, horizons) for name, tries in plain(parts).items()}
    window = parts.each(recent)
    for name, encoder in encoders.items():
        said = parts.each(lambda windows, it=encoder: told(it, windows))  # type: ignore[misc]
        found[name] = choose(parts, regressions(parts, [said]), horizons)
        both = [np.concatenate(pair, 1) for pair in zip(said, window, strict=True)]
        joined = "joined" if name == "features" else f"{name} joined"
        found[joined] = choose(parts, regressions(parts, [both]), horizons)
    return found


def rows(found: Mapping[str, Guess], units: NDArray[np.int64], seed: int) -> list[dict[str, Any]]:
    """Return a row for each way and horizon, its interval from episodes drawn again.

    Args:
        found: from `compare`.
        units: (N,) of which episode, or part of one, a test window is.
        seed: of the bootstrap.
    """
    weights = item_weights(len(units), seed, units.astype(np.str_))
    table = []
    for name, guess in found.items():
        for ahead, squared in guess.squared.items():
            low, high = np.quantile(resampled(squared, weights)[1:], (0.025, 0.975))
            table.append(
                {
                    "way": name, "horizon": ahead, "mse": _mean(squared), "low": float(low),
                    "high": float(high), "validation": guess.checked[ahead],
                    "mae": float(guess.absolute[ahead].sum() / max(1.0, squared[:, 1].sum())),
                    **guess.choices[ahead],
                }
            )  # fmt: skip
    return table


def resampled(squared: NDArray[Any], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean squared error of each copy, (R,)."""
    sums = np.asarray(weights, np.float64) @ squared
    return np.asarray(sums[:, 0] / np.maximum(sums[:, 1], 1))


def differences(
    found: Mapping[str, Guess], horizons: Sequence[int], units: NDArray[np.int64], seed: int
) -> list[dict[str, Any]]:
    """Return for each horizon ours against the best rival, both chosen on the validation windows.

    ``less`` is the share by which our squared error is less than the rival's, with an interval.
    """
    weights, lines = item_weights(len(units), seed, units.astype(np.str_)), []
    for ahead in horizons:
        rivals = [name for name in found if name not in OURS]
        ours, theirs = (
            min(names, key=lambda name: found[name].checked[ahead]) for names in (OURS, rivals)
        )
        pair = [resampled(found[name].squared[ahead], weights) for name in (ours, theirs)]
        less = 1 - pair[0] / np.maximum(pair[1], 1e-12)
        low, high = np.quantile(less[1:], (0.025, 0.975))
        lines.append(
            {"horizon": ahead, "ours": ours, "rival": theirs, "less": float(less[0]),
             "low": float(low), "high": float(high)}
        )  # fmt: skip
    return lines
