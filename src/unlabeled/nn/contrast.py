"""Contrastive losses: find the other view of a sample among many candidates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unlabeled.device import rank
from unlabeled.nn.gather import gather_rows
from unlabeled.nn.precision import full, no_autocast


def info_nce(query: Tensor, keys: Tensor, positive: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each query's positive among all keys.

    Eq. 1 of van den Oord et al., 2018 (arXiv:1807.03748). Rows are normalised here,
    so logits lie in [-1/temperature, 1/temperature].

    Args:
        query: (B, D), any scale, carries the gradient.
        keys: (K, D) candidates, K >= B; detach them yourself if they come from a teacher.
        positive: (B,) int64, for each query the row of its match in ``keys``.
        temperature: > 0, no unit; smaller sharpens. SimCLR 0.1, MoCo v2 0.2.

    Returns:
        Scalar in nats; ln K when queries and keys are unrelated.

    Raises:
        ValueError: widths differ, or ``temperature`` is not positive.

    >>> z = torch.eye(4)
    >>> round(info_nce(z, z, torch.arange(4), temperature=0.1).item(), 4)
    0.0001
    """
    return F.cross_entropy(_similarities(query, keys, temperature), positive)


def nt_xent(one: Tensor, two: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Normalised temperature-scaled cross-entropy over both directions of a pair of views.

    Eq. 1 of Chen et al., 2020 (arXiv:2002.05709): every projection looks for the other view of
    its sample among the 2B - 1 other projections of the batch, those of all ranks included and
    with gradient to all of them. The mean over the 2B projections is taken, which is half of
    the authors' TensorFlow sum over both directions.

    Args:
        one: (B, D) projections of the first views on this rank, any scale.
        two: (B, D) projections of the second views, row for row the same samples.
        temperature: > 0, no unit; smaller sharpens. 0.1 on ImageNet, 0.5 on CIFAR.

    Returns:
        The loss, a scalar in nats, ln(2B - 1) for unrelated projections; and, detached, the
        share of projections whose nearest other one is their positive.

    Raises:
        ValueError: shapes differ, or ``temperature`` is not positive.

    >>> z = torch.eye(4)
    >>> loss, found = nt_xent(z, z, temperature=0.1)
    >>> round(loss.item(), 4), found.item()
    (0.0003, 1.0)
    """
    if one.shape != two.shape:
        raise ValueError(f"views have different shapes: {tuple(one.shape)}, {tuple(two.shape)}")
    size = len(one)
    own = full(torch.stack([one, two], dim=1))  # (B, 2, D), so that gathering keeps pairs together
    everyone = gather_rows(own).flatten(0, 1)  # (2B over all ranks, D)
    logits = _similarities(own.flatten(0, 1), everyone, temperature)  # (2B, 2B over all ranks)
    mine = torch.arange(2 * size, device=logits.device) + rank() * 2 * size
    itself = F.one_hot(mine, logits.shape[1]).bool()
    logits = logits.masked_fill(itself, -torch.inf)
    positive = mine ^ 1  # rows 2i and 2i + 1 are the views of sample i
    found = (logits.detach().argmax(1) == positive).float().mean()
    return F.cross_entropy(logits, positive), found


def queue_nce(
    query: Tensor, key: Tensor, queue: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of finding each query's own key among it and a queue of others.

    Eq. 1 of He et al., 2020 (arXiv:1911.05722). A query meets no key of another sample of its
    batch, so samples are not coupled.

    Args:
        query: (B, D), any scale, carries the gradient.
        key: (B, D) of the teacher, row for row the same samples; no gradient reaches it.
        queue: (K, D) keys of earlier batches.
        temperature: > 0, no unit; 0.07 in MoCo, 0.2 in MoCo v2, 0.1 on CIFAR.

    Returns:
        The loss, a scalar in nats, ln(1 + K) for unrelated rows; and, detached, the share of
        queries that are nearer to their own key than to all others.

    Raises:
        ValueError: widths differ, or ``temperature`` is not positive.
    """
    others = _similarities(query, queue.detach(), temperature)  # (B, K)
    own = F.cosine_similarity(full(query), full(key).detach(), dim=-1) / temperature  # (B,)
    logits = torch.cat([own[:, None].to(others.dtype), others], dim=1)
    found = (logits.detach().argmax(1) == 0).float().mean()
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64)), found


def batch_nce(query: Tensor, keys: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of finding each query's key among the keys of the whole batch.

    The keys of all ranks are candidates, with gradient where they have one. MoCo v3's
    (arXiv:2104.02057, algorithm 1) without its factor of twice the temperature, and NNCLR's
    (arXiv:2104.14548, Eq. 3) with neighbours as queries and predictions as keys.

    Args:
        query: (B, D) on this rank, any scale.
        keys: (B, D) on this rank, row for row the same samples.
        temperature: > 0, no unit.

    Returns:
        The loss, a scalar in nats, ln B (over all ranks) for unrelated rows; and, detached, the
        share of queries whose nearest key is their own.

    Raises:
        ValueError: widths differ, or ``temperature`` is not positive.
    """
    logits = _similarities(query, gather_rows(full(keys)), temperature)  # (B, B of all ranks)
    own = torch.arange(len(query), device=logits.device) + rank() * len(query)
    found = (logits.detach().argmax(1) == own).float().mean()
    return F.cross_entropy(logits, own), found


def both_ways(one: Tensor, two: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of finding each row's partner, from the ones and from the twos.

    The in-batch form of contrastive tension (Carlsson et al. 2021), as of CLIP
    (arXiv:2103.00020): cosines times a scale that may be learned. Rows of all ranks are
    candidates, with gradient.

    Args:
        one: (B, D) on this rank, any scale.
        two: (B, D) on this rank, row for row the same samples.
        scale: scalar > 0, what cosines are multiplied by.

    Returns:
        The loss, a scalar in nats, ln B (over all ranks) for unrelated rows; and, detached, the
        share of ones whose nearest two is their own.
    """
    first = _similarities(one, gather_rows(full(two)), 1.0) * scale  # (B, B of all ranks)
    second = _similarities(two, gather_rows(full(one)), 1.0) * scale
    own = torch.arange(len(one), device=first.device) + rank() * len(one)
    found = (first.detach().argmax(1) == own).float().mean()
    return (F.cross_entropy(first, own) + F.cross_entropy(second, own)) / 2, found


def _similarities(query: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Return cosine similarities over the temperature, in fp32 or wider, (B, K)."""
    if query.shape[-1] != keys.shape[-1]:
        raise ValueError(f"queries have width {query.shape[-1]}, keys {keys.shape[-1]}")
    if temperature <= 0:
        raise ValueError(f"temperature={temperature} must be > 0")
    with no_autocast(query):
        query = F.normalize(full(query), dim=-1)
        keys = F.normalize(full(keys), dim=-1)
        return query @ keys.T / temperature
