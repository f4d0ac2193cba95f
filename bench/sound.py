"""What learning from recordings costs: every method, and wav2vec 2.0 beside transformers' own.

    python bench/sound.py DATA [--batch 16] [--steps 3] [--rounds 3] [--methods hubert,wav2vec2]

One table of our steps, each with the network that is chosen for its method: seconds of sound that
are learned from in a second, the share of the matrix peak that a step reaches, and the share of
the step that loading takes. Then, in turns and in processes of their own, wav2vec 2.0 and the step
of transformers' pre-training script (`Wav2Vec2ForPreTraining`, masks and negatives by its numpy
functions) with the same network on the same recordings in batches of the same size. Recordings are
decoded before either starts. Run it on an otherwise idle machine; the small form takes some five
minutes of two cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import Arm, rates
from torch.utils.flop_counter import FlopCounterMode

from unlabeled import device, state
from unlabeled.choices import Request
from unlabeled.config import RunConfig
from unlabeled.gradients import backward
from unlabeled.modalities import logmel
from unlabeled.plan import plan
from unlabeled.prepare import prepare
from unlabeled.types import Batch

METHODS = ("apc", "hubert", "data2vec_audio", "cola", "simclr", "mae", "wav2vec2")
RAW = "wav2vec2"


class Run:
    """A run without journal, health and checkpoints.

    Args:
        config: of the run.
    """

    def __init__(self, config: RunConfig) -> None:
        self.folder = tempfile.TemporaryDirectory()
        place = Path(self.folder.name)
        torch.manual_seed(0)
        device.keep_memory()
        self.state = state.build(config, place, prepare(config, place))
        self.method, self.optim = self.state.method, self.state.optim
        self.method.train()
        self.batches: Iterator[Batch] = state.batches(self.state)
        self.spent = np.zeros(3)

    def step(self) -> float:
        """Train on the next batch; returns the seconds of sound in it."""
        times = [time.perf_counter()]
        batch = next(self.batches)
        times.append(time.perf_counter())
        backward(self.method, batch, 0.2, self.state)
        times.append(time.perf_counter())
        self.optim.set(0.2)
        self.optim.step()
        self.optim.zero()
        self.method.after_step(0.2)
        times.append(time.perf_counter())
        self.spent += np.diff(times)
        return self.seconds(batch)

    def seconds(self, batch: Batch) -> float:
        """Return how long the recordings of a batch are as far as the first view shows them."""
        audio: Any = self.state.config.modality
        x = next(iter(batch.views.values()))[0]
        if audio.form == "wave":
            return float(x[:, 1].sum()) / audio.rate
        if audio.form == "frames":
            return float(x[..., -1].sum()) * logmel.STEP
        return len(x) * x.shape[-1] * logmel.STEP

    def flops(self) -> int:
        """Count the operations of the products in a step, forward and backward."""
        batch = next(self.batches)
        with FlopCounterMode(display=False) as counter:
            self.method(batch, 0.2)[0].backward()
        self.method.zero_grad(set_to_none=True)
        return int(counter.get_total_flops())


def configured(data: str, method: str, batch: int) -> RunConfig:
    """Return what a run of a method on these data would be, fitted to the benchmark."""
    loop = {"batch": batch, "threads": torch.get_num_threads(), "workers": 0}
    chosen = plan(Request(data=data, method=method, steps=1000, overrides={"loop": loop}))
    return chosen.config


def peak(precision: str, size: int = 2048) -> float:
    """Return the operations a second that a large product reaches here."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(2, size, size).to(kind)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def account(config: RunConfig, steps: int, rounds: int) -> float:
    """Print the row of a method; returns seconds of sound a second."""
    run = Run(config)
    for _ in range(2):
        run.step()
    run.spent[:] = 0
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        heard = sum(run.step() for _ in range(steps))
        found.append(heard / (time.perf_counter() - start))
    whole = run.spent.sum() / (steps * rounds)
    reached = run.flops() / whole / peak(config.loop.precision)
    parameters = sum(p.numel() for p in run.state.method.encoder.parameters()) / 1e6
    spread = f"{min(found):.0f} to {max(found):.0f}"
    print(
        f"| {config.method['name']} | {config.encoder.name} ({parameters:.1f} M) "
        f"| {statistics.median(found):,.0f} ({spread}) | {reached:.0%} "
        f"| {run.spent[0] / run.spent.sum():.0%} |",
        flush=True,
    )
    return statistics.median(found)


def ours(config: RunConfig) -> Callable[[], float]:
    """Return our step on recordings of transformers' batches."""
    return Run(config).step


def theirs(config: RunConfig) -> Callable[[], float]:
    """Return the step of transformers' script, gradients divided once by the number of losses."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining
    from transformers.models.wav2vec2 import modeling_wav2vec2 as library

    run = Run(config)
    batches, option = run.batches, run.method.config
    given = run.method.encoder.model.config.to_dict()
    own = {
        "num_codevectors_per_group": option.entries, "num_codevector_groups": option.groups,
        "num_negatives": option.num_negatives, "codevector_dim": option.code_dim,
        "proj_codevector_dim": option.code_dim, "diversity_loss_weight": option.diversity,
        "mask_time_prob": 0.65,  # without it the library makes no mask vector
    }  # fmt: skip
    settings = Wav2Vec2Config(**given | own)
    model = Wav2Vec2ForPreTraining(settings).train()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)

    def step() -> float:
        batch = next(batches)
        values, heard = batch["plain"][0][:, 0], batch["plain"][0][:, 1].long()
        count = int(model._get_feat_extract_output_lengths(values.shape[1]))
        there = model._get_feature_vector_attention_mask(count, heard)
        shape = (len(values), count)
        span = min(10, max(1, int(there.sum(1).min()) // 3))  # shorter than its shortest clip
        hidden = library._compute_mask_indices(shape, 0.65, span, there, min_masks=2)
        others = library._sample_negative_indices(shape, option.num_negatives, hidden)
        found = model(
            values, attention_mask=heard, mask_time_indices=torch.from_numpy(hidden),
            sampled_negative_indices=torch.from_numpy(others),
        )  # fmt: skip
        found.loss.backward()
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= max(1, hidden.sum())
        optimiser.step()
        optimiser.zero_grad()
        return float(heard.sum()) / config.modality.rate

    return step


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder or table of recordings")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(METHODS))
    args = parser.parse_args()
    wanted = args.methods.split(",")
    print("| method | network | seconds of sound a second | share of the peak | loading |")
    print("|---|---|---|---|---|")
    heard = {}
    for method in wanted:
        config = configured(args.data, method, args.batch)
        heard[method] = account(config, args.steps, args.rounds)
    if RAW in heard:
        times = ", ".join(f"{m} {x / heard[RAW]:.1f}" for m, x in heard.items() if m != RAW)
        print(f"\ntimes as fast as {RAW}: {times}")
        config = configured(args.data, RAW, args.batch)
        arms = [Arm("transformers' script", theirs, config), Arm("unlabeled", ours, config)]
        found = rates(arms, args.steps, args.rounds)
        for arm, values in zip(arms, found, strict=True):
            spread = f"{min(values):.1f} to {max(values):.1f}"
            print(f"{arm.name:22} {statistics.median(values):8.1f} seconds a second ({spread})")
        print(f"ratio {statistics.median(found[1]) / statistics.median(found[0]):.2f}")
    load = os.getloadavg()[0]
    print(
        f"{torch.get_num_threads()} threads, load {load:.1f} at the end; torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
