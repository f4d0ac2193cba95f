"""The readings of a run in tagging: the arms of the table, made for words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from unlabeled.encoders.base import Encoder
from unlabeled.errors import UsageError
from unlabeled.transfer.readings import Reading, Search
from unlabeled.transfer.roster import FIRST_LAYER
from unlabeled.transfer.tag_baselines import Contexts, Lookup
from unlabeled.transfer.tag_readings import Tagger, TagProbe, TrainedTags, start_from
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
    """Return all readings of tagged words; the cheap ones come first."""
    fresh = partial(run.untrained, run.config.loop.seed)
    ours = TagProbe(material, run.encoder)

    def start_trained(rows: NDArray[np.int64], draw: int) -> nn.Module:
        model = Tagger(run.encoder(), len(material.classes))
        start_from(model.head, ours.fitted(rows))
        return model

    def start_fresh(rows: NDArray[np.int64], draw: int) -> nn.Module:
        return Tagger(run.fresh(seed + draw), len(material.classes))

    search = search_of(quick)
    return {
        "lookup": Lookup(material),
        "contexts": Contexts(material),
        "probe": ours,
        "layers": TagProbe(material, run.encoder, layers=True),
        "untrained": TagProbe(material, cast("type[Encoder]", fresh)),
        "finetune": TrainedTags(material, start_trained, search, {"lowest": FIRST_LAYER}, seed),
        "scratch": TrainedTags(material, start_fresh, search, {}, seed),
    }


def refuse_public(against: Sequence[str]) -> None:
    """Say that public weights have no reading of words.

    Raises:
        UsageError: some were given.
    """
    if against:
        raise UsageError(
            "--against compares features of whole samples; labels of words have no such reading. "
            "Leave it out, or start a run from those weights: unlabeled pretrain DATA --init "
            f"{against[0]}"
        )
