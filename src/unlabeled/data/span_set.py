"""Spans of recordings and episodes, checked and completed.

What no span covers is a class of its own, `REST`, as silence is in diarisation (pyannote, SUPERB)
and what is no event in detection, if it is more than `FEW` of all. Less is rounding, and left out.
Only `unlabeled.transfer` may import this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.label_words import in_order
from unlabeled.data.marks import Marked, Wholes
from unlabeled.errors import DataError, UsageError

REST, FEW = "other", 0.01
SLACK, TOUCH = 0.1, 1e-3
"""Seconds by which a span may end after its recording, and by which two may overlap."""


@dataclass(frozen=True)
class Span:
    """One stretch.

    Args:
        begin: in seconds or steps; minus infinity: where the recording begins.
        end: the same; infinity: where it ends.
        label: empty where nothing is known.
        where: what to call it in a sentence.
        group: what it must not be torn from.
        split: name of its split.
    """

    begin: float
    end: float
    label: str
    where: str
    group: str = ""
    split: str = ""


Part = tuple[float, float, str]
"""Begin, end and label."""


def fitted(wholes: Wholes, spans: Mapping[int, Sequence[Span]], where: str) -> Marked:
    """Check the spans of each recording or episode and fill what none of them covers.

    Args:
        wholes: all recordings or episodes.
        spans: those of some of them.
        where: what they were read from, for sentences.

    Raises:
        UsageError: two overlap, one lies beyond the end, a split is torn, or nothing is labelled.
    """
    kept: list[tuple[int, float, list[Span]]] = []
    skipped: list[str] = []
    for number in sorted(spans):
        try:
            length = wholes.length(number)
        except DataError as error:
            skipped.append(f"{wholes.name(number)}: {error}")
            continue
        if not length:
            skipped.append(f"{wholes.name(number)}: its header does not say how long it is")
            continue
        kept.append((number, length, _in_order(spans[number], length, wholes, number)))
    points = sum(span.begin == span.end for found in spans.values() for span in found)
    if points:
        skipped.append(f"{points:,} spans of no length")
    return _flat(wholes, kept, skipped, where)


def _in_order(spans: Sequence[Span], length: float, wholes: Wholes, number: int) -> list[Span]:
    """Return spans in order of time, cut to what there is.

    Raises:
        UsageError: two overlap, or one lies outside.
    """
    slack, touch = (0.0, 0.0) if wholes.scale == "steps" else (SLACK, TOUCH)
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.begin, one.end)):
        _inside(span, length, slack, wholes, number)
        begin, end = max(span.begin, 0.0), min(span.end, length)
        if found and begin < found[-1].end - touch:
            raise UsageError(
                f"{span.where}: '{span.label}' begins at {begin:g}, before '{found[-1].label}' "
                f"({found[-1].where}) ends at {found[-1].end:g}. A moment has one label: cut one "
                "of them, or leave one kind of label out."
            )
        begin = max(begin, found[-1].end if found else 0.0)
        if end > begin:
            found.append(replace(span, begin=begin, end=end))
    return found


def _inside(span: Span, length: float, slack: float, wholes: Wholes, number: int) -> None:
    unit = "steps" if wholes.scale == "steps" else "s"
    reach = span.end if math.isfinite(span.end) else span.begin
    if reach > length + slack:
        raise UsageError(
            f"{span.where}: it reaches {reach:g} {unit}, but {wholes.name(number)} has "
            f"{length:g} {unit}."
        )
    if math.isfinite(span.begin) and span.begin < -slack:
        raise UsageError(f"{span.where}: it begins at {span.begin:g} {unit}, before 0.")


def _filled(spans: Sequence[Span], length: float, name: str) -> list[Part]:
    """Return spans, and what lies between them under a name (empty: left out)."""
    found: list[Part] = []
    reached = 0.0
    for span in spans:
        if span.begin > reached and name:
            found.append((reached, span.begin, name))
        if span.label:
            found.append((span.begin, span.end, span.label))
        reached = span.end
    if length > reached and name:
        found.append((reached, length, name))
    return found


def _flat(
    wholes: Wholes,
    kept: Sequence[tuple[int, float, list[Span]]],
    skipped: Sequence[str],
    where: str,
) -> Marked:
    rest, said = _cover(wholes, kept)
    rows = [_filled(found, length, rest) for _, length, found in kept]
    classes = in_order(part[2] for row in rows for part in row)
    if len(classes) < 2:
        one = f"one label only ('{classes[0]}')" if classes else "no label"
        raise UsageError(f"{where} has {one}. At least two are needed.")
    place = {name: i for i, name in enumerate(classes)}
    flat = [part for row in rows for part in row]
    return Marked(
        wholes.source, [wholes.all[number] for number, _, _ in kept],
        np.array([length for _, length, _ in kept]),
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.array([part[0] for part in flat]), np.array([part[1] for part in flat]),
        np.array([place[part[2]] for part in flat], dtype=np.int64), classes, wholes.scale,
        _of_each("group", wholes, kept), _of_each("split", wholes, kept), tuple(skipped), (said,),
    )  # fmt: skip


def _of_each(
    part: str, wholes: Wholes, kept: Sequence[tuple[int, float, list[Span]]]
) -> NDArray[np.str_] | None:
    """Return the group or split of each recording or episode.

    Raises:
        UsageError: one has two.
    """
    words: list[str] = []
    for number, _, spans in kept:
        found = sorted({str(getattr(span, part)) for span in spans} - {""})
        if len(found) > 1:
            raise UsageError(
                f"{wholes.name(number)} has rows of the {part}s '{found[0]}' and '{found[1]}'. "
                "All rows of a recording or an episode stand on one side."
            )
        words.append(found[0] if found else "")
    return np.array(words, dtype=np.str_) if any(words) else None


def _cover(wholes: Wholes, kept: Sequence[tuple[int, float, list[Span]]]) -> tuple[str, str]:
    """Return what the uncovered rest is called, if it is a class, and what to say of it."""
    total = max(sum(length for _, length, _ in kept), 1e-12)
    every = [span for _, _, found in kept for span in found]
    labelled = sum(span.end - span.begin for span in every if span.label)
    silent = sum(span.end - span.begin for span in every if not span.label)
    left = (total - labelled - silent) / total
    unit, what = ("steps", "episodes") if wholes.scale == "steps" else ("s", "recordings")
    said = f"Labels cover {labelled / total:.1%} of {total:,.0f} {unit} of {len(kept):,} {what}"
    if silent:
        said += f"; nothing is known of {silent / total:.1%}, which is left out"
    if left > FEW:
        return REST, f"{said}; {left:.1%} have no label and are the class '{REST}'."
    rounding = "" if left < 1e-6 else f"; {left:.2%} have none and are left out"
    return "", f"{said}{rounding}."
