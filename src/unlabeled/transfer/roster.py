"""The readings of one run: the arms of the table, made for its kind of data and its encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import kinds
from unlabeled.errors import UsageError
from unlabeled.transfer import aims, baselines, parted, public, trained_on
from unlabeled.transfer.arms import ARMS
from unlabeled.transfer.attentive import AttentiveProbe, LayersProbe
from unlabeled.transfer.boosted import Boosted
from unlabeled.transfer.joined import Joined, beside
from unlabeled.transfer.material import Material
from unlabeled.transfer.readings import Frozen, Reading, Search, Trained
from unlabeled.transfer.spread import Spread
from unlabeled.transfer.training import LIGHT, Classifier
from unlabeled.transfer.ways import WAYS
from unlabeled.types import PLAIN, View

if TYPE_CHECKING:
    from unlabeled.runs import Run

MOST_POOL, MOST_POOL_QUICK = 5_000, 2_000
MOST_TEXTS, MOST_TEXTS_QUICK = 50_000, 5_000
FIRST_LAYER = 0.1
"""Rate of a pre-trained encoder's first layer relative to its last."""


def chosen(found: Mapping[str, Reading], arms: Sequence[str] | None) -> dict[str, Reading]:
    """Return the arms that were named, or those that are made by default.

    Raises:
        UsageError: none of those named fits this kind of data.
    """
    wanted = [n for n, arm in ARMS.items() if arm.default] if arms is None else arms
    kept = {name: reading for name, reading in found.items() if name in wanted}
    if not kept:
        raise UsageError(f"None of {', '.join(arms or ())} fits this kind of data.")
    return kept


def of_public(weights: Sequence[public.Public], material: Material) -> dict[str, Reading]:
    """Return one reading of each public weights: logistic regression on frozen features."""

    def plain(one: public.Public) -> baselines.Plain:
        train, test = one.features(material.train), one.features(material.test)
        return baselines.Plain(train, test, whiten=True)

    return {one.reading: Frozen(material, partial(plain, one)).probe for one in weights}


def readings(
    run: Run, material: Material, quick: bool, seed: int
) -> tuple[dict[str, Reading], dict[str, Frozen]]:
    """Return all readings that fit the run's kind of data, and the features of those that freeze.

    The cheap ones come first.
    """
    shared = [None if run.memory is None else (run.memory, name) for name in ("ours", "fresh")]
    ours = Frozen.of_encoder(material, run.encoder, kept=shared[0])
    fresh = Frozen.of_encoder(material, _fresh(run), kept=shared[1])
    found: dict[str, Reading] = {
        "knn": ours.knn,
        "probe": ours.probe,
        "untrained": fresh.probe,
        "untrained_knn": fresh.knn,
    }
    plain = {
        name: Frozen(material, make) for name, make in _plain(run, material, quick, seed).items()
    }
    found |= {name: part.probe for name, part in plain.items()}
    in_parts = _in_parts(run, material, plain)
    found |= {name: part.probe for name, part in in_parts.items()}
    found |= _joined_parts(material, {**plain, **in_parts})
    found |= _spread(material, {**plain, **in_parts})
    found["joined"] = Joined(material, ours, plain)
    found["untrained_joined"] = Joined(material, fresh, plain)
    found["boosted"] = Boosted(material, plain)
    if material.task == "single":
        found["layers"] = LayersProbe(material, run.encoder)
        found["attentive"] = AttentiveProbe(material, run.encoder)
    frozen = {"probe": ours, "untrained": fresh, **plain, **in_parts}
    begun = in_parts.get("parts", ours)  # recordings are trained as they are read best
    num_outputs = aims.outputs(material.task, material.classes)

    def start_trained(rows: NDArray[np.int64], draw: int) -> Classifier:
        encoder = parted.as_read(run.encoder())
        model = Classifier(encoder, encoder.dim, num_outputs)
        model.start_from(begun.head(rows, draw), begun.scaler)
        return model

    def start_fresh(rows: NDArray[np.int64], draw: int) -> Classifier:
        encoder = parted.as_read(run.fresh(seed + draw))
        return Classifier(encoder, encoder.dim, num_outputs)

    tuned = {"lowest": FIRST_LAYER, "frozen_statistics": True}
    several = search_of(run, quick, ways=True)
    found["finetune"] = Trained(material, start_trained, several, tuned, seed)
    found["scratch"] = Trained(material, start_fresh, search_of(run, quick), {}, seed)
    if run.config.encoder.init is not None:
        material.notes.append(
            "This run began with given weights: 'untrained' and 'from scratch' begin with them "
            "too, so the comparison is about what this pre-training added."
        )
    return found, frozen


def _in_parts(run: Run, material: Material, plain: Mapping[str, Frozen]) -> dict[str, Frozen]:
    """Return features of recordings in parts of time, and apart from speakers."""
    if run.config.data.kind != "audio":
        return {}
    encoders: dict[str, Callable[[], Any]] = {}
    if parted.in_time(run.encoder()):
        encoders = {"parts": run.encoder, "untrained_parts": _fresh(run)}
    made = parted.for_audio(
        material, encoders, {"mfcc_parts": lambda: plain["mfcc_parts"].features}
    )
    if "mfcc_parts_apart" in made:
        material.notes.append(
            "Readings with speakers apart use all recordings of a test speaker together, without "
            "labels; what they score does not hold for a single recording of a new voice."
        )
    return {name: Frozen(material, make) for name, make in made.items() if name not in plain}


def _joined_parts(material: Material, known: Mapping[str, Frozen]) -> dict[str, Reading]:
    """Return a network's parts joined with those of cepstra, speakers apart where known."""
    end = "_apart" if "parts_apart" in known else ""
    plain = {f"mfcc_parts{end}": known[f"mfcc_parts{end}"]} if "parts" in known else {}
    return {
        f"{name}_joined": Joined(material, known[f"{name}{end}"], plain)
        for name in ("parts", "untrained_parts")
        if plain
    }


def _spread(material: Material, known: Mapping[str, Frozen]) -> dict[str, Reading]:
    """Return readings of recordings that spread labels, speakers apart where known."""
    end = "_apart" if "mfcc_parts_apart" in known else ""
    plain = known.get(f"mfcc_parts{end}")
    if plain is None or material.task != "single":
        return {}
    material.notes.append(
        "Readings with labels spread use all test recordings together, without labels; what they "
        "score does not hold for a single recording."
    )
    found: dict[str, Reading] = {"mfcc_parts_spread": Spread(material, plain)}
    for name in ("parts", "untrained_parts"):
        if f"{name}{end}" in known:
            both = Frozen(material, partial(beside, known[f"{name}{end}"], plain))
            found[f"{name}_spread"] = Spread(material, both)
    return found


def _fresh(run: Run) -> Callable[[], Any]:
    return lambda: run.untrained(run.config.loop.seed)


def _plain(
    run: Run, material: Material, quick: bool, seed: int
) -> dict[str, Callable[[], baselines.Plain]]:
    kind = run.config.data.kind
    pool: Any
    if kinds.strings(kind):
        pool = trained_on.pool_texts(run, MOST_TEXTS_QUICK if quick else MOST_TEXTS, seed)
    else:
        pool = trained_on.pool_sample(run, MOST_POOL_QUICK if quick else MOST_POOL, seed)
    found: dict[str, Callable[[], baselines.Plain]] = kinds.part(kind, "baselines")(
        material.train, material.test, pool
    )
    return found


def search_of(run: Run, quick: bool, ways: bool = False) -> Search:
    """Return what is tried in training: the method's own view first, then a light one.

    Args:
        run: whose views are shown.
        quick: nothing is tried.
        ways: whether moving fewer weights is tried, which makes sense from a pre-trained start.
    """
    views: tuple[View, ...] = (PLAIN,)
    if not kinds.strings(run.config.data.kind):
        views = (own_view(run), LIGHT)
    if quick:
        return Search(views[:1], rates=(1e-3,), lengths=(1.0,), epochs=10, fewest=60, most=200)
    return Search(views, ways=WAYS if ways else WAYS[:1])


def own_view(run: Run) -> View:
    """Return the strongest view that the pre-training method shows, one cut of it."""
    from unlabeled.runs import build_method

    views = build_method(run.config, run.modality()).views()
    first = views.get("global") or next(iter(views.values()))
    return replace(first, count=1, size=1.0)
