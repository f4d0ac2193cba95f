"""A run's forecasts: which episodes are learned from and scored on, and what came out.

Everything is kept in ``RUN/evaluate/forecast.json``, which the report shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.find import find
from unlabeled.data.split import digest
from unlabeled.errors import UsageError
from unlabeled.journal import write_json
from unlabeled.modalities.series import Series
from unlabeled.rng import order
from unlabeled.transfer import forecast
from unlabeled.transfer.futures import Span, Windows, collect, spans

if TYPE_CHECKING:
    from unlabeled.runs import Run

FILE = "evaluate/forecast.json"
MOST_TRAIN, MOST_VALIDATION, MOST_TEST = 4000, 1000, 2000
_NUMBERS = 1 << 25
"""Numbers of windows in memory at the most, of each part."""
_FEW = 3
_SHARES = (0.6, 0.8)
"""Where time is cut if there are too few episodes."""


@dataclass
class Laid:
    """Episodes by what they are for.

    Args:
        train: the head learns from them.
        validation: choices are made on them.
        test: scores are counted on them.
        how: how it was decided.
        notes: what a sceptic should know.
    """

    train: list[Span]
    validation: list[Span]
    test: list[Span]
    how: str
    notes: list[str] = field(default_factory=list)


def lay(run: Run, test: str | None, transductive: bool, seed: int) -> Laid:
    """Choose episodes: the pool's teach, those held out of pre-training or given are foretold.

    Raises:
        UsageError: no episode is left that pre-training did not see.
    """
    source: Any = run.source()
    pool = np.unique(source.groups[run.pool_indices()])
    known = spans(source, pool)
    train, validation = _parted(known, seed)
    if test is not None:
        given: Any = find(test, "series", None, source.window)
        notes: list[str] = []
        fresh = _unseen(run, given, transductive, notes)
        return Laid(train, validation, spans(given, fresh), f"logs given ({test})", notes)
    held = np.setdiff1d(np.unique(source.groups[run.held_out_indices()]), pool)
    if len(held) >= _FEW:
        return Laid(train, validation, spans(source, held), "episodes held out of pre-training")
    if not transductive:
        raise UsageError(
            f"{len(held)} episodes were held out of this run's pre-training; at least {_FEW} are "
            "needed to foretell. Give other logs, such as a later part of the recording, with "
            "--test LOGS; pre-train again with a larger data.held_out; or say --transductive: "
            "then the last fifth of every episode is foretold, which pre-training has seen."
        )
    first, second = _SHARES
    return Laid(
        [span.cut(0, first) for span in known],
        [span.cut(first, second) for span in known],
        [span.cut(second, 1) for span in known],
        "the last fifth of every episode",
        ["Transductive: pre-training has seen what is foretold. Of what comes later less is sure."],
    )


def _parted(known: Sequence[Span], seed: int) -> tuple[list[Span], list[Span]]:
    """Set a fifth of the episodes aside for choices; of few ones a fifth of their time."""
    if len(known) < 2 * _FEW:
        return [s.cut(0, 0.8) for s in known], [s.cut(0.8, 1) for s in known]
    places = order(seed, 3, len(known))
    count = max(_FEW, round(0.2 * len(known)))
    return [known[i] for i in places[count:]], [known[i] for i in places[:count]]


def _unseen(run: Run, given: Any, transductive: bool, notes: list[str]) -> NDArray[np.int64]:
    """Return the episodes of given logs of which nothing was pre-trained on.

    Raises:
        UsageError: none is left.
    """
    source, every = run.source(), np.unique(given.groups)
    seen = {digest(source, int(i)) for i in run.pool_indices()}
    copies = [i for i in range(len(given)) if digest(given, i) in seen]
    same = np.unique(given.groups[copies])
    if not len(same):
        return every
    if transductive:
        notes.append(
            f"Transductive: {len(same)} of {len(every)} test episodes were pre-trained on."
        )
        return every
    left = np.setdiff1d(every, same)
    if not len(left):
        raise UsageError(
            f"All {len(every)} episodes given with --test were pre-trained on. Give others, or "
            "say --transductive, which the report then says too."
        )
    notes.append(f"{len(same)} test episodes that were pre-trained on were left out.")
    return left


def sizes(run: Run, laid: Laid, horizons: Sequence[int] | None) -> tuple[int, list[int]]:
    """Return the steps that are seen, whole tokens, and the horizons.

    Raises:
        UsageError: episodes are too short.
    """
    encoder: Any = run.encoder()
    token = int(getattr(encoder, "stack", 0) or encoder.patch)
    config: Any = run.config.modality
    typical = int(np.median([span.rows for span in (*laid.train, *laid.test)] or [0]))
    longest = max(horizons or [max(1, min(64, typical // 4))])
    history = min(config.length, max(typical // 2, token), typical - longest) // token * token
    if history < token:
        raise UsageError(
            f"Episodes have about {typical} steps, of which the encoder sees at least {token}; "
            f"{longest} more cannot be foretold. Give smaller --horizons."
        )
    asked = horizons or sorted({1, max(1, longest // 4), longest})
    return history, sorted(set(asked))


def study(
    run: Run,
    *,
    test: str | Path | None = None,
    horizons: Sequence[int] | None = None,
    transductive: bool = False,
    quick: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Foretell logs from frozen features, and write what came out to ``RUN/evaluate``.

    Args:
        run: pre-trained on logs.
        test: logs to foretell; None takes the episodes held out of pre-training.
        horizons: steps ahead; None chooses three by the length of episodes.
        transductive: whether what pre-training saw may be foretold.
        quick: a quarter of the windows.
        seed: of which episodes choices are made on, and where windows begin.

    Raises:
        UsageError: with the sentence to print.
    """
    if run.config.data.kind != "series":
        raise UsageError(
            f"--task forecast is for logs; {run.folder} is a run of {run.config.data.kind}."
        )
    laid = lay(run, None if test is None else str(test), transductive, seed)
    history, asked = sizes(run, laid, horizons)
    parts = _read(run, laid, history, asked[-1], 4 if quick else 1, seed)
    encoders = {"features": run.encoder(), "untrained": run.untrained(run.config.loop.seed)}
    found = forecast.compare(parts, encoders, asked)
    units = _units(parts.test)
    results = {
        "format": 1,
        "history": history,
        "horizons": asked,
        "how": laid.how,
        "windows": {n: len(getattr(parts, n)) for n in ("train", "validation", "test")},
        "episodes": len(np.unique(parts.test.episode)),
        "rows": [{**r, "name": NAMES[r["way"]]} for r in forecast.rows(found, units, seed)],
        "differences": forecast.differences(found, asked, units, seed),
        "notes": _notes(laid, parts),
    }
    (run.folder / FILE).parent.mkdir(exist_ok=True)
    write_json(run.folder / FILE, results)
    return results


def _read(run: Run, laid: Laid, history: int, ahead: int, less: int, seed: int) -> forecast.Parts:
    """Read the windows of all parts.

    Raises:
        UsageError: a part has none.
    """
    modality: Any = run.modality()
    assert isinstance(modality, Series)
    room = max(16, _NUMBERS // (2 * (history + ahead) * len(modality.channels)))
    found = []
    for name, part, most in (
        ("train", laid.train, MOST_TRAIN),
        ("validation", laid.validation, MOST_VALIDATION),
        ("test", laid.test, MOST_TEST),
    ):
        windows = collect(modality, part, history, ahead, min(most // less, room), seed)
        if not len(windows):
            reason = next(iter(windows.left_out), f"none has {history + ahead} steps")
            raise UsageError(
                f"No window of {history} steps and {ahead} more lies in the {name} episodes "
                f"({reason}). Give smaller --horizons, or longer logs."
            )
        found.append(windows)
    return forecast.Parts(*found)


def _units(test: Windows) -> NDArray[np.int64]:
    """Return what is drawn again in the bootstrap: episodes, or tenths of few."""
    if len(np.unique(test.episode)) >= 10:
        return test.episode
    found = np.zeros(len(test), np.int64)
    for number, episode in enumerate(np.unique(test.episode)):
        rows = np.flatnonzero(test.episode == episode)
        found[rows] = number * 10 + np.arange(len(rows)) * 10 // len(rows)
    return found


def _notes(laid: Laid, parts: forecast.Parts) -> list[str]:
    notes = list(laid.notes)
    episodes = len(np.unique(parts.test.episode))
    if episodes < 10:
        notes.append(
            f"Intervals are of {episodes} test episodes in ten parts each: of other episodes they "
            "may say too little."
        )
    reasons = parts.train.left_out + parts.validation.left_out + parts.test.left_out
    if reasons:
        first, _ = reasons.most_common(1)[0]
        notes.append(f"{sum(reasons.values()):,} windows were left out (first reason: {first}).")
    gaps = float(np.isnan(parts.test.y).mean())
    if gaps:
        notes.append(f"{gaps:.1%} of what is asked for is missing in the logs and not scored.")
    return notes


def sentences(results: dict[str, Any]) -> list[str]:
    """Return one sentence a horizon: ours against the best rival."""
    lines = []
    for row in results["differences"]:
        steps = f"{row['horizon']} step{'s' if row['horizon'] > 1 else ''} ahead"
        span = f"{row['low']:+.0%} to {row['high']:+.0%}"
        ours = {"features": "the head on features", "joined": NAMES["joined"]}[row["ours"]]
        sure = "" if row["low"] > 0 or row["high"] < 0 else ": not told apart"
        word = "less" if row["less"] >= 0 else "more"
        lines.append(
            f"{steps}: {ours} has {abs(row['less']):.0%} {word} squared error than the best "
            f"other way, {NAMES[row['rival']]} (95 % interval of less: {span}){sure}."
        )
    return lines


NAMES = {
    "features": "linear head on features",
    "joined": "features joined with the window",
    "untrained": "linear head on the untrained network",
    "untrained joined": "untrained network joined with the window",
    "linear": "linear regression, each channel alone",
    "window": "linear regression on the window",
    "persistence": "persistence",
    "seasonal": "seasonal persistence",
    "mean": "the mean",
}
