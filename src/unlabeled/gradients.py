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
    """Add up gradients over micro-batches, each weighted by its number of scored targets."""
    config = state.config.loop
    size = -(-len(batch) // config.accumulate)
    micros = list(batch.split(size)) if config.accumulate > 1 else [batch]
    total, weights = 0.0, 0.0
    parts: dict[str, float] = {}
    for number, micro in enumerate(micros):
        sync = number == len(micros) - 1
        with _syncing(trained, sync), device.autocast(config.precision, state.where):
            loss, found = trained(micro, progress)
        weight = float(found["targets"]) if "targets" in found else float(len(micro))
        with _syncing(trained, sync):
            (loss * weight if _weighted(state) else loss).backward()
        total, weights = total + loss.item() * weight, weights + weight
        for name, value in found.items():
            parts[name] = parts.get(name, 0.0) + float(value) * weight
    if _weighted(state):
        _divide(state.optim, weights)
    return total / weights, {name: value / weights for name, value in parts.items()}


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


def _weighted(state: State) -> bool:
    return state.config.loop.accumulate > 1 or device.world() > 1


def _divide(optim: Optim, weights: float) -> None:
    """Turn the sum of weighted gradients (averaged over ranks) into that of the mean loss."""
    shared = torch.tensor(weights, dtype=torch.float64)
    if device.world() > 1:
        shared = shared.to(device.device())
        dist.all_reduce(shared)
    torch._foreach_mul_(
        [p.grad for p in optim.params() if p.grad is not None], device.world() / float(shared)
    )


def _syncing(trained: nn.Module, sync: bool) -> Any:
    if isinstance(trained, DistributedDataParallel) and not sync:
        return trained.no_sync()
    return torch.enable_grad()
