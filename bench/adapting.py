"""Which way to adapt an encoder pays with 5, 10 or 50 labels a class?

    python bench/adapting.py RUN --labels FILE --test FILE --out adapting.jsonl

Every way sees the same labels in the same draws and chooses its settings where `evaluate` does: k
and penalties inside the labels, rate and length of training (and what is joined) on the validation
part. Fine-tuning is measured once for each choice of which weights move (see `transfer.ways`), and
once with an equal rate in all layers (`even`). The last line is what is best on the validation
part, draw by draw, as a study does. Printed are means over draws with 95 % t-intervals, and paired
differences from the linear probe. Rows that are there already are not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from unlabeled import kinds
from unlabeled.runs import Run
from unlabeled.transfer import label_curve, metrics, roster, splits
from unlabeled.transfer.readings import Frozen, Reading, Search, Trained, validated
from unlabeled.transfer.splits import Material
from unlabeled.transfer.training import Classifier
from unlabeled.transfer.ways import RATES, WAYS
from unlabeled.types import PLAIN

FROZEN = ("knn", "probe", "attentive", "joined")
EVEN = "even"
BEST = "best on validation"


def trained(run: Run, material: Material, steps: int, seed: int) -> dict[str, Reading]:
    """Return fine-tuning with each choice of which weights move."""
    frozen = Frozen.of_encoder(material, run.encoder)
    text = kinds.strings(run.config.data.kind)

    def start(rows: NDArray[np.int64], draw: int) -> Classifier:
        encoder = run.encoder()
        model = Classifier(encoder, encoder.dim, len(material.classes))
        model.start_from(frozen.fitted(rows, draw), frozen.scaler)
        return model

    found: dict[str, Reading] = {}
    for name, lowest in (*((way, roster.FIRST_LAYER) for way in WAYS), (EVEN, 1.0)):
        way = name if name in WAYS else "all"
        view = PLAIN if text else roster.own_view(run)
        rates = tuple(rate * RATES[way] for rate in Search((view,)).rates)
        search = Search((view,), rates=rates, fewest=steps, most=steps)
        base = {"lowest": lowest, "frozen_statistics": True, "way": way}
        found[name] = Trained(material, start, search, base, seed)
    return found


def measured(
    material: Material, ways: Mapping[str, Reading], counts: Sequence[int], draws: int, out: Path
) -> list[dict[str, Any]]:
    """Make the rows that are missing and return all; one draw of everything comes first."""
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(row["way"], row["count"], row["draw"]) for row in rows}
    for count in counts:
        for name, read in ways.items():
            for draw in range(draws):
                if (name, count, draw) in done:
                    continue
                began = time.perf_counter()
                chosen = label_curve.draw(material.y, material.pool, count, draw, 0)
                said = read(chosen, count, draw)
                row = {
                    "way": name, "count": count, "draw": draw, "choices": said.choices,
                    "validation": validated(material, said.validation),
                    "accuracy": metrics.accuracy(said.test, material.y_test),
                    "seconds": round(time.perf_counter() - began, 1),
                }  # fmt: skip
                rows.append(row)
                with out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    return rows


def with_best(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Add what is best on the validation part of each draw."""
    keys = sorted({(row["count"], row["draw"]) for row in rows})
    added = []
    for key in keys:
        these = [row for row in rows if (row["count"], row["draw"]) == key]
        added.append({**max(these, key=lambda row: row["validation"]), "way": BEST})
    return [*rows, *added]


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table."""
    counts = sorted({row["count"] for row in rows})
    print("| way | " + " | ".join(f"{count} | minus probe" for count in counts) + " | seconds |")
    print("|---" * (2 * len(counts) + 2) + "|")
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = []
        for count in counts:
            ours, probe = (
                {r["draw"]: r["accuracy"] for r in rows if (r["way"], r["count"]) == (name, count)}
                for name in (way, "probe")
            )
            shared = sorted(set(ours) & set(probe))
            gains = [ours[draw] - probe[draw] for draw in shared]
            cells += [spread(list(ours.values()), ".3f"), spread(gains, "+.3f")]
        seconds = np.mean([row["seconds"] for row in rows if row["way"] == way])
        print(f"| {way} | " + " | ".join(cells) + f" | {seconds:.0f} |")


def spread(values: Sequence[float], form: str) -> str:
    """Return a mean with its 95 % t-interval."""
    if len(values) < 2:
        return format(values[0], form) if values else ""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):{form}} ±{half:.3f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--labels", required=True)
    parser.add_argument("--test")
    parser.add_argument("--counts", default="5,10,50")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200, help="of the longest training")
    parser.add_argument("--most-test", type=int, default=2000)
    parser.add_argument("--windows", type=int, help="of documents; else as the run says")
    parser.add_argument("--ways", default=",".join((*FROZEN, *WAYS, EVEN)))
    parser.add_argument("--out", type=Path, default=Path("adapting.jsonl"))
    parser.add_argument("--transductive", action="store_true")
    asked = parser.parse_args()
    run = Run.open(Path(asked.run)).with_windows(asked.windows)
    counts = [int(word) for word in asked.counts.split(",")]
    material = splits.prepare(
        run, asked.labels, asked.test, None, per_class=max(counts) * asked.draws,
        most_test=asked.most_test, seed=0, transductive=asked.transductive,
    )  # fmt: skip
    for note in material.notes:
        print(f"Note: {note}")
    made, _ = roster.readings(run, material, True, 0)
    ways = {name: made[name] for name in FROZEN} | trained(run, material, asked.steps, 0)
    wanted = {name: ways[name] for name in asked.ways.split(",")}
    rows = measured(material, wanted, counts, asked.draws, asked.out)
    show(with_best(rows))


if __name__ == "__main__":
    main()
