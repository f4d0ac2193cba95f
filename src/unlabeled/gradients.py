"""From a batch to gradients: micro-batches, ranks, clipping, and no step that is not finite."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from unlabeled import device
from unlabeled.errors import TrainingError
from unlabeled.journal import write_json
from unlabeled.optim import Optim
from unlabeled.state import State
from unlabeled.types import Batch


def backward(
    trained: nn.Module, batch: Batch, progress: float, state: State
) -> tuple[float, dict[str, float]]:
    """Add up gradients over micro-batches and ranks, each weighted by its scored targets.

    Returns:
        The mean loss of the whole batch over all ranks, and the means of its parts.
    """
    config = state.config.loop
    weighted = config.accumulate > 1 or device.world() > 1
    size = -(-len(batch) // config.accumulate)
    micros = list(batch.split(size)) if config.accumulate > 1 else [batch]
    sums: dict[str, float] = {"": 0.0, "loss": 0.0}
    for number, micro in enumerate(micros):
        sync = number == len(micros) - 1
        with _syncing(trained, sync), device.autocast(config.precision, state.where):
            loss, found = trained(micro, progress)
        weight = float(found["targets"]) if "targets" in found else float(len(micro))
        with _syncing(trained, sync):
            (loss * weight if weighted else loss).backward()
        for name, value in [("", 1.0), ("loss", loss.detach()), *found.items()]:
            sums[name] = sums.get(name, 0.0) + float(value) * weight
    sums = _over_ranks(sums)
    weights = sums.pop("") or 1.0  # a batch may hold no target at all
    if weighted:
        # DDP averages over ranks; what is wanted is the sum over them, divided by all targets.
        grads = [p.grad for p in state.optim.params() if p.grad is not None]
        torch._foreach_mul_(grads, device.world() / weights)
    means = {name: value / weights for name, value in sums.items()}
    return means.pop("loss"), means


def clip(optim: Optim, progress: float, limit: float | None) -> float:
    """Clip, and return the gradient norm before clipping."""
    optim.drop_frozen(progress)
    largest = limit if limit is not None else float("inf")
    return float(nn.utils.clip_grad_norm_(optim.params(), largest))


def refuse_non_finite(state: State, batch: Batch, loss: float, norm: float) -> None:
    """Stop the run, on all ranks, before an update that would ruin it.

    Raises:
        TrainingError: the loss or the gradient norm is not finite on some rank.
    """
    bad = not (abs(loss) < float("inf") and norm < float("inf"))
    if not device.any_rank(bad):
        return
    replay = {"step": state.step, "samples": list(batch.names), "seed": state.config.loop.seed}
    write_json(state.folder / "replay.json", {**replay, "loss": loss, "grad_norm": norm})
    raise TrainingError(
        f"Step {state.step}: the loss is {loss} and the gradient norm {norm}, so nothing was "
        "updated and the last checkpoint is good. The samples of the batch are in replay.json. "
        f"Usual cause: a rate that is too high; try optim.lr={state.config.optim.lr / 3:.2g} "
        "or a longer optim.warmup."
    )


def _over_ranks(sums: dict[str, float]) -> dict[str, float]:
    """Add up numbers of the same names over all ranks."""
    if device.world() == 1:
        return sums
    shared = torch.tensor(list(sums.values()), dtype=torch.float64, device=device.device())
    dist.all_reduce(shared)
    return dict(zip(sums, shared.tolist(), strict=True))


def _syncing(trained: nn.Module, sync: bool) -> Any:
    if isinstance(trained, DistributedDataParallel) and not sync:
        return trained.no_sync()
    return torch.enable_grad()
