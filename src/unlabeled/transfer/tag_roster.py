"""The readings of a run in tagging: the arms of the table, made for words, frames and steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from unlabeled.encoders.base import Encoder
from unlabeled.errors import UsageError
from unlabeled.transfer import frame_baselines
from unlabeled.transfer.readings import Reading, Search
from unlabeled.transfer.roster import FIRST_LAYER
from unlabeled.transfer.tag_baselines import Contexts, Lookup
from unlabeled.transfer.tag_features import Beside, NetFeatures
from unlabeled.transfer.tag_form import TASK
from unlabeled.transfer.tag_frames import FRAMES
from unlabeled.transfer.tag_readings import (
    Best,
    FrameTagger,
    Tagger,
    TagNeighbours,
    TagProbe,
    TrainedTags,
    start_from,
)
from unlabeled.transfer.tagging import TagMaterial
from unlabeled.types import PLAIN

if TYPE_CHECKING:
    from unlabeled.runs import Run


def search_of(quick: bool) -> Search:
    """Return what is tried in training, the same from a pre-trained and from a fresh start."""
    if quick:
        return Search((PLAIN,), rates=(1e-3,), lengths=(1.0,), epochs=10, fewest=100, most=300)
    return Search((PLAIN,), rates=(1e-3, 3e-3), epochs=20, fewest=200, most=1000)


def readings(run: Run, material: TagMaterial, quick: bool, seed: int) -> dict[str, Reading]:
    """Return all readings of what is tagged; the cheap ones come first.

    Args:
        run: the run that is judged.
        material: what is labelled.
        quick: whether networks are trained without a search.
        seed: of training.
    """
    fresh = cast("type[Encoder]", partial(run.untrained, run.config.loop.seed))
    ours, theirs = NetFeatures(material, run.encoder), NetFeatures(material, fresh)
    probe, search = TagProbe(material, ours), search_of(quick)
    made = Tagger if material.task == TASK else FrameTagger

    def start_trained(rows: NDArray[np.int64], draw: int) -> nn.Module:
        model = made(run.encoder(), len(material.classes))
        start_from(model.head, probe.fitted(rows))
        return model

    def start_fresh(rows: NDArray[np.int64], draw: int) -> nn.Module:
        return made(run.fresh(seed + draw), len(material.classes))

    if material.task == TASK:
        found: dict[str, Reading] = {"lookup": Lookup(material), "contexts": Contexts(material)}
    else:
        found = _of_moments(material, ours, theirs)
    return found | {
        "probe": probe,
        "layers": TagProbe(material, NetFeatures(material, run.encoder, layers=True)),
        "untrained": TagProbe(material, theirs),
        "finetune": TrainedTags(material, start_trained, search, {"lowest": FIRST_LAYER}, seed),
        "scratch": TrainedTags(material, start_fresh, search, {}, seed),
    }


def _of_moments(
    material: TagMaterial, ours: NetFeatures, theirs: NetFeatures
) -> dict[str, Reading]:
    """Return readings of frames and steps that words have none of."""
    sound = material.task == FRAMES
    plain = (frame_baselines.of_sound if sound else frame_baselines.of_logs)(material)

    def best(other: NetFeatures | None) -> Best:
        return Best(
            material,
            {
                far: TagProbe(material, one if other is None else Beside(other, one))
                for far, one in plain.items()
            },
        )

    return {
        "frames" if sound else "windows": best(None),
        "knn": TagNeighbours(material, ours),
        "untrained_knn": TagNeighbours(material, theirs),
        "joined": best(ours),
        "untrained_joined": best(theirs),
    }


def refuse_public(against: Sequence[str]) -> None:
    """Say that public weights have no reading of words or frames.

    Raises:
        UsageError: some were given.
    """
    if against:
        raise UsageError(
            "--against compares features of whole samples; labels of words, frames or steps have "
            "no such reading. Leave it out, or start a run from those weights: unlabeled pretrain "
            f"DATA --init {against[0]}"
        )
