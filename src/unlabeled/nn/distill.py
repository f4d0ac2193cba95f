"""Self-distillation: a student guesses, from one view, what its teacher says of another."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unlabeled.nn.precision import full, no_autocast


class Distilled(NamedTuple):
    """What `distill` finds.

    Args:
        loss: scalar in nats, with gradient.
        entropy: of the mean target, in nats: ln K when all prototypes are used alike, 0 when
            every sample gets the same one.
        target_entropy: mean over samples, in nats: near ln K the targets say nothing.
        agreement: share of pairs in which teacher and student prefer the same prototype.
    """

    loss: Tensor
    entropy: Tensor
    target_entropy: Tensor
    agreement: Tensor

    def parts(self, prefix: str = "") -> dict[str, Tensor]:
        """Return what goes to the journal, each name after `prefix`; the loss too, if prefixed."""
        found = {f"{prefix}{name}": x.detach() for name, x in self._asdict().items()}
        return found if prefix else {k: x for k, x in found.items() if k != "loss"}


def sharpen(scores: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """Return the teacher's targets: centred, sharpened, without gradient.

    Args:
        scores: (V, B, K) of the teacher.
        centre: (K,), subtracted against one prototype taking all samples.
        temperature: > 0; smaller than the student's, against uniform targets.

    Returns:
        (V, B, K), rows sum to 1.
    """
    with torch.no_grad(), no_autocast(scores):
        return ((full(scores) - centre) / temperature).softmax(-1)


def distill(targets: Tensor, scores: Tensor, temperature: float) -> Distilled:
    """Cross-entropy between the teacher's and the student's views of the same samples.

    Eq. 3 of Caron et al., 2021 (arXiv:2104.14294): every pair of a teacher's view and a
    student's other view counts once; pairs of the same view are skipped.

    Args:
        targets: (V, B, K), rows sum to 1, without gradient.
        scores: (W, B, K) of the student, W >= V; its first V views are the teacher's.
        temperature: > 0, of the student.

    Returns:
        The mean over pairs and samples and what health watches. Unrelated: about ln K.

    Raises:
        ValueError: there is no pair of different views.
    """
    num_targets, size, _ = targets.shape
    num_pairs = num_targets * len(scores) - num_targets
    if num_pairs < 1:
        raise ValueError("one view cannot teach itself: at least two views are needed")
    with no_autocast(scores):
        scores = full(scores)
        guesses = (scores / temperature).log_softmax(-1)  # (W, B, K)
        # The sum of the targets meets each student view; its own target is left out again.
        total = targets.sum(0, keepdim=True).expand_as(guesses).clone()
        total[:num_targets] -= targets
        loss = -(total * guesses).sum() / (num_pairs * size)
    with torch.no_grad():
        mean = targets.mean((0, 1))
        same = (targets.argmax(-1)[:, None] == scores.argmax(-1)[None]).float().mean(-1)  # (V, W)
        agreement = (same.sum() - same.diagonal().sum()) / num_pairs
        return Distilled(loss, _entropy(mean), _entropy(targets).mean(), agreement)


def distill_patches(
    targets: Tensor, scores: Tensor, crops: Tensor, num_crops: int, temperature: float
) -> Distilled:
    """Cross-entropy at hidden patches: what the teacher sees there, from what is around.

    Eq. 2 of Zhou et al., 2021 (arXiv:2111.07832), with the weights of the authors' code: the
    mean over each crop's hidden patches, then over crops; a crop without any counts as 0.

    Args:
        targets: (M, K) of hidden patches, rows sum to 1, without gradient; M >= 0.
        scores: (M, K) of the student.
        crops: (M,) int64, in which crop each patch lies.
        num_crops: B, crops in all.
        temperature: > 0, of the student.

    Returns:
        As `distill`, over patches; all 0 if there is none.
    """
    with no_autocast(scores):
        guesses = (full(scores) / temperature).log_softmax(-1)  # (M, K)
        share = 1 / torch.bincount(crops, minlength=num_crops).clamp_min(1)  # (B,)
        costs = -(targets * guesses).sum(-1)  # (M,)
        loss = (costs * share[crops].to(costs)).sum() / num_crops
    with torch.no_grad():
        some = max(len(targets), 1)
        agreement = (targets.argmax(-1) == scores.argmax(-1)).sum() / some
        mean = targets.sum(0) / some
        return Distilled(loss, _entropy(mean), _entropy(targets).sum() / some, agreement)


def _entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of each row in nats."""
    entropy: Tensor = torch.special.entr(probabilities).sum(-1)
    return entropy
