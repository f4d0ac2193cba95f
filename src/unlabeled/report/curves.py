"""Which lines a run's records give: training, health, and the label curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlabeled.report.chart import Chart, Line, Point, Span, envelope
from unlabeled.report.folder import Folder
from unlabeled.report.wording import number, real
from unlabeled.transfer import arms
from unlabeled.transfer.units import A_CLASS, unit_of

_KNOWN = {
    "step", "progress", "loss", "lr", "grad_norm", "samples_per_second", "data_wait", "seconds",
    "epoch", "time", "memory", "samples_seen", "weight_decay", "prototypes", "entropy",
    "target_entropy",
}  # fmt: skip
_UNITS = {
    "loss": ("Loss", "should fall, then level off"),
    "lr": ("Learning rate", "warms up, then decays"),
    "grad_norm": ("Gradient norm", "spikes that do not come back down are trouble"),
    "samples_per_second": ("Samples per second", "a sag means that the machine was shared"),
    "data_wait": ("Share of time waiting for data", "above 0.1, add workers"),
}


@dataclass(frozen=True, slots=True)
class Saved:
    """How many labels pre-training saved against one rival, at equal score.

    Args:
        against: what a reader calls the rival.
        ratio: labels that the rival needs for one of ours.
        low: lower end of its interval, None where open.
        high: upper end, None where open.
        score: at which both are compared.
        ours: our labels per class.
        theirs: the rival's.
        censored: ``at_least`` where the rival never got there, ``at_most`` where it began above.
        unit: what both counts count.
    """

    against: str
    ratio: float | None
    low: float | None
    high: float | None
    score: float | None
    ours: float | None
    theirs: float | None
    censored: str
    unit: str = A_CLASS.labels

    @property
    def sign(self) -> str:
        """Return what stands before the ratio."""
        return {"at_least": "> ", "at_most": "< "}.get(self.censored, "")

    @property
    def sure(self) -> bool:
        """Say whether the interval lies above 1."""
        return self.low is not None and self.low > 1

    @property
    def trade(self) -> str:
        """Return both counts in words."""
        if self.ours is None or self.theirs is None:
            return ""
        bound = {"at_least": "more than ", "at_most": "fewer than "}.get(self.censored, "")
        return f"{number(self.ours)} {self.unit} instead of {bound}{number(self.theirs)}"

    @property
    def interval(self) -> str:
        """Return the interval in words; an open end is one that no label count reached."""
        if self.low is not None and self.high is not None:
            return f"95 % interval {number(self.low, 2)} to {number(self.high, 2)}"
        if self.low is not None:
            return f"95 % interval from {number(self.low, 2)} up"
        return f"95 % interval up to {number(self.high, 2)}" if self.high is not None else ""


def is_ours(reading: str) -> bool:
    """Say whether a reading uses the pre-trained encoder."""
    return reading in arms.OURS


def name_of(reading: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return what the evaluation calls a reading, or what a reader does."""
    return str(rows[0].get("name") or arms.name_of(reading))


def series(records: Sequence[dict[str, Any]], key: str, clock: str = "step") -> list[Point]:
    """Return (clock, value) of the records that hold both; what is not finite stays as a gap."""
    points = []
    for record in records:
        x, value = real(record.get(clock)), record.get(key)
        if value in ("nan", "inf", "-inf"):
            value = math.nan
        if x is None or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        points.append((x, float(value)))
    return points


def finite(points: Sequence[Point]) -> bool:
    """Say whether at least one point can be drawn."""
    return any(math.isfinite(y) for _, y in points)


def _simple(
    folder: Folder, key: str, title: str, note: str, levels: Sequence[tuple[float, str]] = ()
) -> Chart | None:
    points = series(folder.metrics, key)
    if not finite(points):
        return None
    tail = [p for p in points if math.isfinite(p[1])]
    band = envelope(tail) if key != "lr" else []
    zero = key in ("lr", "grad_norm", "samples_per_second", "data_wait")
    return Chart(title, [Line(title, points, band)], note=note, levels=levels, zero=zero)


def training(folder: Folder) -> list[Chart]:
    """Return the charts of the journal: loss, rate, gradient, speed, and the method's parts."""
    chance = real(folder.info.get("chance"))
    charts = []
    for key, (title, note) in _UNITS.items():
        levels = [(chance, "knowing nothing")] if key == "loss" and chance is not None else []
        charts.append(_simple(folder, key, title, note, levels))
    parts: dict[str, None] = {}
    for record in (*folder.metrics[:50], *folder.metrics[-50:]):
        parts.update(dict.fromkeys(key for key in record if key not in _KNOWN))
    charts += [
        _simple(folder, key, key.replace("_", " ").capitalize(), f"part of {folder.method}")
        for key in [key for key in parts if _varies(folder, key)][:8]
    ]
    return [chart for chart in charts if chart is not None]


def _varies(folder: Folder, key: str) -> bool:
    """Say whether a figure changes in the course of the run; a level line tells nothing."""
    values = {value for _, value in series(folder.metrics, key)}
    return len(values) > 1 or len(folder.metrics) < 3


def prototypes(folder: Folder) -> int | None:
    """Return K, the number of prototypes, of methods that have them."""
    for source in (*folder.metrics[-1:], *folder.health[-1:]):
        if (found := real(source.get("prototypes"))) is not None and found > 1:
            return int(found)
    return None


def monitors(folder: Folder) -> list[Chart]:
    """Return the charts of the collapse monitors with their analytic reference levels."""
    dim, count = folder.dim, prototypes(folder)
    even = [(1.0, "evenly spread on the sphere")]
    used = f"directions in use{f', of {dim}' if dim else ''}; 1 is collapse"
    chance = [(math.log(count), f"ln {number(count)}: uniform")] if count else []
    wanted = [
        ("spread", "Feature spread", "deviation per dimension × √D; 0 is collapse", even, True),
        ("effective_rank", "Effective rank", used, [], True),
        ("mean_cosine", "Mean cosine of two samples", "1 is collapse",
         [(1.0, "all samples alike")], True),
        ("held_out", "Cost of held-out text", "nats a target; rising is overfitting", [], False),
        ("entropy", "Entropy of the mean target", "0 is one prototype for all", chance, True),
        ("target_entropy", "Entropy of targets", "stuck at the level is collapse", chance, False),
    ]  # fmt: skip
    charts = []
    for key, title, note, levels, zero in wanted:
        points = series(folder.health, key) or (
            series(folder.metrics, key) if key.endswith("entropy") else []
        )
        if finite(points):
            line = Line(title, points, marks=len(points) <= 40)
            charts.append(Chart(title, [line], note=note, levels=levels, zero=zero))
    return charts


def over_time(results: Mapping[str, Any]) -> list[Chart]:
    """Return what an evaluation found at kept checkpoints: k-NN and uniformity by step."""
    found = results.get("moments")
    moments = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    classes = results.get("classes")
    chance = [(1 / len(classes), "chance")] if isinstance(classes, list) and classes else []
    labels = number(moments[-1].get("labels_per_class")) if moments else ""
    wanted = [
        ("knn", "k-NN at kept checkpoints", f"accuracy on test, {labels} labels a class; labels "
         "were used after training only", chance),
        ("uniformity", "Uniformity at kept checkpoints",
         "0 is all alike, about -4 evenly spread", [(0.0, "all alike")]),
    ]  # fmt: skip
    charts = []
    for key, title, note, levels in wanted:
        points = series(moments, key)
        if len(points) > 1 and finite(points):
            line = Line(title, points, marks=True)
            charts.append(Chart(title, [line], note=note, levels=levels, zero=key == "knn"))
    return charts


def summary(results: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Group the summary of an evaluation by reading, in order of labels per class."""
    rows = results.get("summary")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        if real(row.get("labels_per_class")) and real(row.get("mean")) is not None:
            groups.setdefault(str(row.get("reading", "")), []).append(row)
    for group in groups.values():
        group.sort(key=lambda row: float(row["labels_per_class"]))
    return dict(sorted(groups.items(), key=lambda item: not is_ours(item[0])))


def curve_line(reading: str, rows: Sequence[dict[str, Any]], look: str) -> Line:
    """Return the line of one reading, with its interval as a band."""
    points, band = [], []
    for row in rows:
        x, mean = float(row["labels_per_class"]), float(row["mean"])
        points.append((x, mean))
        low, high = real(row.get("low")), real(row.get("high"))
        band.append((x, mean if low is None else low, mean if high is None else high))
    return Line(name_of(reading, rows), points, band, look, marks=True)


def label_curve(results: dict[str, Any]) -> Chart | None:
    """Return score against labels per class: our readings in colour, rivals in grey."""
    groups = summary(results)
    if not groups:
        return None
    lines, seen = [], {True: 0, False: 0}
    # The strongest line of each side is drawn whole, the others in dashes.
    for reading, rows in sorted(groups.items(), key=lambda item: -float(item[1][-1]["mean"])):
        ours = is_ours(reading)
        look = f"{'ours' if ours else 'base'}-{min(seen[ours], 5)}"
        seen[ours] += 1
        lines.append(curve_line(reading, rows, look))
    counts = sorted({x for line in lines for x, _ in line.points})
    span = next((_span(saved) for saved in savings(results)[:1]), None)
    metric = str(results.get("metric") or "score")
    axis = unit_of(results.get("task")).axis
    title = f"{metric.replace('_', ' ').capitalize()} by {axis}"
    return Chart(title, lines, axis, log_x=True, x_ticks=counts, span=span)


def _span(saved: Saved) -> Span | None:
    if saved.score is None or not saved.ours or not saved.theirs or saved.ours >= saved.theirs:
        return None
    caption = f"{saved.sign}{number(saved.ratio, 2)}× fewer labels"
    return Span(saved.score, saved.ours, saved.theirs, caption)


def savings(results: dict[str, Any]) -> list[Saved]:
    """Return labels saved against each rival: training from scratch first, then the closest."""
    tree = results.get("labels_saved")
    if not isinstance(tree, dict):
        return []
    found = []
    for against, part in tree.items():
        if not isinstance(part, dict):
            continue
        found.append(
            Saved(
                against=_rival(str(part.get("against") or against)),
                ratio=real(part.get("ratio")),
                low=real(part.get("low")),
                high=real(part.get("high")),
                score=real(part.get("score")),
                ours=real(part.get("ours")),
                theirs=real(part.get("theirs")),
                censored=str(part.get("censored") or ""),
                unit=unit_of(results.get("task")).labels,
            )
        )
    return sorted(found, key=lambda s: (s.against != _rival("scratch"), s.ratio or math.inf))


def _rival(reading: str) -> str:
    """Return what stands after "against"."""
    return "training from scratch" if reading == "scratch" else arms.name_of(reading)
