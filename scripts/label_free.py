"""The section of docs/results.md on what is measured without labels, from all that is kept.

Kept results (docs/results/) of one data set are compared with each other, each with the mean of its
probe over the label counts that all of them have; so are the short runs of docs/label-free/, which
`bench/short_runs.py --keep` writes, and runs that were evaluated alike but are not kept one by one:

    python scripts/label_free.py NAME RUN RUN ...
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unlabeled.transfer import agreement
from unlabeled.transfer.agreement import LEAST, LEAST_SETS, Agreement, Point

ROOT = Path(__file__).resolve().parent.parent
PLACE = r"(?<![\w.-])(?:/[\w.-]+)+/([\w.-]+)"
"""A path of the machine that measured, of which the file name is kept."""
Sets = dict[str, list[Point]]
NAMES = {"rankme": "RankMe", "alpha": "alpha-ReQ", "lidar": "LiDAR",
         "learnability": "cluster learnability", "alignment": "alignment, turned",
         "uniformity": "uniformity, turned", "loss": "training loss, turned"}  # fmt: skip


def kept_runs() -> Sets:
    """Return the points of kept results by data set, pre-trained and untrained networks."""
    by_set: dict[str, dict[str, Any]] = {}
    for path in sorted((ROOT / "docs" / "results").glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["results"].get("quality"):
            by_set.setdefault(path.stem.split("-")[0], {})[path.stem] = kept
    return {name: _points(found) for name, found in by_set.items()}


def _points(found: Mapping[str, Any]) -> list[Point]:
    """Return two points of each kept result of one data set."""
    counts = set.intersection(*(set(kept["results"]["counts"]) for kept in found.values()))
    points = []
    for stem, kept in found.items():
        for reading, measures in kept["results"]["quality"].items():
            rows = [r["mean"] for r in kept["results"]["summary"]
                    if r["reading"] == reading and r["labels_per_class"] in counts]  # fmt: skip
            untrained = f"untrained {kept['run']['encoder']}"
            if rows:
                network = stem if reading == "probe" else untrained
                points.append(Point(network, measures, float(np.mean(rows))))
    return points


def short_runs() -> tuple[Sets, Sets, list[str]]:
    """Return all points of short runs, those at the end alone, and the commands."""
    every, ends, commands = {}, {}, []
    for path in sorted((ROOT / "docs" / "label-free").glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        rows, commands = kept["points"], [*commands, kept["command"]]
        most = max(row["steps"] for row in rows)
        kind = "short" if "loss" in rows[-1] else "seeds"
        every[f"{path.stem} ({kind})"] = [agreement.of_row(row, "probe") for row in rows]
        last = [agreement.of_row(row, "probe") for row in rows if row["steps"] == most]
        if len(last) >= LEAST:
            ends[path.stem] = last
    return every, ends, commands


def without_loss(found: Mapping[str, Agreement]) -> dict[str, Agreement]:
    """Leave out losses, which mean nothing between methods."""
    return {name: one for name, one in found.items() if name != "loss"}


def shown() -> tuple[str, ...]:
    """Return the measures that order methods at equal compute, and all networks, beyond doubt."""
    every, ends, _ = short_runs()
    if len(ends) < LEAST_SETS:
        return ()
    among = [agreement.within(sets) for sets in (kept_runs() | every, ends)]
    return tuple(
        name for name in NAMES if name != "loss" and all(name in a and a[name].shown for a in among)
    )


def section() -> str:
    """Return the section."""
    every, ends, commands = short_runs()
    everything = {name: p for name, p in (kept_runs() | every).items() if len(p) >= LEAST}
    text = (
        "\n## Measures without labels\n\n"
        "Spearman's rank correlation of what `evaluate` measures without labels with the accuracy "
        "of the linear probe: 1 is the order that labels give, 0 is none. Networks are compared "
        "within one data set only; the mean is over sets, and its 95 % interval is of a bootstrap "
        "that draws sets again and then networks, all moments of one together. alpha-ReQ counts by "
        "its distance from 1. Each kept result gives the pre-trained and the untrained network, "
        "with the mean of the probe over all label counts; a set needs "
        f"{LEAST} of them. *Seeds*: three runs of one method that are not kept one by one, and "
        "their untrained networks. *Short*: methods on a ResNet of 0.3 million parameters, one "
        "seed, measured after a quarter, half and all of the steps.\n\n"
    )
    text += _table(everything, without_loss(agreement.within(everything)))
    if ends:
        found = without_loss(agreement.within(ends))
        text += (
            "\nThe same between methods after equally many steps of short runs, which is what "
            "`compare` would need, with what it costs to take the method that a measure puts "
            f"first (points of accuracy below the best; {_chance(ends)} by chance):\n\n"
        )
        text += _table(ends, found, cost=True)
    found = agreement.along(every)
    if found:
        text += (
            "\nAnd between the moments of one training of these (three of each), with the mean of "
            "the last training losses, which mean something within one training only:\n\n"
        )
        text += _table({key: p for key, p in every.items() if key.endswith("(short)")}, found)
    names = shown()
    said = ", ".join(NAMES[name] for name in names)
    rule = f"an interval above 0 in both tables, on {LEAST_SETS} sets or more"
    text += (
        f"\n- By the rule written down beforehand ({rule}): "
        + (f"{said}. `compare --no-labels` uses it." if names else
           "none. So `compare --no-labels` ranks no methods.")
    )  # fmt: skip
    text += "".join(f"\n- `{command}`" for command in commands)
    return text + "\n"


def _chance(ends: Sets) -> str:
    """Return the points that a method taken at random is below the best."""
    scores = [[p.score for p in points] for points in ends.values()]
    return f"{100 * np.mean([max(found) - np.mean(found) for found in scores]):.1f}"


def _table(sets: Sets, found: Mapping[str, Agreement], cost: bool = False) -> str:
    """Return a row for each measure."""
    header = ["measure", *sets, "mean (95 % interval, from three sets on)", "points"]
    lines = [header + ["cost"] * cost, ["---"] * (len(header) + cost)]
    for name, one in found.items():
        each = [_number(one.by_set.get(key)) for key in sets]
        span = f" ({_number(one.low)} to {_number(one.high)})"
        # Four networks of one set, drawn again, know nothing of other sets.
        mean = _number(one.mean) + span * (len(one.by_set) >= LEAST_SETS)
        row = [NAMES[name], *each, mean, str(one.points)]
        lines.append(row + [_cost(sets, name)] * cost)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cost(sets: Sets, name: str) -> str:
    """Return how far the network that a measure puts first is below the best, in points."""
    lost = [agreement.lost(points, name) for points in sets.values()]
    return f"{100 * np.mean([one for one in lost if one is not None]):.1f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def keep(name: str, folders: list[Path]) -> None:
    """Write docs/label-free/NAME.json from runs that were evaluated on the same samples."""
    runs = [(json.loads((f / "run.json").read_text(encoding="utf-8")),
             json.loads((f / "evaluate" / "results.json").read_text(encoding="utf-8")))
            for f in folders]  # fmt: skip
    first = runs[0][1]
    points = []
    for info, results in runs:
        if any(results[key] != first[key] for key in ("counts", "draws", "split", "quick", "seed")):
            raise SystemExit("The runs were not evaluated on the same samples.")
        who = f"{info['method']} {info['steps']} seed {info['seed']}"
        for point, reading in zip(_points({who: {"run": info, "results": results}}),
                                  results["quality"], strict=True):  # fmt: skip
            trained = reading == "probe"
            points.append(
                {"network": who if trained else f"{point.network} seed {info['seed']}",
                 "steps": info["steps"] if trained else 0, "seed": info["seed"],
                 "probe": point.score, **point.measures}
            )  # fmt: skip
    others = " and ".join(f"--seed {info['seed']}" for info, _ in runs[1:])
    kept = {"data": name, "command": f"{runs[0][0]['command']}, {others}", "points": points}
    target = ROOT / "docs" / "label-free" / f"{name}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(re.sub(PLACE, r"\1", json.dumps(kept, indent=1)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    keep(sys.argv[1], [Path(folder) for folder in sys.argv[2:]])
