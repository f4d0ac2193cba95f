"""What each of two processes runs: half the batch, the same weights, one gradient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from timm.layers import BatchNormAct2d
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlabeled.methods.contriever import Contriever
from unlabeled.methods.swav import SwAV
from unlabeled.methods.tcn import TCN
from unlabeled.methods.vip import VIP
from unlabeled.nn.batch_norm import synchronise
from unlabeled.nn.block_masks import spread_ratios
from unlabeled.nn.centre import Balance
from unlabeled.nn.contrast import batch_nce, nt_xent, queue_nce
from unlabeled.nn.decorrelate import barlow_twins, vicreg
from unlabeled.nn.distill import distill, distill_patches, sharpen
from unlabeled.nn.gather import gather_rows, sum_over_ranks
from unlabeled.nn.koleo import koleo
from unlabeled.nn.queue import Queue
from unlabeled.nn.sigreg import draw_lines, sigreg
from unlabeled.nn.sinkhorn import sinkhorn
from unlabeled.types import Batch

Losses = dict[str, Callable[[Tensor, Tensor], Tensor]]


def inputs() -> tuple[Tensor, Tensor]:
    """Return shared weights and the whole batch of two views, float64."""
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(12, 8, generator=draw, dtype=torch.float64)
    views = torch.randn(2, 8, 12, generator=draw, dtype=torch.float64)
    return weight, views


def simclr(weight: Tensor, views: Tensor) -> Tensor:
    """Contrast the views of this rank with those of all."""
    return nt_xent(views[0] @ weight, views[1] @ weight, 0.2)[0]


def dino(weight: Tensor, views: Tensor) -> Tensor:
    """Distil with a centre that all ranks made."""
    scores = views @ weight
    mean = sum_over_ranks(scores.detach().sum((0, 1))) / sum_over_ranks(
        torch.tensor(len(scores[0]))
    )
    return distill(sharpen(scores.detach(), mean, 0.04), scores, 0.1).loss


def sinkhorn_targets(weight: Tensor, views: Tensor) -> Tensor:
    """Guess, from one view, the prototypes that all ranks' samples were shared out to."""
    one, two = views @ weight
    return -(sinkhorn(one, 0.5) * two.log_softmax(-1)).sum(-1).mean()


def moco(weight: Tensor, views: Tensor) -> Tensor:
    """Contrast with a queue that both ranks filled, over its end."""
    queue = Queue(12, 8).double().train()
    queue.rows.copy_(torch.linspace(-1, 1, 96, dtype=torch.float64).view(12, 8))
    for rows in (views[1, :, :8], views[1, :, 4:]):
        queue.hear(rows)
        queue.move()
    one, two = views @ weight
    return queue_nce(one, two, queue.rows, 0.2)[0]


def mocov3(weight: Tensor, views: Tensor) -> Tensor:
    """Find a teacher's keys of all ranks."""
    return batch_nce(views[0] @ weight, views[1, :, :8], 0.2)[0]


def nnclr(weight: Tensor, views: Tensor) -> Tensor:
    """Neighbours find predictions of all ranks, which get gradients."""
    return batch_nce(views[1, :, :8], views[0] @ weight, 0.1)[0]


def barlow(weight: Tensor, views: Tensor) -> Tensor:
    """Correlate over the samples of all ranks."""
    return barlow_twins(views[0] @ weight, views[1] @ weight, 0.0051).loss


def regularised(weight: Tensor, views: Tensor) -> Tensor:
    """Weigh VICReg's terms, scaled so that the hinge is active."""
    return (
        torch.stack(vicreg(views[0] @ weight / 5, views[1] @ weight / 5))
        @ torch.tensor([25.0, 25.0, 1.0]).double()
    )


class _Product(torch.nn.Module):
    """An encoder that multiplies."""

    dim, hides_tokens = 8, False

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        """Return features."""
        return x @ self.weight

    def open_branches(self) -> None:
        """Do nothing: there are no branches."""


def swav(weight: Tensor, views: Tensor) -> Tensor:
    """Guess assignments that are shared out over all ranks and their queue."""
    torch.manual_seed(0)
    options = {"num_prototypes": 6, "out_dim": 8, "num_local": 0, "queue": 8, "queue_start": 0.0}
    task: Any = SwAV(SwAV.Config(**options), _Product(weight), None)
    task.projector = torch.nn.Identity()
    task.double().train()
    batch = Batch({"global": views}, torch.arange(len(views[0])))
    task.loss(batch, 0.5)
    task.after_step(0.5)
    assert task.queues[0].filled
    total: Tensor = task.loss(batch, 0.5).total
    return total


class _Words(_Product):
    """An encoder of documents: the mean of their tokens' rows in a table."""

    def set_special_ids(self, text: Any) -> None:
        """Need none."""

    def by_document(self, x: Tensor) -> tuple[Tensor, None]:
        """Return the features of the documents in rows."""
        numbers = torch.arange(int(x[:, 1].max()) + 1)
        inside = (x[:, 1, None] == numbers[:, None]).to(self.weight.dtype)  # (B, M, T)
        return inside @ self.weight[x[:, 0]] / inside.sum(-1).clamp(min=1)[..., None], None


def contriever(weight: Tensor, views: Tensor) -> Tensor:
    """Find crops of a document among those of all ranks."""
    ids = (views[0].sigmoid() * 12).long()
    x = torch.stack([ids, torch.zeros_like(ids)], 1)
    text: Any = SimpleNamespace(vocab_size=12, special_ids=(), opens=[], closes=[], pad_id=0)
    task = Contriever(Contriever.Config(largest=0.9), _Words(weight), text)
    keys = ids @ 12 ** torch.arange(12)  # of each sample, wherever it is
    return task.loss(Batch({"plain": x[None]}, keys), 0.0).total


def spread(weight: Tensor, views: Tensor) -> Tensor:
    """A loss whose every term couples all samples: the variance of what was gathered."""
    return gather_rows(views[0] @ weight).var(0).sum()


def lejepa(weight: Tensor, views: Tensor) -> Tensor:
    """Compare the cloud of all ranks' projections with a Gaussian."""
    return sigreg(views @ weight, draw_lines(0, 8, 16))


def spread_out(weight: Tensor, views: Tensor) -> Tensor:
    """Push each feature from its nearest neighbour on any rank."""
    return koleo(views[0] @ weight)


def laid_out(weight: Tensor, views: Tensor) -> Tensor:
    """Weigh samples by mask ratios that are laid out over the batch of all ranks."""
    ratios = spread_ratios(views[0, :, :2].sigmoid(), 0.5, 0.1, 0.5)
    return (ratios * (views[1] @ weight).square().mean(1)).mean()


def normed(weight: Tensor, views: Tensor) -> Tensor:
    """Contrast projections whose BatchNorms, flat and of maps, see the samples of all ranks."""
    flat, maps = torch.nn.BatchNorm1d(8).double(), BatchNormAct2d(12).double()
    scale = torch.linspace(0.5, 2, 8).double()
    flat.weight.data.copy_(scale)
    head = torch.nn.ModuleList([flat, maps])
    synchronise(head)
    one = head[1](views[0].view(len(views[0]), 12, 1, 1)).flatten(1) @ weight
    total = nt_xent(head[0](one), head[0](views[1] @ weight), 0.2)[0]
    moved = torch.cat([head[0].running_mean, head[0].running_var, head[1].running_var])
    return total + moved.sum().detach()


def patches(weight: Tensor, views: Tensor) -> Tensor:
    """Guess balanced targets at hidden patches, of which the ranks have different numbers."""
    hidden = views[0, :, :5] > 0.3  # (B, N): as the samples say, so alike on any number of ranks
    places = (views[0, :, :5, None] * views[1, :, None]).float().double()  # (B, N, D)
    scores = (places @ weight)[hidden]  # (M, K)
    crops = hidden.nonzero()[:, 0]
    targets = Balance(8, "sinkhorn")(scores.detach(), 0.5)
    return distill_patches(targets, scores, crops, len(hidden), 0.1).loss


def centred(weight: Tensor, views: Tensor) -> Tensor:
    """Distil with a centre that moved to what both ranks heard in two steps."""
    balance = Balance(8, "centre", 0.6).double().train()
    scores = views @ weight
    for step in range(2):
        balance(scores.detach()[step], 0.07)
        balance.move()
    targets = balance.eval()(scores.detach(), 0.07)
    return distill(targets, scores, 0.1).loss


def time_contrast(weight: Tensor, views: Tensor) -> Tensor:
    """Find the frame that is near among the far ones of all ranks' clips."""
    first, middle = views @ weight
    task: Any = None  # nothing of the method is used
    logits = TCN.logits(task, first, middle, (views[1] - views[0]) @ weight)
    return cross_entropy(logits, torch.zeros(len(first), dtype=torch.int64))


def values(weight: Tensor, views: Tensor) -> Tensor:
    """Let values grow on the way, by a mean inside a logarithm over all ranks."""
    z = torch.stack([views[0], views[1], views[0] + views[1]], 1) @ weight  # (B, 3, D)
    task: Any = SimpleNamespace(config=SimpleNamespace(discount=0.9))
    return VIP.objective(task, -z.norm(dim=-1))


LOSSES: Losses = {
    "tcn": time_contrast,
    "vip": values,
    "patches": patches,
    "centre": centred,
    "batch_norm": normed,
    "simclr": simclr,
    "dino": dino,
    "sinkhorn": sinkhorn_targets,
    "moco": moco,
    "mocov3": mocov3,
    "nnclr": nnclr,
    "barlow": barlow,
    "vicreg": regularised,
    "swav": swav,
    "contriever": contriever,
    "spread": spread,
    "sigreg": lejepa,
    "koleo": spread_out,
    "ratios": laid_out,
}


def compute(weight: Tensor, views: Tensor) -> dict[str, Tensor]:
    """Return each loss and its gradient, averaged over ranks as DDP does."""
    found = {}
    for name, loss in LOSSES.items():
        w = weight.clone().requires_grad_()
        value = loss(w, views)
        value.backward()
        pair = torch.cat([value.detach()[None], w.grad.flatten()])
        ranks = dist.get_world_size() if dist.is_initialized() else 1
        found[name] = sum_over_ranks(pair) / ranks
    return found


def one_rank(rank: int, folder: str) -> None:
    """Run one of two processes and write what it found."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    weight, views = inputs()
    found = compute(weight, views[:, 4 * rank : 4 * rank + 4])
    save_file(found, Path(folder) / f"{rank}.safetensors")
    dist.destroy_process_group()
