"""Does it learn, or does it cheat? Numbers that show collapse, and words that explain it.

A falling loss proves nothing for methods that make their own targets. What shows collapse is
how features of fixed held-out samples are spread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

PATIENCE = 3
"""Checks in a row that must agree before a run is called collapsed."""


@dataclass(frozen=True)
class Reading:
    """One look at the features of the watched samples.

    Args:
        spread: standard deviation per dimension of L2-normalised features times sqrt(D);
            1 when they fill the sphere, 0 when all are one point.
        effective_rank: RankMe (Garrido et al., 2023, arXiv:2210.02885): exp of the entropy of
            the singular values; 1 when one direction is used, at most min(N, D).
        mean_cosine: mean cosine of pairs of different samples.
    """

    spread: float
    effective_rank: float
    mean_cosine: float


def spread(x: Tensor) -> Tensor:
    """Return the mean standard deviation per dimension of unit rows, times sqrt(D).

    Args:
        x: (N, D), N >= 2.

    Returns:
        Scalar without gradient: 1 where rows fill the sphere, 0 where all are one point
        (Chen and He, 2021, arXiv:2011.10566, section 4.1, times sqrt(D)).
    """
    z = F.normalize(x.detach().float(), dim=-1)
    return z.std(dim=0, correction=0).mean() * math.sqrt(z.shape[1])


def directions(x: Tensor) -> Tensor:
    """Return how many directions unit rows use: the participation ratio of their covariance.

    ``(sum of eigenvalues)^2 / sum of their squares``, from the Gram matrix, so that it costs a
    product of (N, D) with itself and no decomposition.

    Args:
        x: (N, D), N >= 2.

    Returns:
        Scalar without gradient, between 1 (a line) and min(N - 1, D).

    >>> round(directions(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])).item(), 3)
    1.0
    """
    z = F.normalize(x.detach().float(), dim=-1)
    z = z - z.mean(0)
    gram = z @ z.T if len(z) < z.shape[1] else z.T @ z
    return gram.diagonal().sum().square() / gram.square().sum().clamp_min(1e-12)


def projected(x: Tensor) -> dict[str, Tensor]:
    """Return what health reads of projections, (N, D): their spread and directions."""
    return {"projection_spread": spread(x), "projection_rank": directions(x)}


def read_features(features: Tensor) -> Reading:
    """Measure features, (N, D) with N >= 2.

    >>> reading = read_features(torch.eye(8))
    >>> round(reading.effective_rank, 3), round(reading.mean_cosine, 3)
    (8.0, 0.0)
    >>> round(read_features(torch.ones(8, 4)).spread, 6)
    0.0
    """
    z = F.normalize(features.float(), dim=1)
    count = len(z)
    values = torch.linalg.svdvals(features.float())
    share = values / values.sum().clamp_min(1e-12) + 1e-7
    rank = float(torch.exp(-(share * share.log()).sum()))
    cosine = float((z.sum(0).square().sum() - count) / (count * (count - 1)))
    return Reading(float(spread(features)), rank, cosine)


FEW = 11
"""Samples below which neighbours say nothing."""


def kept(start: Tensor, now: Tensor) -> float:
    """Return how much of the neighbourhoods of samples is as it was: 1 all of it, 0 chance.

    The share of the k nearest (by cosine) that are among the k nearest still, with chance taken
    off; k is a tenth of the samples, at most ten. Unlike a distance it does not change when
    features are turned or scaled.

    Args:
        start: (N, D) features that a run began with, N >= `FEW`.
        now: (N, D') of the same samples.

    >>> x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    >>> kept(x, 3 * x @ torch.linalg.qr(torch.ones(8, 8) + torch.eye(8))[0])
    1.0
    """
    near, count = [], min(10, max(1, len(start) // 10))
    for features in (start, now):
        z = F.normalize(features.float(), dim=1)
        near.append((z @ z.T).fill_diagonal_(-2).topk(count, dim=1).indices)
    same = (near[0][:, :, None] == near[1][:, None, :]).any(2)
    chance = count / (len(start) - 1)
    return max(0.0, (float(same.float().mean()) - chance) / (1 - chance))


@dataclass
class Health:
    """Watches a run and says in words when it goes wrong.

    Args:
        method: name, for the words.
        chance: loss of knowing nothing in nats, or None.
        unigram: entropy of single tokens in nats (text), or None.
        prototypes: K of methods that compare distributions over prototypes, or None.
    """

    method: str
    chance: float | None = None
    unigram: float | None = None
    prototypes: int | None = None
    first: Reading | None = None
    streaks: dict[str, int] = field(default_factory=dict)

    def check(
        self,
        reading: Reading,
        parts: Mapping[str, float],
        loss: float,
        progress: float,
        kept: float | None = None,
    ) -> list[str]:
        """Return the sentences that hold now; each needs `PATIENCE` checks in a row.

        Args:
            reading: of the watched features.
            parts: of the loss.
            loss: its total.
            progress: in [0, 1].
            kept: see `kept`, for a run that began with weights.
        """
        self.first = self.first or reading
        loss = parts.get("nats", loss)  # where the loss is a sum of which one part is of tokens
        signs = {
            "point": self._one_point(reading, parts),
            "uniform": self._uniform(parts),
            "constant": self._constant(parts),
            "line": self._one_line(reading, parts),
            "chance": progress > 0.3 and not self.prototypes and self._at_chance(loss),
            "untaught": progress > 0.3 and bool(self.prototypes) and self._at_chance(loss),
            "unigram": progress > 0.3 and self._at_unigram(loss),
            "codes": parts.get("code_perplexity", math.inf) <= FEWEST_CODES,
            "still": progress > 0.3 and parts.get("guess_spread", 1.0) < LEAST_SPREAD,
            "hidden": not LEAST_HIDDEN <= parts.get("mask_share", 0.5) <= MOST_HIDDEN,
            "drift": kept is not None and kept < LEAST_KEPT,
        }
        for name, seen in signs.items():
            self.streaks[name] = self.streaks.get(name, 0) + 1 if seen else 0
        return [WORDS[n] for n, count in self.streaks.items() if count >= PATIENCE]

    def collapsed(self) -> bool:
        """Return whether a sign that stops a run has held long enough."""
        return any(self.streaks.get(name, 0) >= PATIENCE for name in STOPPING)

    def _one_point(self, reading: Reading, parts: Mapping[str, float]) -> bool:
        projected = parts.get("projection_spread", 1.0)
        start = self.first.spread if self.first else reading.spread
        return projected < 0.02 or reading.spread < min(0.01, 0.2 * start)

    def _one_line(self, reading: Reading, parts: Mapping[str, float]) -> bool:
        """BatchNorm keeps a spread on even when all projections lie on one line.

        Without what holds samples apart, projections have an effective rank of 1.0 to 1.1 here;
        healthy ones of small batches pass through 1.2.
        """
        start = self.first.effective_rank if self.first else reading.effective_rank
        flat = reading.effective_rank < 1.5 and start > 3
        return flat or parts.get("projection_rank", math.inf) < LEAST_RANK

    def _uniform(self, parts: Mapping[str, float]) -> bool:
        """Every sample's target is the uniform distribution: nothing to match."""
        entropy, classes = parts.get("target_entropy"), self.prototypes
        return bool(entropy is not None and classes and entropy > math.log(classes) * 0.9995)

    def _constant(self, parts: Mapping[str, float]) -> bool:
        """The mean target has almost no entropy: all samples share one prototype."""
        entropy, classes = parts.get("entropy"), self.prototypes
        return bool(entropy is not None and classes and entropy < 0.1 * math.log(classes))

    def _at_chance(self, loss: float) -> bool:
        return self.chance is not None and abs(loss - self.chance) < 0.002 * self.chance

    def _at_unigram(self, loss: float) -> bool:
        return self.unigram is not None and loss > 0.98 * self.unigram


STOPPING = ("point", "uniform", "constant", "line")

FEWEST_CODES = 2.05
"""Codes in use (exp of their entropy) below which there is nothing to name; fairseq's and
transformers' collapsed runs of wav2vec 2.0 showed 2.0, healthy ones 18 and more."""

LEAST_SPREAD = 0.01
"""Deviation of guesses at which data2vec's authors stop (after 5,000 updates)."""

LEAST_HIDDEN, MOST_HIDDEN = 0.1, 0.85
"""Share of hidden tokens that is usual: 0.49 in wav2vec 2.0, 0.57 in HuBERT, 0.75 in images."""

LEAST_RANK = 1.15
"""Effective rank of projections below which they lie on one line."""

LEAST_KEPT = 0.25
"""Share of neighbours below which features no longer are those of the weights."""

WORDS: Mapping[str, str] = {
    "drift": "The features have drifted from those of the weights that the run began with: less "
    "than a quarter of the nearest neighbours of a sample are what they were, so what the weights "
    "knew is being lost. Try optim.lr divided by 10, a longer optim.hold, a higher "
    "method.momentum, or encoder.lora=8; if the data are unlike those of the weights, judge by "
    "`unlabeled evaluate` which of the two is better.",
    "codes": "Nearly all sound gets one code, so naming it teaches nothing. Look with `unlabeled "
    "inspect` whether the recordings are more than noise, and try more method.num_codes; "
    "where codes are learnt (wav2vec2) they have collapsed: a lower optim.lr, more diversity.",
    "still": "The guesses hardly differ from token to token: the teacher's targets are collapsing. "
    "Try optim.lr divided by 3, or a higher method.momentum.",
    "hidden": "The share of sound that is hidden is far from what works (0.5 to 0.6 of speech): "
    "change method.mask_share, or method.mask_span if the recordings are shorter than two spans.",
    "point": "The features are collapsing to one point: all samples look the same to the "
    "encoder. Usual causes: a rate that is too high, a teacher without momentum, no centring or "
    "no stop-gradient. Try optim.lr divided by 3, or a longer optim.warmup.",
    "line": "The features are collapsing to one direction (one line through all projections). Try "
    "optim.lr divided by 3, or a larger loop.batch.",
    "uniform": "The targets are uniform over all prototypes: the teacher says nothing. Try a "
    "lower teacher temperature (of SwAV method.epsilon), fewer prototypes, or a faster teacher "
    "(lower momentum).",
    "constant": "All samples share one prototype: the centre does not hold them apart. Try a "
    "faster centre (lower centre momentum) or a higher teacher temperature.",
    "chance": "After a third of the run the loss is still that of knowing nothing. Try a higher "
    "optim.lr, a lower temperature, or look with `unlabeled inspect` whether the views still "
    "show the sample.",
    "untaught": "After a third of the run the loss is still that of choosing among the prototypes "
    "at random: the student learns nothing from its targets. Divide their temperature by two to "
    "four (method.teacher_temperature and first_temperature, of SwAV method.epsilon; the colder, "
    "the less two views must share), take fewer prototypes (method.out_dim, num_prototypes), or "
    "look with `unlabeled inspect` whether two views still show the same sample.",
    "unigram": "After a third of the run the loss is still that of single-token frequencies: "
    "context is not used. Try a higher optim.lr or more steps; check for repeated documents "
    "with `unlabeled inspect`.",
}
