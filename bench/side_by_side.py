"""Two training steps, a peer's and ours, timed in turns.

A step is everything from stored images to moved weights. Turns alternate, so that a machine that
slows down slows both; figures are medians over the rounds. Each side has a process of its own,
with the memory allocator as its program leaves it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from unlabeled import device
from unlabeled.config import EncoderConfig, ImageConfig, OptimConfig
from unlabeled.config import build as build_config
from unlabeled.data.find import find
from unlabeled.data.loader import Loader, Order, distort
from unlabeled.data.read import Pool
from unlabeled.encoders import build
from unlabeled.gradients import backward
from unlabeled.method import Method
from unlabeled.methods import load
from unlabeled.modalities.image import Image
from unlabeled.optim import Optim
from unlabeled.prepare import KEPT_BYTES
from unlabeled.state import State
from unlabeled.types import Batch

PARTS = ("views", "forward and backward", "optimiser")
SOME = 10_000
"""Images that speed is measured on."""
MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)
"""Of CIFAR-10."""


class Arm:
    """One side of a comparison, in a process of its own, so that neither changes the other's.

    Args:
        name: printed.
        make: called in the process; returns the step, which trains on the next batch and returns
            how many samples or tokens it used.
        args: of `make`.
    """

    def __init__(self, name: str, make: Callable[..., Callable[[], float]], *args: object) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, args), daemon=True)
        self._process.start()

    def run(self, steps: int) -> float:
        """Take steps; returns samples or tokens a second."""
        self._ours.send(steps)
        amount, seconds = self._ours.recv()
        return float(amount / seconds)


def _serve(pipe: Connection, make: Callable[..., Callable[[], float]], args: object) -> None:
    step = make(*args)
    with contextlib.suppress(EOFError):  # the comparison is over
        while True:
            steps = pipe.recv()
            start = time.perf_counter()
            amount = sum(step() for _ in range(steps))
            pipe.send((amount, time.perf_counter() - start))


def rates(arms: Sequence[Arm], steps: int, rounds: int) -> list[list[float]]:
    """Run arms in turns; returns the rates of each, a round an entry."""
    found: list[list[float]] = [[] for _ in arms]
    for arm in arms:
        arm.run(1)
    for _ in range(rounds):
        for arm, mine in zip(arms, found, strict=True):
            mine.append(arm.run(steps))
    return found


class Ours:
    """Our step, the parts of the loop without journal, health and checkpoints."""

    def __init__(
        self, path: Path, name: str, options: Mapping[str, object], encoder: EncoderConfig,
        optim: OptimConfig, batch: int, size: int = 32, limit: int | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(0)
        device.keep_memory()
        image = ImageConfig(size=size, mean=MEAN, std=STD, blur=False)
        self.modality = Image(image, patch=encoder.patch or 8)
        found = load(name)
        network = build(encoder, image)
        self.method: Method = found(found.Config(**options), network, self.modality)
        self.method.to(memory_format=torch.channels_last)
        self.method.train()
        self.optim = Optim(self.method, optim)
        source = find(str(path))
        chosen = np.arange(min(len(source), limit or len(source)))
        pool = self.pool = Pool(source, self.modality, chosen, 0.01, None, KEPT_BYTES)
        loader = Loader(pool, self.modality, self.method.views(), Order(len(pool), batch, 0), 0)
        self.batches = loader.batches(0, 10**6)
        config = build_config(
            {
                "data": {"path": str(path), "kind": "image"},
                "modality": image.model_dump(),
                "encoder": {"name": encoder.name},
                "method": {"name": name},
                "loop": {
                    "precision": "bf16" if device.fast_bf16() else "fp32",
                    "threads": torch.get_num_threads(),
                },
            }
        )
        self.state = State(config, Path(), None, self.method, self.optim, device.device())
        self.spent: dict[str, float] = {}

    def views(self) -> Batch:
        """Read, cut and distort the next batch."""
        return distort(next(self.batches), self.modality, self.method.views())

    def decode(self) -> Ours:
        """Read all images, as the first pass of a run does."""
        for position in range(len(self.pool)):
            self.pool.raw(position)
        return self

    def step(self, progress: float = 0.5) -> float:
        """Train on the next batch, adding up where the time goes."""
        times = [time.perf_counter()]
        batch = self.views()
        times.append(time.perf_counter())
        loss, _ = backward(self.method, batch, progress, self.state)
        times.append(time.perf_counter())
        self.optim.set(progress)
        self.optim.step()
        self.optim.zero()
        self.method.after_step(progress)
        times.append(time.perf_counter())
        for part, start, stop in zip(PARTS, times, times[1:], strict=False):
            self.spent[part] = self.spent.get(part, 0.0) + stop - start
        return loss

    def forward(self) -> float:
        """Return the seconds that a forward pass takes."""
        batch, start = self.views(), time.perf_counter()
        with device.autocast(self.state.config.loop.precision, device.device()):
            self.method(batch, 0.5)
        return time.perf_counter() - start

    def flops(self) -> int:
        """Count the operations of the products in a step, forward and backward."""
        batch = self.views()
        with FlopCounterMode(display=False) as counter:
            self.method(batch, 0.5)[0].backward()
        self.method.zero_grad(set_to_none=True)
        return counter.get_total_flops()


def pictures(path: Path, limit: int | None = None) -> list[object]:
    """Return decoded Pillow images, which the peers are given for free."""
    import io

    import PIL.Image

    source = find(str(path))
    return [
        PIL.Image.open(io.BytesIO(source.payload(i))).convert("RGB")
        for i in range(min(len(source), limit or len(source)))
    ]


def forever(batches: Callable[[], Iterator[object]]) -> Iterator[object]:
    """Repeat epochs without end."""
    while True:
        yield from batches()


def bf16_peak(size: int = 4096, repeats: int = 5) -> float:
    """Return the operations a second that a large bf16 product reaches here."""
    a, b = torch.randn(2, size, size).bfloat16()
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def compare(peer: Arm, make: Callable[[], Ours], batch: int, steps: int, rounds: int) -> None:
    """Run both arms in turns and print the table."""
    arms = [peer, Arm("unlabeled", _counted, make, batch)]
    found = rates(arms, steps, rounds)
    medians = [statistics.median(values) for values in found]
    for arm, median, values in zip(arms, medians, found, strict=True):
        spread = f"{min(values):.0f} to {max(values):.0f}"
        print(f"{arm.name:32} {median:8.1f} images/s   ({spread}, {rounds} rounds)")
    print(f"ratio {medians[1] / medians[0]:.2f}")
    account(make(), medians[1] / batch, steps)
    load = os.getloadavg()[0]
    print(
        f"{torch.get_num_threads()} threads, load {load:.1f} at the end; torch {torch.__version__}"
    )


def _counted(make: Callable[[], Ours], batch: int) -> Callable[[], float]:
    ours = make().decode()

    def step() -> float:
        ours.step()
        return batch

    return step


def account(ours: Ours, steps_a_second: float, steps: int) -> None:
    """Print what share of the machine's products a step reaches, and where its time goes."""
    peak, reached = bf16_peak(), ours.flops() * steps_a_second
    print(
        f"our step: {reached / steps_a_second / 1e9:.0f} GFLOP, {reached / 1e9:.0f} GFLOP/s, "
        f"{reached / peak:.0%} of the {peak / 1e9:.0f} that a bf16 product reaches"
    )
    for title in ("in the first pass", "later"):
        ours.step()
        ours.spent.clear()
        for _ in range(steps):
            ours.step()
        total = sum(ours.spent.values())
        shares = [f"{part} {seconds / total:.0%}" for part, seconds in ours.spent.items()]
        print(f"{title}: {', '.join(shares)}")
        ours.decode()
    forward = statistics.median(ours.forward() for _ in range(steps))
    print(f"forward alone: {forward * steps / total:.0%}")
