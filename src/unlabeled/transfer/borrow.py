"""Rows that no pre-training changes, taken over from the study of another run on the same data.

Training from scratch is the dearest arm of a study, and who compares several runs on one data set
would pay for it every time. An arm is taken over only if all that its scores depend on is equal.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unlabeled.errors import UsageError
from unlabeled.journal import read_json, write_json
from unlabeled.transfer import trained_on
from unlabeled.transfer.arms import ARMS, in_order, name_of
from unlabeled.transfer.features import best_precision
from unlabeled.transfer.material import Material
from unlabeled.transfer.readings import Search
from unlabeled.transfer.study import Store

if TYPE_CHECKING:
    from unlabeled.runs import Run

FACTS = "facts.json"
WORDS = {
    "labels": "labels and their split",
    "reading": "how samples are read",
    "network": "the network",
    "start": "the seed of its first weights",
    "views": "augmentations and what is searched",
    "pool": "the pre-training pool",
    "form": "the versions or the seed of the study",
}
_ALWAYS = ("labels", "reading", "form")
_NETWORK, _PLAIN = (*_ALWAYS, "network", "start"), (*_ALWAYS, "pool")
NEEDS: dict[str, tuple[str, ...]] = {
    "scratch": (*_ALWAYS, "network", "views"),
    "untrained": _NETWORK,
    "untrained_knn": _NETWORK,
    "untrained_parts": _NETWORK,
    "untrained_parts_apart": _NETWORK,
    "untrained_parts_joined": _NETWORK,
    "untrained_parts_spread": _NETWORK,
    "untrained_joined": (*_NETWORK, "pool"),
    **{name: _PLAIN for name, arm in ARMS.items() if arm.part == "plain"},
}
"""Arms that use no pre-trained weights, and what their scores depend on."""


def facts(run: Run, material: Material, search: Search, about: Any) -> dict[str, str]:
    """Return a hash of everything that rows depend on, by the names of `WORDS`.

    Args:
        run: the run that is judged.
        material: the samples.
        search: what is tried where networks are trained.
        about: seed, form of rows and whatever else makes rows of one kind.
    """
    config = run.config
    train, test, whole = material.train, material.test, material.whole
    assert whole is not None
    checked = material.validation
    # Which labels are drawn is not among it: rows tell that themselves (`Material.told`).
    labels: list[Any] = [
        getattr(train.source, "fingerprint", ""), getattr(test.source, "fingerprint", ""),
        whole.y, *whole.about, material.y[checked], train.indices[checked], test.indices,
        material.y_test, *([] if material.targets is None else [material.truth]),
        material.classes, material.task, material.group,
    ]  # fmt: skip
    start = "" if config.encoder.init is None else _weights(Path(config.encoder.init))
    return {
        "labels": _hash(*labels),
        "reading": _hash(config.modality.model_dump()),
        "network": _hash(config.encoder.model_dump(exclude={"init"}), start),
        "start": _hash(config.loop.seed),
        "views": _hash(repr(search)),
        "pool": _hash(run.source().fingerprint, trained_on.pool_indices(run)),
        "form": _hash(about, best_precision(), torch.__version__),
    }


def take(store: Store, mine: dict[str, str], other: Path) -> None:
    """Take over every row that is missing here and does not depend on the pre-training.

    Args:
        store: where rows are kept; what was taken from where is remembered beside them.
        mine: `facts` of this study.
        other: folder of the run that has the rows.

    Raises:
        UsageError: `other` has no study, or none of its rows is the same here.
    """
    theirs = read_json(other / "evaluate" / FACTS)
    if not theirs:
        raise UsageError(
            f"{other} has no study to take rows from. Run `unlabeled evaluate {other}` first."
        )
    there = Store.opened(other / "evaluate")
    made = {key[0] for key in there.rows}
    fits = {
        arm: [need for need in needs if mine[need] != theirs["facts"].get(need)]
        for arm, needs in NEEDS.items()
        if arm in made
    }
    if [] not in fits.values():
        reasons = sorted({WORDS[need] for differing in fits.values() for need in differing})
        raise UsageError(
            f"No row of {other} holds here too: {', '.join(reasons) or 'it has no such arm'} "
            "differ. Leave out --reuse, or evaluate both runs with equal options."
        )
    taken: dict[str, str] = {}
    for key, row in there.rows.items():
        if key not in store.rows and fits.get(key[0]) == []:
            store.add(row, there.guesses[key])
            taken[key[0]] = other.name
    _remember(store, mine, taken)


def said(store: Store, mine: dict[str, str]) -> list[str]:
    """Write down the facts of a study, and return what to say of rows that it took over."""
    return [
        f"{name_of(arm)}: rows were taken over from {place}, whose labels, split, seeds and "
        "settings are the same."
        for arm, place in _remember(store, mine, {}).items()
    ]


def _remember(store: Store, mine: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    """Write facts and origins; an origin is forgotten with the last row of its arm."""
    before = read_json(store.folder / FACTS)
    known = {**before.get("taken", {}), **new}
    there = {key[0] for key in store.rows}
    taken = {arm: known[arm] for arm in in_order(known) if arm in there}
    write_json(store.folder / FACTS, {"facts": mine, "taken": taken})
    return taken


def _hash(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(str((part.dtype, part.shape)).encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _weights(folder: Path) -> str:
    """Return a hash of the weights that a run began with."""
    files = sorted(folder.rglob("*.safetensors")) if folder.is_dir() else [folder]
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
