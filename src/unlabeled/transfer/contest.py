"""Several methods on a person's own data at equal compute, the better half kept each round.

Successive halving (Jamieson and Talwalkar, 2016, arXiv:1502.07943): every round has the same share
of the time, which its methods divide equally, so that those that are left train for longer. Each
run of a round is a whole run with its own schedule; continuing a shorter one would give its
schedule's tail to the wrong length. Who goes on is decided on validation labels alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unlabeled.data.find import find
from unlabeled.data.labels import read_labelled
from unlabeled.errors import UsageError
from unlabeled.journal import read_json, write_json
from unlabeled.runs import Run
from unlabeled.transfer import tag_form
from unlabeled.transfer.arms import FROZEN, name_of

FILE = "compare.json"
_JUDGED = ("knn", "probe")


@dataclass(frozen=True)
class Contest:
    """What was asked for; it alone decides what is done, so that the same call goes on.

    Args:
        data: as for `pretrain`.
        methods: names of pretext tasks, each once.
        seconds: pre-training in all, over all methods and rounds.
        labels: as for `evaluate`.
        test: labels to score on, where they are in another file.
        label_column: where it cannot be guessed.
        kind: of data, where it cannot be guessed.
        seed: of all.
    """

    data: str
    methods: tuple[str, ...]
    seconds: float
    labels: str | None = None
    test: str | None = None
    label_column: str | None = None
    kind: str | None = None
    seed: int = 0


def rounds(num_methods: int, seconds: float) -> list[tuple[int, float]]:
    """Return for each round how many methods it has, and the seconds of each of them.

    >>> rounds(4, 120)
    [(4, 15.0), (2, 30.0)]
    >>> rounds(3, 60), rounds(2, 60)
    ([(3, 10.0), (2, 15.0)], [(2, 30.0)])
    """
    sizes = [num_methods]
    while sizes[-1] > 2:
        sizes.append(math.ceil(sizes[-1] / 2))
    return [(size, seconds / len(sizes) / size) for size in sizes]


def hold(
    contest: Contest, folder: Path, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Run all rounds that are missing, and return what ``compare.json`` holds.

    Args:
        contest: what is compared.
        folder: where its runs and its record lie; an interrupted contest goes on there.
        tell: called with a sentence for each run.

    Raises:
        UsageError: the folder holds another contest, or a method does not fit.
    """
    record = _opened(contest, folder)
    alive = list(contest.methods)
    for number, (size, seconds) in enumerate(rounds(len(alive), contest.seconds)):
        alive = alive[:size]
        last = size == rounds(len(contest.methods), contest.seconds)[-1][0]
        if number == len(record["rounds"]):
            record["rounds"].append({"seconds": seconds, "runs": {}})
        runs = record["rounds"][number]["runs"]
        for method in alive:
            if method not in runs:
                place = folder / f"{method}-{number + 1}"
                tell(f"Round {number + 1}, {method}: trains for {seconds:.0f} s")
                _train(contest, method, seconds, place)
                runs[method] = _judge(contest, place, FROZEN if last else _JUDGED)
                write_json(folder / FILE, record)
            tell(_said(number, method, seconds, runs[method]))
        alive.sort(key=lambda method: -runs[method]["validation"])
    record |= {"winner": alive[0], "complete": True}
    write_json(folder / FILE, record)
    return record


def check_labels(contest: Contest) -> None:
    """Read the labels before anything is trained.

    Raises:
        UsageError: there are none, or they do not belong to the data.
    """
    source = find(contest.data, contest.kind)
    if tag_form.asked(contest.labels, contest.data, source.kind, None):
        return
    asked: dict[str, Any] = {"table": contest.data, "label_column": contest.label_column}
    read_labelled(contest.labels, source, **asked)
    if contest.test is not None:
        read_labelled(contest.test, source, **asked)


def _opened(contest: Contest, folder: Path) -> dict[str, Any]:
    asked = asdict(contest) | {"methods": list(contest.methods)}
    found = read_json(folder / FILE)
    if not found:
        folder.mkdir(parents=True, exist_ok=True)
        found = {"format": 1, "asked": asked, "rounds": [], "winner": None, "complete": False}
        write_json(folder / FILE, found)
        return found
    if found.get("asked") != asked:
        changed = [key for key, value in asked.items() if found["asked"].get(key) != value]
        raise UsageError(
            f"{folder} holds another comparison ({', '.join(changed)} differ). Repeat its call to "
            "go on with it, or give another --out."
        )
    return found


def _train(contest: Contest, method: str, seconds: float, place: Path) -> None:
    """Pre-train, or go on where a run was cut off."""
    from unlabeled.choices import Request
    from unlabeled.loop import pretrain, resume
    from unlabeled.plan import plan

    if (place / "run.json").is_file():
        resume(place, quiet=True)
        return
    planned = plan(
        Request(
            data=contest.data,
            method=method,
            seconds=seconds,
            kind=contest.kind,
            overrides={"loop": {"seed": contest.seed}},
        )
    )
    about = {
        "choices": [asdict(choice) for choice in planned.choices],
        "command": f"compare, {method}",
    }
    pretrain(planned.config, place, seconds=planned.seconds, about=about, quiet=True)


def _judge(contest: Contest, place: Path, arms: Sequence[str]) -> dict[str, Any]:
    """Evaluate a run without training a network; only `validation` decides who goes on."""
    from unlabeled.transfer.evaluate import evaluate

    run = Run.open(place)
    results = evaluate(
        run,
        contest.labels,
        test=contest.test,
        label_column=contest.label_column,
        quick=True,
        arms=arms,
        seed=contest.seed,
    )
    best, validation = best_of(results)
    final = [row for row in results["summary"] if row["reading"] == best][-1]
    return {
        "folder": place.name,
        "reading": best,
        "validation": round(validation, 4),
        "steps": run.config.loop.steps,
        "seconds": run.info.get("seconds"),
        "labels_per_class": final["labels_per_class"],
        "score": final["mean"],
        "low": final["low"],
        "high": final["high"],
        "quality": results["quality"].get("probe", {}),
    }


def best_of(results: dict[str, Any]) -> tuple[str, float]:
    """Return the reading that speaks for a run, and its mean score on the validation part.

    Args:
        results: of `evaluate`; of tagged words there is no k-NN.
    """
    found: dict[str, list[float]] = {}
    for row in results["rows"]:
        if row["reading"] in _JUDGED:
            found.setdefault(row["reading"], []).append(row["validation"])
    means = {reading: float(np.mean(scores)) for reading, scores in found.items()}
    best = max(means, key=means.__getitem__)
    return best, means[best]


def _said(number: int, method: str, seconds: float, found: dict[str, Any]) -> str:
    return (
        f"Round {number + 1}, {method}: validation {found['validation']:.3f} "
        f"({name_of(found['reading'])}) after {found['steps']:,} steps, {seconds:.0f} s given"
    )


def table(record: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a contest, the best of the last round first."""
    header = ("method", "rounds", "steps", "validation", "test score (95 % interval)", "run")
    last: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, part in enumerate(record["rounds"]):
        last |= {method: (number, found) for method, found in part["runs"].items()}
    order = sorted(last, key=lambda method: (-last[method][0], -last[method][1]["validation"]))
    rows: list[tuple[str, ...]] = []
    for method in order:
        number, found = last[method]
        span = "" if found["low"] is None else f" ({found['low']:.3f} to {found['high']:.3f})"
        score = f"{found['score']:.3f}{span} at {found['labels_per_class']} a class"
        rows.append(
            (method, str(number + 1), f"{found['steps']:,}", f"{found['validation']:.3f}", score,
             found["folder"])
        )  # fmt: skip
    return header, rows
