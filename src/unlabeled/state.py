"""What moves during a run: how it is built, wrapped, saved and restored."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unlabeled import checkpoint, device, record
from unlabeled.config import RunConfig
from unlabeled.data.loader import Loader, Order, distort
from unlabeled.errors import ConfigError, WriteError
from unlabeled.method import Method
from unlabeled.nn.batch_norm import synchronise
from unlabeled.optim import Optim
from unlabeled.prepare import Prepared
from unlabeled.runs import build_method, load_method, shared_names
from unlabeled.types import Batch

# A teacher's centre and a queue are each method's own business (after_step), not DDP's. The
# option was renamed in torch 2.14.
_KEEP_BUFFERS: dict[str, Any] = (
    {"forward_sync_buffers": False}
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else {"broadcast_buffers": False}
)


@dataclass
class State:
    """What moves during a run."""

    config: RunConfig
    folder: Path
    data: Prepared
    method: Method
    optim: Optim
    where: torch.device
    step: int = 0

    @property
    def samples_seen(self) -> int:
        """Return how many samples the finished steps used, over all ranks."""
        return self.step * self.config.loop.batch


def build(config: RunConfig, folder: Path, data: Prepared) -> State:
    """Build a run at step 0.

    Raises:
        ConfigError: the configuration cannot be run.
    """
    torch.set_num_threads(config.loop.threads)
    device.keep_memory()
    where = device.device()
    method = build_method(config, data.modality).to(where)
    if config.loop.channels_last:
        lay_out(method)
    if config.loop.accumulate > 1 and method.couples_samples:
        raise ConfigError(
            f"loop.accumulate={config.loop.accumulate} would change {config.method['name']}: its "
            "loss compares the samples of a batch with each other. Use a smaller loop.batch, or "
            "a method that does not couple samples (mae, gpt, bert)."
        )
    method.train()
    return State(config, folder, data, method, Optim(method, config.optim), where)


def lay_out(module: nn.Module) -> None:
    """Put weights of images' convolutions into the layout channels_last; others have none.

    Weights of clips have five axes, at which `Module.to` ends in an error.
    """
    for part in module.parameters():
        if part.ndim == 4:
            part.data = part.data.contiguous(memory_format=torch.channels_last)


def wrap(method: Method, state: State) -> nn.Module:
    """Return what is called with a batch: the method, compiled and shared by ranks as asked."""
    if method.synchronised:
        synchronise(method)
    trained: nn.Module = method
    if state.config.loop.compile:
        trained = torch.compile(method)  # type: ignore[assignment]
    if device.world() > 1:
        ids = [state.where.index] if state.where.type == "cuda" else None
        trained = DistributedDataParallel(trained, device_ids=ids, **_KEEP_BUFFERS)
    return trained


def batches(state: State) -> Iterator[Batch]:
    """Yield the batches from the state's step to the last, distorted, on the device."""
    config, views = state.config.loop, state.method.views()
    order = Order(len(state.data.samples), config.batch, config.seed, device.rank(), device.world())
    loader = Loader(state.data.samples, state.data.modality, views, order, config.workers)
    for batch in loader.batches(state.step, config.steps):
        yield distort(device.to_device(batch, state.where), state.data.modality, views)


def save(state: State, must: bool) -> None:
    """Save; a full disk is told and survived unless this is the last chance."""
    if device.rank() == 0:
        shared = set(shared_names(state.method))
        values: dict[str, Tensor] = state.method.state_dict()
        tensors = {f"method.{k}": v for k, v in values.items() if k not in shared}
        tensors.update({f"optim.{k}": v for k, v in state.optim.state().items()})
        details = {
            "format": state.config.format,
            "samples_seen": state.samples_seen,
            "seed": state.config.loop.seed,
            "threads": torch.get_num_threads(),
            "world": device.world(),
            "torch": torch.__version__,
        }
        try:
            checkpoint.save(
                state.folder / "checkpoints", state.step, tensors, details, state.config.loop.keep
            )
        except WriteError as error:
            record.log(state.folder, str(error))
            if must:
                raise
    device.barrier()


def restore(state: State, saved: checkpoint.Checkpoint) -> None:
    """Bring a state to where a checkpoint was taken."""
    load_method(state.method, saved.tensors)
    state.optim.load_state(
        {k.removeprefix("optim."): v for k, v in saved.tensors.items() if k.startswith("optim.")}
    )
    state.step = saved.step
