"""THE loop: one pass from a configuration to an encoder, exact under kills and resumes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from unlabeled import checkpoint, device, record, rng
from unlabeled.config import RunConfig
from unlabeled.display import Display
from unlabeled.errors import TrainingError
from unlabeled.gradients import backward, clip, refuse_non_finite
from unlabeled.journal import Journal
from unlabeled.prepare import Prepared, prepare
from unlabeled.runs import Lock, Run
from unlabeled.state import State, batches, build, restore, save, wrap
from unlabeled.stop import InterruptedRunError, Stop
from unlabeled.watch import Watch


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
    state = build(config, out, data)
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
    state = build(config, folder, prepare(config, folder))
    saved, said = checkpoint.newest(folder / "checkpoints")
    if saved is not None:
        restore(state, saved)
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
    trained = wrap(method, state)
    metrics, clock = Journal(state.folder / "metrics.jsonl"), _Clock(config.save_every)
    watch = Watch(state)
    stream = stop.guard(batches(state))
    while state.step < config.steps:
        progress = state.step / config.steps
        # Half a step on, so that neither the first nor the last step has a rate of zero.
        rate = optim.set(progress + 0.5 / config.steps)
        batch = clock.wait(lambda: next(stream))
        if batch is not None:
            torch.manual_seed(rng.mix(config.seed, state.step, device.rank()) >> 1)
            loss, parts = backward(trained, batch, progress, state)
            norm = clip(optim, progress, state.config.optim.clip)
            refuse_non_finite(state, batch, loss, norm)
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
            save(state, must=stopping or last)
        if stopping:
            raise stop.interrupted(state.folder, state.step)


def _due(state: State, every: int) -> bool:
    return state.step % every == 0 or state.step == state.config.loop.steps


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


def _take(folder: Path, new: bool) -> Lock | None:
    """Lock the folder on rank 0."""
    lock = None
    if device.rank() == 0:
        lock = Lock(folder)
        if new:
            record.refuse_existing(folder)
    device.barrier()
    return lock


def seconds_per_step(
    config: RunConfig,
    data: Prepared,
    steps: int = 3,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Time a step of a throwaway copy of the run, after two for warming up."""
    state = build(config, Path(), data)
    stream = batches(state)
    begun = clock()
    for number in range(steps + 2):
        if number == 2:
            begun = clock()
        state.optim.set(0.5)
        backward(state.method, next(stream), 0.5, state)
        clip(state.optim, 1.0, state.config.optim.clip)
        state.optim.step()
        state.optim.zero()
        state.method.after_step(0.5)
    return (clock() - begun) / steps


def _with_steps(config: RunConfig, data: Prepared, seconds: float) -> RunConfig:
    """Return the configuration with the number of steps that fits the budget."""
    taken = seconds_per_step(config.model_copy(), data)
    steps = max(1, int(0.95 * seconds / taken))
    if device.world() > 1:
        shared = torch.tensor(steps, device=device.device())
        dist.broadcast(shared, 0)
        steps = int(shared)
    return config.model_copy(update={"loop": config.loop.model_copy(update={"steps": steps})})
