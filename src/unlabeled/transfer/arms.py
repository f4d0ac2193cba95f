"""The arms of a study, in one table: every reading, what part it plays, and why it is made so.

Nothing heavy is imported, so that a wrong name is answered at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from unlabeled.errors import UsageError, nearest
from unlabeled.transfer import public

Part = Literal["ours", "rival", "plain", "beside"]


@dataclass(frozen=True)
class Arm:
    """One reading.

    Args:
        title: what a person calls it.
        part: ``ours`` uses the pre-trained encoder; ``rival`` is the same without pre-training;
            ``plain`` needs no network; ``beside`` is shown and decides nothing.
        how: its setting with few labels, and what speaks for it.
        trains: whether a network is trained for every row, which is what costs time.
        default: whether it is made unless other arms are named.
        quick: whether ``--quick`` makes it too; what takes minutes is left out there.
    """

    title: str
    part: Part
    how: str
    trains: bool = False
    default: bool = True
    quick: bool = True


_LINEAR = "L2 penalty by cross-validation inside the labels"

ARMS: dict[str, Arm] = {
    "knn": Arm("pre-trained k-NN", "ours", "k by leave-one-out inside the labels"),
    "probe": Arm("linear probe", "ours", _LINEAR),
    "joined": Arm(
        "joined with plain features", "ours",
        f"blocks of equal size; which plain features, on validation; {_LINEAR}", quick=False,
    ),
    "parts": Arm("probe of 8 parts", "ours", f"mean of each eighth of a recording; {_LINEAR}"),
    "parts_apart": Arm(
        "probe of 8 parts, speakers apart", "ours",
        f"as before, without the mean of each speaker's recordings, test ones too; {_LINEAR}",
    ),
    "parts_joined": Arm(
        "probe of 8 parts joined with MFCC", "ours",
        f"blocks of equal size, speakers apart where a column tells them; {_LINEAR}", quick=False,
    ),
    "parts_spread": Arm(
        "labels spread, 8 parts joined with MFCC", "ours",
        "from neighbour to neighbour, within speakers and across, test recordings among them; "
        "how much across, on validation",
    ),
    "finetune": Arm(
        "fine-tuned", "ours",
        "rate, view, length, and whether all weights, the last third, the head first or LoRA's "
        "thin matrices are moved, on validation", trains=True,
    ),
    "layers": Arm(
        "probe of all layers", "ours",
        "a learnt sum of the pooled layers, as in SUPERB; L2 penalty on validation",
        default=False,
    ),
    "attentive": Arm(
        "attentive probe", "ours",
        "one learnt query over tokens, beginning as their mean; L2 penalty on validation",
        default=False,
    ),
    "scratch": Arm("from scratch", "rival", "rate, view and length on validation", trains=True),
    "untrained": Arm("untrained + LR", "rival", _LINEAR),
    "untrained_parts": Arm("untrained, 8 parts", "rival", f"as the probe of 8 parts; {_LINEAR}"),
    "untrained_parts_apart": Arm(
        "untrained, 8 parts, speakers apart", "rival", f"as ours, speakers apart; {_LINEAR}"
    ),
    "untrained_parts_joined": Arm(
        "untrained, 8 parts joined with MFCC", "rival", "as ours, joined", quick=False
    ),
    "untrained_parts_spread": Arm(
        "untrained, labels spread, 8 parts joined", "rival", "as ours: labels spread",
    ),
    "untrained_joined": Arm(
        "untrained joined with plain", "rival",
        "as joined: tells what any network beside plain features would add", quick=False,
    ),
    "untrained_knn": Arm("untrained k-NN", "beside", "k by leave-one-out inside the labels"),
    "pca": Arm("PCA + LR", "plain", _LINEAR),
    "histogram": Arm("histograms + LR", "plain", _LINEAR),
    "codes": Arm(
        "k-means codes + LR", "plain",
        f"256 words of whitened 6 x 6 patches (Coates et al., 2011); {_LINEAR}", quick=False,
    ),
    "convolutions": Arm(
        "random convolutions + LR", "plain", f"128 directions, both signs; {_LINEAR}", quick=False,
    ),
    "tfidf": Arm("TF-IDF + LR", "plain", _LINEAR),
    "lsa": Arm("LSA + LR", "plain", _LINEAR),
    "logmel": Arm("log-mel statistics + LR", "plain", _LINEAR),
    "mfcc": Arm("MFCC statistics + LR", "plain", _LINEAR),
    "mfcc_parts": Arm("MFCC of 8 parts + LR", "plain", f"mean of each eighth of a clip; {_LINEAR}"),
    "mfcc_parts_apart": Arm(
        "MFCC of 8 parts, speakers apart", "plain",
        f"without the mean of each speaker's recordings, test ones too; {_LINEAR}",
    ),
    "mfcc_parts_spread": Arm(
        "MFCC of 8 parts, labels spread", "plain",
        "from neighbour to neighbour, test recordings among them; how much across speakers, on "
        "validation",
    ),
    "statistics": Arm("statistics + LR", "plain", _LINEAR),
    "rocket": Arm("random kernels + LR", "plain", f"500 dilated kernels (ROCKET); {_LINEAR}"),
    "moments": Arm(
        "moments of pixels + LR", "plain", f"mean and deviation of pixels over time; {_LINEAR}"
    ),
    "middle": Arm(
        "the middle frame + LR", "plain", f"histograms of its colours and edges; {_LINEAR}"
    ),
    "motion": Arm(
        "optical flow + LR", "plain", f"its statistics in 4 x 4 cells (Lucas-Kanade); {_LINEAR}"
    ),
    "lookup": Arm(
        "word and ending lookup", "plain", "tagged words: the commonest tag of a word or its ending"
    ),
    "contexts": Arm(
        "words in context + LR", "plain",
        "tagged words: affixes, shapes and neighbours; rate and passes on validation",
    ),
    "frames": Arm(
        "log-mel in context + LR", "plain",
        "frames of sound: 11 log-mel frames around; how far, and the L2 penalty, on validation",
    ),
    "windows": Arm(
        "values in a window + LR", "plain",
        "steps of logs: values, and mean, deviation and mean absolute step around; how far, and "
        "the L2 penalty, on validation",
    ),
    "boosted": Arm(
        "boosted trees on plain features", "plain",
        "100 rounds; fewest samples in a leaf of 1, 5, 20 on validation", default=False,
    ),
}  # fmt: skip

OURS = tuple(name for name, arm in ARMS.items() if arm.part == "ours")
PLAIN = tuple(name for name, arm in ARMS.items() if arm.part == "plain")
RIVALS = tuple(name for name, arm in ARMS.items() if arm.part in ("rival", "plain"))
QUICK = tuple(name for name, arm in ARMS.items() if arm.default and arm.quick)
TOGETHER = tuple(name for name in ARMS if name.endswith(("_apart", "_spread", "parts_joined")))
"""Arms that read all samples together, so that what else was read changes their rows."""
FROZEN = tuple(name for name, arm in ARMS.items() if arm.default and not arm.trains)


def check(arms: Iterable[str]) -> None:
    """Refuse names that no arm has.

    Raises:
        UsageError: with the nearest name.
    """
    for arm in arms:
        if arm not in ARMS:
            raise UsageError(
                f"There is no reading '{arm}'.{nearest(arm, ARMS)} Readings: {', '.join(ARMS)}."
            )


def name_of(reading: str) -> str:
    """Return what a person calls a reading.

    >>> name_of("probe")
    'linear probe'
    """
    if public.is_public(reading):
        return public.title(reading)
    return ARMS[reading].title if reading in ARMS else reading


def in_order(names: Iterable[str]) -> list[str]:
    """Return readings in the order of `ARMS`, public weights last."""
    places = {name: i for i, name in enumerate(ARMS)}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))
