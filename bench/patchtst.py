"""PatchTST on logs: a plain loop around transformers' model, and ours, in windows a second.

    python bench/patchtst.py [--batch 64] [--steps 6] [--rounds 5] [--width 128] [--heads 16]

The peer is `PatchTSTForPretraining` as its documentation trains it: batches of a `DataLoader` over
windows in memory, `model(past_values=...).loss.backward()`, AdamW, fp32, its own choice of
attention. Ours reads windows of the same log from an npz file, as a run does, and is all of a step
but journal, health and checkpoints. Both have patches of 12 steps of which 40 % are hidden in each
channel, three layers, and the sizes of the library's guide to PatchTST. Turns alternate, figures
are medians. `--processor` compares seconds of processor time instead, which a busy machine changes
less. Run it on an otherwise idle machine. `--profile` prints where our step's time goes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from long_logs import PLACES, PUSHES, parts, write_npz
from side_by_side import Arm, forever, rates
from torch.utils.data import DataLoader, TensorDataset
from transformers import PatchTSTConfig, PatchTSTForPretraining

from unlabeled import device
from unlabeled.config import EncoderConfig, OptimConfig, SeriesConfig
from unlabeled.config import build as build_config
from unlabeled.data.find import find
from unlabeled.data.loader import Loader, Order, distort
from unlabeled.data.read import Pool
from unlabeled.encoders.patchtst import build
from unlabeled.gradients import backward
from unlabeled.methods import load
from unlabeled.modalities.series import Series
from unlabeled.optim import Optim
from unlabeled.prepare import KEPT_LOGS
from unlabeled.state import State

LENGTH, PATCH, WINDOWS, LAYERS = 504, 12, 512, 3
CHANNELS = (*(f"place_{i}" for i in range(PLACES)), *(f"action.push_{i}" for i in range(PUSHES)))


def peer(batch: int, width: int, heads: int, clock: str) -> Callable[[], float]:
    """Return a step of the library's model."""
    torch.manual_seed(0)
    config = PatchTSTConfig(
        num_input_channels=len(CHANNELS), context_length=LENGTH, patch_length=PATCH,
        patch_stride=PATCH, num_hidden_layers=LAYERS, d_model=width, num_attention_heads=heads,
        ffn_dim=2 * width, random_mask_ratio=0.4, mask_type="random",
    )  # fmt: skip
    model = PatchTSTForPretraining(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)
    rows = [np.stack([part[c] for c in CHANNELS], 1) for part in parts(WINDOWS * LENGTH)]
    windows = torch.from_numpy(np.concatenate(rows)).reshape(WINDOWS, LENGTH, -1)
    loader = DataLoader(TensorDataset(windows), batch_size=batch, shuffle=True, drop_last=True)
    batches = forever(lambda: iter(loader))

    def step() -> float:
        [values] = next(batches)  # type: ignore[misc]
        loss = model(past_values=values).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
        return batch

    return _timed(step, clock)


def ours(path: Path, batch: int, width: int, heads: int, clock: str) -> Callable[[], float]:
    """Return a step of ours."""
    torch.manual_seed(0)
    device.keep_memory()
    ones, zeros = (1.0,) * len(CHANNELS), (0.0,) * len(CHANNELS)
    series = SeriesConfig(
        observations=CHANNELS[:PLACES], actions=CHANNELS[PLACES:], mean=zeros, std=ones,
        change=ones, length=LENGTH,
    )  # fmt: skip
    name = f"hf:patchtst-{LAYERS}x{width}h{heads}"
    encoder = EncoderConfig(name=name, patch=PATCH)
    modality, found = Series(series), load("patchtst")
    method = found(found.Config(), build(encoder, series, PATCH), modality)
    method.train()
    optim = Optim(method, OptimConfig(name="adamw", lr=1e-3, weight_decay=0.01))
    source = find(str(path), "series", None, LENGTH)
    pool = Pool(source, modality, np.arange(len(source)), 0.0, None, KEPT_LOGS)
    views = method.views()
    batches = Loader(pool, modality, views, Order(len(pool), batch, 0), 0).batches(0, 10**6)
    config = build_config(
        {
            "data": {"path": str(path), "kind": "series"}, "modality": series.model_dump(),
            "encoder": encoder.model_dump(), "method": {"name": "patchtst"},
            "loop": {"precision": "fp32", "threads": torch.get_num_threads()},
        }
    )  # fmt: skip
    state = State(config, Path(), None, method, optim, device.device())

    def step() -> float:
        backward(method, distort(next(batches), modality, views), 0.5, state)
        optim.set(0.5)
        optim.step()
        optim.zero()
        method.after_step(0.5)
        return batch

    return _timed(step, clock)


def _timed(step: Callable[[], float], clock: str) -> Callable[[], float]:
    """Let the arm's clock count processor time where that is asked for."""
    if clock == "processor":
        time.perf_counter = time.process_time
    return step


def profile(step: Callable[[], float]) -> None:
    """Print which operations take most of our step."""
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        step()
    print(seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))


def main() -> None:
    """Read the command line, run both arms in turns and print their rates."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--batch", type=int, default=64)
    words.add_argument("--steps", type=int, default=6)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--width", type=int, default=128)
    words.add_argument("--heads", type=int, default=16)
    words.add_argument("--processor", action="store_true", help="count processor time")
    words.add_argument("--profile", action="store_true")
    asked = words.parse_args()
    sizes = asked.batch, asked.width, asked.heads, "processor" if asked.processor else "wall"
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "log.npz"
        write_npz(path, WINDOWS * LENGTH)
        if asked.profile:
            profile(ours(path, *sizes))
            return
        arms = [Arm("transformers", peer, *sizes), Arm("unlabeled", ours, path, *sizes)]
        found = rates(arms, asked.steps, asked.rounds)
    medians = [statistics.median(values) for values in found]
    for arm, median, values in zip(arms, medians, found, strict=True):
        spread = f"{min(values):.1f} to {max(values):.1f}, {asked.rounds} rounds"
        print(f"{arm.name:16} {median:8.1f} windows/s   ({spread})")
    print(f"ratio {medians[1] / medians[0]:.2f}")
    print(
        f"{LENGTH} steps of {len(CHANNELS)} channels, batch {asked.batch}, {LAYERS} layers of "
        f"{asked.width}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} at the "
        f"end; torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
