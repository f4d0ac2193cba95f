"""BERT, 4 layers x 256, 8k WordPiece: the transformers masked-LM recipe, and ours.

    python bench/bert.py imdb-unlabelled.parquet [--documents 4000] [--steps 6] [--rounds 3]

The peer is the loop of the library's masked-language example: `BertForMaskedLM` with
`DataCollatorForLanguageModeling`, logits at every token, AdamW, fp32, dropout as its
configuration has it (0.1). Two comparisons: on the same full rows, and on real rows, where the
recipe pads documents to 128 tokens and ours packs them; tokens that are padding do not count. At
the end the same number of tokens is given to both, and both are scored on the same frozen masks.
Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import Arm, rates
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling

from unlabeled import device, rng
from unlabeled.config import EncoderConfig, OptimConfig, TextConfig
from unlabeled.config import build as build_config
from unlabeled.data.find import find
from unlabeled.data.text import prepare_text
from unlabeled.data.tokens import TokenRows
from unlabeled.encoders import build
from unlabeled.gradients import backward
from unlabeled.methods.bert import BERT
from unlabeled.modalities.text import Text
from unlabeled.optim import Optim
from unlabeled.state import State
from unlabeled.types import Batch

LENGTH, RATE = 128, 1e-3


class Some:
    """The first documents of a source."""

    def __init__(self, source: Any, count: int) -> None:
        self.source, self.count = source, min(count, len(source))
        self.fingerprint = f"{source.fingerprint}-{count}"

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """Return a name."""
        return str(self.source.name(index))

    def payload(self, index: int, epoch: int = 0) -> Any:
        """Return a document."""
        return self.source.payload(index)


def full_rows(rows: TokenRows, batch: int) -> Iterator[Tensor]:
    """Yield (B, 3, T) packed rows without end."""
    for epoch in itertools.count():
        order = rng.order(0, epoch, len(rows))
        for start in range(0, len(rows) - batch + 1, batch):
            yield torch.from_numpy(rows.batch(order[start : start + batch], epoch).astype(np.int64))


def padded_rows(source: Some, text: Text, batch: int) -> Iterator[Tensor]:
    """Yield (B, 2, T) rows of a document each, as the recipe has them."""
    for epoch in itertools.count():
        order = rng.order(0, epoch, len(source))
        for start in range(0, len(source) - batch + 1, batch):
            texts = [str(source.payload(int(i))) for i in order[start : start + batch]]
            yield text.encode_documents(texts, LENGTH)


class Recipe:
    """The library's model and loop."""

    def __init__(self, text: Text, dropout: float = 0.1) -> None:
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=text.vocab_size, hidden_size=256, num_hidden_layers=4,
            num_attention_heads=4, intermediate_size=1024, max_position_embeddings=LENGTH,
            hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        )  # fmt: skip
        self.model = BertForMaskedLM(config).train()
        self.collate = DataCollatorForLanguageModeling(text.tokenizer, mlm_probability=0.15)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=RATE, weight_decay=0.01)

    def step(self, rows: Iterator[Tensor]) -> tuple[int, float]:
        """Train on the next rows."""
        x = next(rows)
        real = x[:, 1] >= 0
        batch = self.collate(
            [
                {"input_ids": ids.tolist(), "attention_mask": seen.long().tolist()}
                for ids, seen in zip(x[:, 0], real, strict=True)
            ]
        )
        loss = self.model(**batch).loss
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return int(real.sum()), float(loss.detach())


class Ours:
    """Our method and optimiser; the loop around them writes journals, which costs nothing here."""

    def __init__(self, text: Text, optimiser: str) -> None:
        torch.manual_seed(0)
        encoder = build(EncoderConfig(name="hf:bert-4x256"), text.config, text.vocab_size)
        self.method = BERT(BERT.Config(), encoder, text).train()
        options: dict[str, Any] = {
            "name": optimiser, "lr": RATE, "weight_decay": 0.01, "shape": "constant", "warmup": 0.0,
        }  # fmt: skip
        self.optim = Optim(self.method, OptimConfig(**options))
        self.done = 0
        device.keep_memory()
        config = build_config(
            {
                "data": {"path": "", "kind": "text"},
                "modality": text.config.model_dump(),
                "encoder": {"name": "hf:bert-4x256"},
                "method": {"name": "bert"},
                "loop": {
                    "precision": "bf16" if device.fast_bf16() else "fp32",
                    "threads": torch.get_num_threads(),
                },
            }
        )
        self.state = State(config, Path(), None, self.method, self.optim, device.device())

    def step(self, rows: Iterator[Tensor]) -> tuple[int, float]:
        """Train on the next rows."""
        x = next(rows)
        keys = torch.tensor([rng.sample_key(1, self.done, i) for i in range(len(x))])
        loss, _ = backward(self.method, Batch({"plain": x[None]}, keys), 0.5, self.state)
        self.optim.set(0.5)
        self.optim.step()
        self.optim.zero()
        self.done += 1
        return int((x[:, 1] >= 0).sum()), loss


def prepared(path: Path, documents: int, folder: Path) -> tuple[Some, TokenRows, TokenRows, Text]:
    """Tokenise, or open what was tokenised."""
    config = TextConfig(tokenizer="wordpiece", vocab_size=8192, length=LENGTH)
    source = Some(find(str(path)), documents)
    rows, held_out, text, _ = prepare_text(source, config, folder, 0, 0.05)
    return source, rows, held_out, text


def recipe_arm(data: Any, batch: int, padded: bool) -> Callable[[], float]:
    """Return the recipe's step, in tokens that are no padding."""
    source, rows, _, text = prepared(*data)
    recipe = Recipe(text)
    batches = padded_rows(source, text, batch) if padded else full_rows(rows, batch)
    return lambda: recipe.step(batches)[0]


def our_arm(data: Any, batch: int, optimiser: str) -> Callable[[], float]:
    """Return our step."""
    _, rows, _, text = prepared(*data)
    ours, batches = Ours(text, optimiser), full_rows(rows, batch)
    return lambda: ours.step(batches)[0]


def compare(title: str, arms: list[Arm], steps: int, rounds: int) -> None:
    """Print one table."""
    found = [statistics.median(values) for values in rates(arms, steps, rounds)]
    print(f"{title} ({rounds} rounds of {steps} steps)")
    for arm, rate in zip(arms, found, strict=True):
        print(f"  {arm.name:36} {rate:8.0f} tokens/s   {rate / found[0]:5.2f} x")


@torch.inference_mode()
def frozen_loss(ours: Ours, model: Any, held_out: TokenRows, count: int = 256) -> float:
    """Return the cross-entropy of a library model on our frozen masks, documents apart."""
    x = torch.from_numpy(held_out.batch(range(min(count, len(held_out)))).astype(np.int64))
    keys = torch.tensor([rng.sample_key(7, 0, i) for i in range(len(x))])
    hidden, chosen = ours.method.hide(x, keys)
    same = x[:, 1, :, None] == x[:, 1, None, :]
    mask = torch.zeros(same.shape).masked_fill(~same, float("-inf"))[:, None]  # (B, 1, T, T)
    logits = model.eval()(input_ids=hidden, attention_mask=mask).logits
    model.train()
    return float(torch.nn.functional.cross_entropy(logits[chosen], x[:, 0][chosen]))


def equal_tokens(text: Text, rows: TokenRows, held_out: TokenRows, batch: int, steps: int) -> None:
    """Give both the same rows and print what they learned."""
    recipe = Recipe(text, dropout=0.0)
    batches = full_rows(rows, batch)
    for _ in range(steps):
        recipe.step(batches)
    print(f"loss on frozen masks after {steps * batch * LENGTH:,} tokens")
    for name in ("adamw", "muon"):
        ours, batches = Ours(text, name), full_rows(rows, batch)
        for _ in range(steps):
            ours.step(batches)
        if name == "adamw":
            print(f"  {'recipe':36} {frozen_loss(ours, recipe.model, held_out):.4f}")
        encoder: Any = ours.method.encoder
        with tempfile.TemporaryDirectory() as folder:
            encoder.save(Path(folder))
            model = BertForMaskedLM.from_pretrained(folder)
        print(f"  {'unlabeled, ' + name:36} {frozen_loss(ours, model, held_out):.4f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="text: a table, a folder or a file")
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--learn", type=int, default=100, help="steps of the last comparison")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = (given.data, given.documents, Path(folder))
        _, rows, held_out, text = prepared(*data)
        ours = [
            Arm(f"unlabeled, {name}", our_arm, data, given.batch, name)
            for name in ("adamw", "muon")
        ]
        peer = Arm("transformers recipe", recipe_arm, data, given.batch, False)
        compare("the same full rows", [peer, *ours], given.steps, given.rounds)
        peer = Arm("transformers recipe", recipe_arm, data, given.batch, True)
        compare("real rows: padded | packed", [peer, *ours], given.steps, given.rounds)
        if given.learn:
            equal_tokens(text, rows, held_out, given.batch, given.learn)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
