"""THE loop: one pass from a configuration to an encoder, exact under kills and resumes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unlabeled import checkpoint, device, record, rng
from unlabeled.config import RunConfig
from unlabeled.data.loader import Loader, Order, distort
from unlabeled.display import Display
from unlabeled.errors import ConfigError, TrainingError, WriteError
from unlabeled.health import Health, read_features
from unlabeled.journal import Journal, write_json
from unlabeled.method import Method
from unlabeled.optim import Optim
from unlabeled.prepare import Prepared, prepare
from unlabeled.runs import Lock, Run, build_method, load_method, shared_names
from unlabeled.stop import InterruptedRunError, Stop
from unlabeled.types import Batch


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


def pretrain(
    config: RunConfig,
    out: Path,
    *,
    seconds: float | None = None,
    about: dict[str, Any] | None = None,
    quiet: bool = False,
) -> Path:
    """Pre-train and leave a run folder.

    Args:
        config: the resolved configuration.
        out: run folder to make; it must not hold a run yet.
        seconds: budget from which the number of steps is measured, instead of `loop.steps`.
        about: what to remember in run.json (command, choices).
        quiet: print nothing.

    Returns:
        The run folder.

    Raises:
        UnlabeledError: with the sentence to print.
    """
    device.start_ranks()
    lock = _take(out, new=True)
    data = prepare(config, out)
    if seconds is not None:
        config = _with_steps(config, data, seconds)
    state = _build(config, out, data)
    if device.rank() == 0:
        record.start(config, out, data, state.method, about or {})
    return _run(state, quiet, lock)


def resume(folder: Path, *, workers: int | None = None, quiet: bool = False) -> Path:
    """Go on with a run from its newest whole checkpoint, or from its start.

    Raises:
        UnlabeledError: the data changed, all checkpoints are damaged, or another process works.
    """
    device.start_ranks()
    run = Run.open(folder)
    if run.info.get("status") == "finished":
        return folder
    lock = _take(folder, new=False)
    config = run.config
    if workers is not None:
        config = config.model_copy(
            update={"loop": config.loop.model_copy(update={"workers": workers})}
        )
    state = _build(config, folder, prepare(config, folder))
    saved, said = checkpoint.newest(folder / "checkpoints")
    if saved is not None:
        _restore(state, saved)
    if device.rank() == 0:
        record.resumed(folder, state.step, said, quiet)
        for name in ("metrics.jsonl", "health.jsonl"):
            Journal(folder / name).forget_after(state.step)
    return _run(state, quiet, lock)


def _run(state: State, quiet: bool, lock: Lock | None) -> Path:
    display = Display(state.config, quiet or device.rank() > 0)
    try:
        with Stop() as stop, display:
            loop(state, stop, display)
        if device.rank() == 0:
            record.finish(state.folder, state.method, state.samples_seen)
    except InterruptedRunError:
        record.stopped(state.folder, "interrupted", state.samples_seen)
        raise
    except TrainingError as error:
        record.stopped(state.folder, "failed", state.samples_seen, str(error))
        raise
    finally:
        if lock is not None:
            lock.release()
    device.barrier()
    return state.folder


def loop(state: State, stop: Stop, display: Display) -> None:
    """Train to the last step.

    Raises:
        TrainingError: a loss or gradient is not finite, or features collapsed; nothing was moved.
        InterruptedRunError: a signal asked to stop; the finished step is saved.
    """
    config, method, optim = state.config.loop, state.method, state.optim
    trained = _wrap(method, state)
    metrics, clock = Journal(state.folder / "metrics.jsonl"), _Clock(config.save_every)
    watch = Watch(state)
    batches = stop.guard(_batches(state))
    while state.step < config.steps:
        progress = state.step / config.steps
        rate = optim.set(progress)
        batch = clock.wait(lambda: next(batches))
        if batch is not None:
            torch.manual_seed(rng.mix(config.seed, state.step, device.rank()) >> 1)
            loss, parts = _backward(trained, batch, progress, state)
            norm = _norm(optim, progress, state.config.optim.clip)
            _refuse_non_finite(state, batch, loss, norm)
            optim.step()
            optim.zero()
            state.step += 1
            method.after_step(state.step / config.steps)
            line = clock.line(state, rate, loss, norm, parts)
            if device.rank() == 0 and (_due(state, config.log_steps) or state.step == 1):
                metrics.write(line)
            display.step(line)
            if _due(state, config.health_steps):
                display.health(watch.look(parts, loss))
        stopping = device.any_rank(stop.asked)
        last = state.step == config.steps
        if stopping or last or clock.save_due(state.step, config.save_steps):
            _save(state, must=stopping or last)
        if stopping:
            raise stop.interrupted(state.folder, state.step)


def _batches(state: State) -> Iterator[Batch]:
    config, views = state.config.loop, state.method.views()
    order = Order(len(state.data.samples), config.batch, config.seed, device.rank(), device.world())
    loader = Loader(state.data.samples, state.data.modality, views, order, config.workers)
    for batch in loader.batches(state.step, config.steps):
        yield distort(device.to_device(batch, state.where), state.data.modality, views)


def _backward(
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


def _norm(optim: Optim, progress: float, clip: float | None) -> float:
    """Clip, and return the gradient norm before clipping."""
    optim.drop_frozen(progress)
    limit = clip if clip is not None else float("inf")
    return float(nn.utils.clip_grad_norm_(optim.params(), limit))


def _refuse_non_finite(state: State, batch: Batch, loss: float, norm: float) -> None:
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


class Watch:
    """Looks at the features of fixed held-out samples and judges them."""

    def __init__(self, state: State) -> None:
        """Read the watched samples once."""
        self.state = state
        self.inputs = state.data.watched.to(state.where)
        self.journal = Journal(state.folder / "health.jsonl")
        chance = state.method.chance(state.config.loop.batch)
        prototypes = state.method.num_prototypes()
        self.health = Health(state.config.method["name"], chance, state.data.unigram, prototypes)
        self.health.first = read_features(self._features())
        self._replay()

    def _replay(self) -> None:
        """Bring the streaks to where they were before a resume."""
        for line in self.journal.lines():
            self.health.streaks = dict(line.get("streaks", {}))

    @torch.no_grad()
    def _features(self) -> Tensor:
        encoder = self.state.method.exported()
        training = encoder.training
        encoder.eval()
        with device.autocast(self.state.config.loop.precision, self.state.where):
            features = torch.cat([encoder(x) for x in torch.split(self.inputs, 64)])
        encoder.train(training)
        return features.float()

    def look(self, parts: dict[str, float], loss: float) -> dict[str, Any]:
        """Measure, judge, write a line.

        Raises:
            TrainingError: the features collapsed.
        """
        reading = read_features(self._features())
        progress = self.state.step / self.state.config.loop.steps
        alarms = self.health.check(reading, parts, loss, progress)
        line = {
            "step": self.state.step,
            "spread": reading.spread,
            "effective_rank": reading.effective_rank,
            "mean_cosine": reading.mean_cosine,
            "prototypes": self.health.prototypes,
            **{k: parts[k] for k in ("entropy", "target_entropy") if k in parts},
            "alarms": alarms,
            "streaks": self.health.streaks,
        }
        if device.rank() == 0:
            self.journal.write(line)
        if self.health.collapsed() and self.state.config.loop.stop_on_collapse:
            raise TrainingError(f"Stopped at step {self.state.step}. {' '.join(alarms)}")
        return line


class _Clock:
    """Wall time: rates for the display, and when to save. Nothing exact depends on it."""

    def __init__(self, save_every: float) -> None:
        self.save_every = save_every
        self.begun = self.saved = self.mark = time.monotonic()
        self.waited = 0.0

    def wait(self, get: Any) -> Any:
        before = time.monotonic()
        value = get()
        self.waited = time.monotonic() - before
        return value

    def line(
        self, state: State, rate: float, loss: float, norm: float, parts: dict[str, float]
    ) -> dict[str, Any]:
        now = time.monotonic()
        taken, self.mark = max(now - self.mark, 1e-9), now
        return {
            "step": state.step,
            "progress": state.step / state.config.loop.steps,
            "loss": loss,
            "lr": rate,
            "grad_norm": norm,
            "samples_per_second": state.config.loop.batch / taken,
            "data_wait": self.waited / taken,
            "seconds": now - self.begun,
            **parts,
        }

    def save_due(self, step: int, save_steps: int | None) -> bool:
        due = step > 0 and (
            step % save_steps == 0
            if save_steps is not None
            else time.monotonic() - self.saved > self.save_every
        )
        if device.any_rank(due):
            self.saved = time.monotonic()
            return True
        return False


def _due(state: State, every: int) -> bool:
    return state.step % every == 0 or state.step == state.config.loop.steps


def _save(state: State, must: bool) -> None:
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


def _restore(state: State, saved: checkpoint.Checkpoint) -> None:
    load_method(state.method, saved.tensors)
    state.optim.load_state(
        {k.removeprefix("optim."): v for k, v in saved.tensors.items() if k.startswith("optim.")}
    )
    state.step = saved.step


def _build(config: RunConfig, folder: Path, data: Prepared) -> State:
    torch.set_num_threads(config.loop.threads)
    where = device.device()
    method = build_method(config, data.modality).to(where)
    if config.loop.channels_last:
        method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.loop.accumulate > 1 and method.couples_samples:
        raise ConfigError(
            f"loop.accumulate={config.loop.accumulate} would change {config.method['name']}: its "
            "loss compares the samples of a batch with each other. Use a smaller loop.batch, or "
            "a method that does not couple samples (mae, gpt, bert)."
        )
    method.train()
    return State(config, folder, data, method, Optim(method, config.optim), where)


def _wrap(method: Method, state: State) -> nn.Module:
    trained: nn.Module = method
    if state.config.loop.compile:
        trained = torch.compile(method)  # type: ignore[assignment]
    if device.world() > 1:
        ids = [state.where.index] if state.where.type == "cuda" else None
        trained = DistributedDataParallel(trained, device_ids=ids, broadcast_buffers=False)
    return trained


def _take(folder: Path, new: bool) -> Lock | None:
    """Lock the folder on rank 0."""
    lock = None
    if device.rank() == 0:
        lock = Lock(folder)
        if new:
            record.refuse_existing(folder)
    device.barrier()
    return lock


def seconds_per_step(config: RunConfig, data: Prepared, steps: int = 3) -> float:
    """Time a step of a throwaway copy of the run, after two for warming up."""
    state = _build(config, Path(), data)
    batches = _batches(state)
    begun = time.monotonic()
    for number in range(steps + 2):
        if number == 2:
            begun = time.monotonic()
        state.optim.set(0.5)
        _backward(state.method, next(batches), 0.5, state)
        _norm(state.optim, 1.0, state.config.optim.clip)
        state.optim.step()
        state.optim.zero()
        state.method.after_step(0.5)
    return (time.monotonic() - begun) / steps


def _with_steps(config: RunConfig, data: Prepared, seconds: float) -> RunConfig:
    """Return the configuration with the number of steps that fits the budget."""
    taken = seconds_per_step(config.model_copy(), data)
    steps = max(1, int(0.95 * seconds / taken))
    if device.world() > 1:
        shared = torch.tensor(steps, device=device.device())
        dist.broadcast(shared, 0)
        steps = int(shared)
    return config.model_copy(update={"loop": config.loop.model_copy(update={"steps": steps})})
