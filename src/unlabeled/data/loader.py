"""From positions to batches: order, cut, stack. A batch is a function of (data, seed, step)."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unlabeled import rng
from unlabeled.errors import ConfigError, DataError, WorkerError
from unlabeled.modalities.base import Modality
from unlabeled.types import Batch, View

TIMEOUT = float(os.environ.get("UNLABELED_LOADER_TIMEOUT", "120"))
"""Seconds that a worker may take for a batch before it counts as dead."""

RESTARTS = 3
"""How often dead workers are replaced before the run gives up."""


class Samples(Protocol):
    """What the loader asks of a pool of samples."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def raw(self, position: int, epoch: int = 0) -> tuple[Any, str]:
        """Return a decoded sample and its name."""


@dataclass(frozen=True)
class Order:
    """Which samples make a step: the stream of epochs, cut into batches, sliced by rank."""

    num_samples: int
    batch: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.batch % self.world:
            raise ConfigError(
                f"loop.batch={self.batch} cannot be shared by {self.world} ranks: "
                "it must be a multiple of their number."
            )
        if self.num_samples < 1:
            raise DataError("There is no sample to train on.")

    def of_step(self, step: int) -> list[tuple[int, int]]:
        """Return this rank's (position, epoch) pairs of a step."""
        share = self.batch // self.world
        first = step * self.batch + self.rank * share
        return [self._at(number) for number in range(first, first + share)]

    def _at(self, number: int) -> tuple[int, int]:
        epoch, place = divmod(number, self.num_samples)
        return int(_permutation(self.seed, epoch, self.num_samples)[place]), epoch


_cache: dict[tuple[int, int, int], NDArray[np.int64]] = {}


def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Return an epoch's order, keeping the last two (a batch may straddle epochs)."""
    key = (seed, epoch, count)
    if key not in _cache:
        while len(_cache) > 1:
            _cache.pop(next(iter(_cache)))
        _cache[key] = rng.order(seed, epoch, count)
    return _cache[key]


class _Cuts(Dataset[tuple[dict[str, Tensor], int, str]]):
    """Maps (position, epoch) to the cuts of one sample; runs in workers."""

    def __init__(
        self, samples: Samples, modality: Modality, views: Mapping[str, View], seed: int
    ) -> None:
        self.samples, self.modality, self.views, self.seed = samples, modality, views, seed

    def __getitem__(self, place: tuple[int, int]) -> tuple[dict[str, Tensor], int, str]:
        position, epoch = place
        raw, name = self.samples.raw(position, epoch)
        key = rng.sample_key(self.seed, epoch, position)
        draws = rng.generator(key)
        cuts = {kind: self.modality.cut(raw, view, draws) for kind, view in self.views.items()}
        return cuts, key, name


def stack(items: list[tuple[dict[str, Tensor], int, str]]) -> Batch:
    """Stack samples: {kind: (count, ...)} of each -> {kind: (count, B, ...)}."""
    kinds = items[0][0]
    views = {kind: torch.stack([cuts[kind] for cuts, _, _ in items], dim=1) for kind in kinds}
    keys = torch.tensor([key for _, key, _ in items], dtype=torch.int64)
    return Batch(views, keys, tuple(name for _, _, name in items))


class _Steps:
    """A batch sampler that starts at any step and never ends."""

    def __init__(self, order: Order, start: int, stop: int) -> None:
        self.order, self.start, self.stop = order, start, stop

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.stop):
            yield self.order.of_step(step)

    def __len__(self) -> int:
        return self.stop - self.start


class _Children:
    """Notices dead workers only while a batch is awaited.

    torch raises from the signal of a dying child, in whatever line is running: in the middle of
    an update. Here the signal counts while the queue is read; otherwise the next read asks.
    """

    waiting = False

    @classmethod
    def listen(cls) -> None:
        """Take the place of torch's handler (only possible in the main thread)."""
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGCHLD, cls._heard)

    @classmethod
    def _heard(cls, _: int, __: FrameType | None) -> None:
        if cls.waiting:
            torch._C._error_if_any_worker_fails()

    @classmethod
    def wait(cls, stream: Iterator[Batch]) -> Batch | None:
        """Return the next batch, None at the end; raises RuntimeError for a dead worker."""
        cls.waiting = True
        try:
            torch._C._error_if_any_worker_fails()
            return next(stream, None)
        finally:
            cls.waiting = False


def _quiet_worker(_: int) -> None:
    """Leave interrupts to the main process, and compute on one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


class Loader:
    """Batches from any step on; dead workers are replaced without changing a batch."""

    def __init__(
        self,
        samples: Samples,
        modality: Modality,
        views: Mapping[str, View],
        order: Order,
        workers: int,
    ) -> None:
        """Keep what is needed; workers start with the first batch."""
        self.samples, self.modality, self.views = samples, modality, views
        self.order, self.workers = order, workers

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of steps `start` to `stop`, cut but not yet distorted.

        Raises:
            WorkerError: workers died more often than `RESTARTS` times.
        """
        step, deaths = start, 0
        while step < stop:
            try:
                for batch in self._stream(step, stop):
                    yield batch
                    step += 1
            except (RuntimeError, OSError, EOFError) as error:
                if not (self.workers and _is_death(error)):
                    raise
                deaths += 1
                if deaths > RESTARTS:
                    raise WorkerError(
                        f"Data workers died {deaths} times, the last time before step {step}: "
                        f"{error}. Try loop.workers=0 to see why."
                    ) from error
                print(f"A data worker died before step {step}; it is replaced.", file=sys.stderr)

    def _stream(self, start: int, stop: int) -> Iterator[Batch]:
        loader = DataLoader(
            _Cuts(self.samples, self.modality, self.views, self.order.seed),
            batch_sampler=_Steps(self.order, start, stop),
            num_workers=self.workers,
            collate_fn=stack,
            timeout=TIMEOUT if self.workers else 0,
            worker_init_fn=_quiet_worker,
            prefetch_factor=2 if self.workers else None,
            pin_memory=torch.cuda.is_available(),
        )
        stream = iter(loader)
        if self.workers:
            _Children.listen()
        while (batch := _Children.wait(stream)) is not None:
            yield batch


def _is_death(error: Exception) -> bool:
    """Tell a dead or silent worker from an error in the data.

    A worker that dies while a batch is handed over shows as a broken connection.
    """
    if isinstance(error, ConnectionError | EOFError):
        return True
    text = str(error)
    died = "DataLoader worker" in text and ("exited" in text or "killed" in text)
    return died or "DataLoader timed out" in text


def distort(batch: Batch, modality: Modality, views: Mapping[str, View]) -> Batch:
    """Distort and normalise all views of a batch on its device."""
    done = {
        kind: modality.distort(batch[kind], view, batch.keys ^ (rng.mix(*kind.encode()) >> 1))
        for kind, view in views.items()
    }
    return Batch(done, batch.keys, batch.names)


def plain_batch(samples: Samples, modality: Modality, positions: list[int]) -> Tensor:
    """Return undistorted whole samples as the encoder sees them, (B, ...)."""
    view = {"plain": View()}
    cuts = _Cuts(samples, modality, view, seed=0)
    return distort(stack([cuts[(p, 0)] for p in positions]), modality, view)["plain"][0]
