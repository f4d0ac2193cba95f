"""The console's view of a study: one line a reading, one column a label count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from unlabeled.transfer.arms import name_of
from unlabeled.transfer.units import unit_of

_CELL = len(".623 ±.025")


def cell(part: Mapping[str, Any] | None, between: str = " ") -> str:
    """Write a mean with the half-width of its interval.

    >>> cell({"mean": 0.6234, "low": 0.6, "high": 0.65, "n": 5}), cell(None)
    ('.623 ±.025', '-')
    """
    if part is None:
        return "-"
    mean = _short(part["mean"])
    if part["low"] is None or part["high"] is None:
        return mean
    return f"{mean}{between}±{_short((part['high'] - part['low']) / 2)}"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def table(results: Mapping[str, Any], width: int = 100) -> Table:
    """Return the table of `results`, as results.json holds them.

    Where it is wider than `width`, every half-width stands below its mean, rather than here and
    there as columns happen to break.
    """
    shown = Table(title=None, box=None, pad_edge=False)
    axis = unit_of(results.get("task")).axis
    shown.add_column(axis)
    counts = sorted({row["labels_per_class"] for row in results["summary"]})
    for count in counts:
        shown.add_column(str(count), justify="right", no_wrap=True)
    parts = {(row["reading"], row["labels_per_class"]): row for row in results["summary"]}
    readings = dict.fromkeys(row["reading"] for row in results["summary"])
    first = max([len(axis), *(len(name_of(reading)) for reading in readings)])
    between = " " if first + len(counts) * (_CELL + 2) <= width else "\n"
    for reading in readings:
        values = (cell(parts.get((reading, count)), between) for count in counts)
        shown.add_row(name_of(reading), *values)
    return shown


def lines(results: Mapping[str, Any]) -> list[str]:
    """Return what is said below the table."""
    unit = unit_of(results.get("task")).short
    found = [
        f"Labels saved with {part['ours']} {unit} against {name_of(rival)}: {part['text']}"
        for rival, part in results["labels_saved"].items()
    ]
    return [*found, *mean_errors(results), *_unlabelled(results), results["verdict"]]


def mean_errors(results: Mapping[str, Any]) -> list[str]:
    """Say the mean absolute errors with the most labels, where labels are grades or numbers."""
    most = max((row["labels_per_class"] for row in results["summary"]), default=0)
    parts = [
        f"{name_of(row['reading'])} {row['mae']:.3g}"
        for row in results["summary"]
        if row["labels_per_class"] == most and row.get("mae") is not None
    ]
    unit = "grades" if results.get("task") == "ordinal" else "the numbers' unit"
    short = unit_of(results.get("task")).short
    said = f"Mean absolute error in {unit} with {most} {short}: {', '.join(parts)}"
    return [said] if parts else []


def _unlabelled(results: Mapping[str, Any]) -> list[str]:
    """Say what features look like without labels, beside those of the untrained network."""
    found = []
    for reading, numbers in results.get("quality", {}).items():
        said = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())
        who = "pre-trained" if reading == "probe" else "untrained"
        found.append(f"Without labels, {who}: {said}")
    parts = [
        f"{'pre-trained' if reading == 'probe' else name_of(reading).removesuffix(' + LR')} "
        f"{both['kmeans']['nmi']:.3f}"
        for reading, both in results.get("clusters", {}).items()
    ]
    if parts:
        found.append(f"Clusters by k-means against classes, NMI: {', '.join(parts)}")
    return [*found, *_codes(results.get("codes", {}))]


def _codes(codes: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Say what the codes of a method tell of classes and speakers.

    >>> _codes({"own": {"perplexity": 71.3, "pnmi": 0.213, "chance": 0.02}})[0]
    'Codes of the method: 71 in use; they tell .213 of the class (PNMI; .020 by chance)'
    """
    found = []
    for name, said in codes.items():
        who = "Codes of the method" if name == "own" else "Codes of the spectrum"
        group = f", {_short(said['group'])} of the group" if "group" in said else ""
        found.append(
            f"{who}: {said['perplexity']:.0f} in use; they tell {_short(said['pnmi'])} of the "
            f"class (PNMI; {_short(said['chance'])} by chance){group}"
        )
    return found
