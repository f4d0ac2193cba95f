"""What a study says: the content of results.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.transfer import calibration, schema, seeds, verdict
from unlabeled.transfer.arms import OURS
from unlabeled.transfer.study import Store, Study
from unlabeled.transfer.units import unit_of
from unlabeled.transfer.verdict import Evidence, Key

MISTAKES = 16
"""How many are told."""


def of_study(
    study: Study,
    left_out: list[str],
    quick: bool,
    unlabelled: Mapping[str, Any],
    stores: Sequence[tuple[str, Store]],
) -> dict[str, Any]:
    """Return the content of results.json.

    Args:
        study: of the run that is judged, done.
        left_out: what was not made, in sentences.
        quick: whether it is the two-minute form.
        unlabelled: what was measured without labels, by name of the field.
        stores: rows by name of the run; the first is the run itself, others are further seeds.
    """
    material = study.material
    mine = [name for name in study.readings if name in OURS]
    parts = [
        _evidence(study, store, mine if i else study.readings)
        for i, (_, store) in enumerate(stores)
    ]
    evidence = seeds.merged(parts[0], parts[1:]) if len(parts) > 1 else parts[0]
    judged = verdict.judge(evidence)
    names = [name for name, _ in stores]
    material.notes.extend(seeds.said(evidence, names, judged["ours"]))
    if material.record.get("transductive"):
        judged["verdict"] += " Test samples were pre-trained on without labels (transductive)."
    results = {
        "format": schema.FORMAT,
        "metric": study.metric,
        "task": material.task,
        "classes": material.classes,
        "counts": list(study.counts),
        "draws": study.draws,
        "seed": study.seed,
        "quick": quick,
        "rows": [
            {key: value for key, value in asdict(row).items() if key != "labelled"}
            | {"run": "" if part is parts[0] else name}
            for name, part in zip(names, parts, strict=True)
            for row in part.rows.values()
        ],
        "runs": names,
        **judged,
        "split": material.record,
        "confusion": _confusion(study, judged["ours"]),
        "mistakes": _mistakes(study, judged["ours"]),
        "calibration": _calibration(study, judged["ours"]),
        "notes": [*material.notes, *left_out],
        "seconds": 0.0,
        "complete": not left_out,
        **unlabelled,
    }
    schema.check(results)
    return results


def _evidence(study: Study, store: Store, readings: Iterable[str]) -> Evidence:
    """Score the rows that were asked for, of one run."""
    asked = set(readings)
    wanted = {
        key: row
        for key, row in store.rows.items()
        if key[0] in asked and key[1] in study.counts and key[2] < study.draws
    }
    material = study.material
    return verdict.collect(
        wanted, store.guesses, material.truth, study.metric, study.seed, material.group,
        material.class_sizes, unit_of(material.task),
    )  # fmt: skip


def _confusion(study: Study, reading: str | None) -> dict[str, Any] | None:
    keys = [key for key in study.store.rows if key[0] == reading and key[1] in study.counts]
    if not keys or study.material.task not in ("single", "ordinal", "frames", "steps"):
        return None
    key = max(keys, key=lambda k: (k[1], -k[2]))
    num_classes, truth = len(study.material.classes), study.material.y_test
    counts = np.bincount(truth * num_classes + study.store.guesses[key], minlength=num_classes**2)
    return {
        "reading": key[0],
        "labels_per_class": key[1],
        "classes": study.material.classes,
        "matrix": counts.reshape(num_classes, num_classes).tolist(),
    }


def _most_labels(study: Study, reading: str | None) -> list[Key]:
    """Return the rows with the most labels, a draw each; none where samples have no one class."""
    keys = [
        key
        for key in study.store.rows
        if key[0] == reading and key[1] in study.counts and key[2] < study.draws
    ]
    if study.material.task != "single":
        return []
    most = max((count for _, count, _ in keys), default=0)
    return sorted(key for key in keys if key[1] == most)


def _calibration(study: Study, reading: str | None) -> dict[str, Any] | None:
    """Return whether the probabilities of a reading hold; None where a draw has none."""
    keys = _most_labels(study, reading)
    sure = [study.store.sure(key) for key in keys]
    there = [part for part in sure if part is not None]
    if not keys or len(there) < len(keys):
        return None
    right = [study.store.guesses[key] == study.material.y_test for key in keys]
    found = calibration.of_draws(list(zip(there, right, strict=True)), study.seed)
    return {"reading": reading, "labels_per_class": keys[0][1], **found}


def _mistakes(study: Study, reading: str | None) -> list[dict[str, Any]]:
    """Return the test samples that most draws get wrong, with the most labels, surest first."""
    keys, material = _most_labels(study, reading), study.material
    if not keys:
        return []
    said = np.stack([study.store.guesses[key] for key in keys])  # (n, M)
    votes = np.stack([(said == k).sum(axis=0) for k in range(len(material.classes))])  # (K, M)
    taken, share = votes.argmax(axis=0), votes.max(axis=0) / len(said)
    wrong = np.flatnonzero((taken != material.y_test) & (share > 0.5))
    sure = _sure_of(study, keys, said == taken)
    surest = wrong[np.lexsort((-sure[wrong], -share[wrong]))][:MISTAKES]
    return [
        {
            "name": material.test.source.name(int(material.test.indices[i])),
            "truth": material.classes[material.y_test[i]],
            "guess": material.classes[taken[i]],
            "share": round(float(share[i]), 4),
            "sure": round(float(sure[i]), 4) if sure[i] > 0 else None,
        }
        for i in surest.tolist()
    ]


def _sure_of(study: Study, keys: Sequence[Key], agrees: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return the mean probability in the draws that agree, (n, M) -> (M,); 0 where not kept."""
    found = [study.store.sure(key) for key in keys]
    there = [part for part in found if part is not None]
    if len(there) < len(keys):
        return np.zeros(agrees.shape[1])
    mean: NDArray[np.floating] = (np.stack(there) * agrees).sum(0) / np.maximum(agrees.sum(0), 1)
    return mean
