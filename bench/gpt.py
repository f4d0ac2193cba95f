"""GPT on tinyshakespeare: nanoGPT's published CPU run, ours in less time, and an n-gram table.

    python bench/gpt.py tinyshakespeare.txt [--steps 2000] [--rounds 3]

The peer is nanoGPT's configuration for CPUs (4 layers, 4 heads, width 128, context 64, batch 12,
2,000 steps, no dropout, AdamW 1e-3 to 1e-4, fp32), restated on transformers' GPT-2. All are scored
in nats a character by a full pass over the last tenth of the text in rows that do not overlap, each
at its own context. Our time is the training's, as the journal has it. Run it on an otherwise idle
machine.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from unlabeled import config as configs
from unlabeled.data.ngram import witten_bell
from unlabeled.device import fast_bf16
from unlabeled.loop import pretrain
from unlabeled.runs import Run
from unlabeled.transfer.text_scores import evaluate_tokens

CONTEXT, BATCH, RATE, WARMUP = 64, 12, 1e-3, 100
TARGET = 1.88
"""What nanoGPT's page says that its run on a CPU ends at."""


def nanogpt(text: str, steps: int, seed: int) -> tuple[float, float]:
    """Train the peer; returns seconds and nats a character."""
    torch.manual_seed(seed)
    letters = sorted(set(text))
    ids = torch.tensor([letters.index(c) for c in text])
    border = int(len(text) * 0.9)
    train, held_out = ids[:border], ids[border:]
    config = GPT2Config(
        vocab_size=len(letters), n_positions=CONTEXT, n_embd=128, n_layer=4, n_head=4,
        embd_pdrop=0.0, resid_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99))
    begun = time.perf_counter()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, steps)
        starts = torch.randint(len(train) - CONTEXT, (BATCH,)).tolist()
        rows = torch.stack([train[i : i + CONTEXT + 1] for i in starts])
        loss = _cross_entropy(model, rows)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return time.perf_counter() - begun, _score(model.eval(), held_out)


def _rate(step: int, steps: int) -> float:
    if step < WARMUP:
        return RATE * (step + 1) / (WARMUP + 1)
    share = (step - WARMUP) / max(steps - WARMUP, 1)
    return RATE * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))


def _cross_entropy(model: Any, rows: Tensor, reduction: str = "mean") -> Tensor:
    logits = model(input_ids=rows[:, :-1]).logits
    return nn.functional.cross_entropy(
        logits.flatten(0, 1), rows[:, 1:].flatten(), reduction=reduction
    )


@torch.inference_mode()
def _score(model: Any, held_out: Tensor) -> float:
    """Return nats a character over all rows; the first character is the first row's context."""
    rows = (len(held_out) - 1) // CONTEXT
    whole = held_out[: rows * CONTEXT + 1].unfold(0, CONTEXT + 1, CONTEXT)
    total = sum(float(_cross_entropy(model, part, "sum")) for part in whole.split(64))
    return total / (rows * CONTEXT)


def ours(path: Path, seconds: float, seed: int, overrides: list[str]) -> tuple[float, float]:
    """Train for so many seconds; returns those of the journal and nats a character."""
    tree: dict[str, dict[str, Any]] = {
        "data": {"path": str(path), "kind": "text", "held_out": 0.1},
        "modality": {"tokenizer": "char", "length": 128, "split": "tail"},
        "encoder": {"name": "hf:llama-4x128h4"},
        "method": {"name": "gpt"},
        "optim": {
            "name": "muon", "lr": 8e-3, "muon_lr": 0.04, "betas": (0.9, 0.99),
            "weight_decay": 0.1, "warmup": 0.03, "final_lr": 0.05, "clip": 1.0,
        },
        "loop": {
            "batch": 8, "seed": seed, "threads": torch.get_num_threads(),
            "precision": "bf16" if fast_bf16() else "fp32", "save_every": 1e6,
            "health_steps": 10**6, "log_steps": 100,
        },
    }  # fmt: skip
    for section, values in configs.parse_overrides(overrides).items():
        tree[section].update(values)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.open(pretrain(configs.build(tree), Path(folder), seconds=seconds, quiet=True))
        spent = float(run.metrics()[-1]["seconds"])
        found = evaluate_tokens(run.method(), run.rows("held_out"))
    return spent, float(found["nats_per_token"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="tinyshakespeare.txt")
    parser.add_argument("--steps", type=int, default=2000, help="of the peer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("overrides", nargs="*", help="section.name=value for our arm")
    given = parser.parse_args()
    text = given.data.read_text(encoding="utf-8")
    border = int(len(text) * 0.9)
    table = witten_bell(text[:border], text[border:], 5)[5]
    arms: dict[str, list[tuple[float, float]]] = {}
    for seed in range(given.rounds):
        peer = nanogpt(text, given.steps, seed)
        arms.setdefault("nanoGPT's run, transformers", []).append(peer)
        for name, share in (("unlabeled, a quarter of it", 0.25), ("unlabeled, all of it", 1.0)):
            arms.setdefault(name, []).append(
                ours(given.data, share * peer[0], seed, given.overrides)
            )
    for name, runs in arms.items():
        seconds, nats = (statistics.median(column) for column in zip(*runs, strict=True))
        spread = np.ptp([score for _, score in runs])
        print(f"{name:30} {seconds:7.1f} s   {nats:.4f} nats a character (spread {spread:.4f})")
    print(f"{'5-gram table':30} {'':9}   {table:.4f}")
    print(f"goals: {TARGET} in a quarter of the time, {table:.4f} in all of it")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {given.rounds} rounds")


if __name__ == "__main__":
    main()
