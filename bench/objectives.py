"""Tokens a second of every objective on text, ours against a plain loop with transformers.

    python bench/objectives.py imdb-unlabelled.parquet [--methods gpt,bert] [--size 2x128h2]
        [--vocabulary 8192] [--batch 16] [--documents 2000] [--steps 3] [--rounds 3]

Our arm is what `pretrain` takes: the plan of the command with its precision, loss and optimiser
(Muon and AdamW), from rows of tokens to moved weights. The peer is the library's own model of the
same configuration on the same rows: its collator where it has one, logits at every token, AdamW,
fp32; for ELECTRA, T5, BART and SimCSE, which it does not train, the loop that one would write.
Neither has dropout but SimCSE, whose views it makes. Arms alternate, each in a process of its own
with the same number of threads; medians over the rounds. Tokens are those of text, no padding. The
share is of the products a second that one large product reaches in our arm's precision.

As it stands it takes under 6 minutes on 2 idle cores. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from side_by_side import Arm, rates
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from unlabeled.choices import Request
from unlabeled.gradients import backward, clip
from unlabeled.nn.span_corruption import noise_mask, to_sentinels
from unlabeled.plan import plan
from unlabeled.prepare import Prepared, prepare
from unlabeled.state import State, batches, build

STACKS = {
    "gpt": "gpt2", "gptbert": "gpt2", "t5": "t5", "ul2": "t5", "bart": "bart", "xlnet": "xlnet",
    "electra": "electra",
}  # fmt: skip
"""Families of our arms; BERT where nothing is said."""
METHODS = (
    "gpt", "bert", "electra", "t5", "bart", "xlnet", "simcse",
    "gptbert", "ul2", "nsp", "sop", "contriever", "tsdae", "ct",
)  # fmt: skip
Step = Callable[[Tensor], Tensor]


class Ours:
    """The step of `pretrain`, without journal, health and checkpoints."""

    def __init__(self, asked: argparse.Namespace, method: str, folder: Path) -> None:
        stack = f"hf:{STACKS.get(method, 'bert')}-{asked.size}"
        over: dict[str, dict[str, Any]] = {
            "encoder": {"name": stack},
            "modality": {"vocab_size": asked.vocabulary},
            "loop": {"batch": asked.batch, "threads": asked.threads},
        }
        request = Request(str(asked.data), method=method, steps=100, kind="text", overrides=over)
        self.config = plan(request).config
        self.data: Prepared = prepare(self.config, folder / method)
        self.state: State = build(self.config, folder / method, self.data)
        self.stream = batches(self.state)
        self.asked = asked

    def __call__(self) -> float:
        """Train on the next batch; returns its tokens."""
        batch, state = next(self.stream), self.state
        state.optim.set(0.5)
        backward(state.method, batch, 0.5, state)
        clip(state.optim, 0.5, state.config.optim.clip)
        state.optim.step()
        state.optim.zero()
        state.method.after_step(0.5)
        return float((batch["plain"][0][:, 1] >= 0).sum())

    def flops(self) -> int:
        """Count the operations of the products in a step, forward and backward."""
        batch = next(self.stream)
        with FlopCounterMode(display=False) as counter:
            self.state.method(batch, 0.5)[0].backward()
        self.state.method.zero_grad(set_to_none=True)
        return int(counter.get_total_flops())


class Peer:
    """A plain loop on the same rows, documents not told apart as in the library's examples."""

    def __init__(self, asked: argparse.Namespace, method: str, folder: Path) -> None:
        ours = Ours(asked, method, folder)  # for its rows, sizes and tokenizer
        self.stream: Iterator[Any] = ours.stream
        self.text: Any = ours.data.modality
        encoder: Any = ours.state.method.exported()
        config = copy.deepcopy(encoder.model.config)
        config._attn_implementation = None
        for role, number in (("pad", self.text.pad_id), ("decoder_start", self.text.eos_id)):
            setattr(config, f"{role}_token_id", number or 0)
        torch.manual_seed(0)
        self.loss, modules = LOOPS[method](config, self.text)
        parameters = [p for module in modules for p in module.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)

    def __call__(self) -> float:
        """Train on the next rows; returns their tokens."""
        x = next(self.stream)["plain"][0]
        loss = self.loss(x[:, 0].contiguous())
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float((x[:, 1] >= 0).sum())


def causal(config: Any, text: Any) -> tuple[Step, list[nn.Module]]:
    """Guess the next token, as run_clm."""
    model = transformers.GPT2LMHeadModel(config).train()
    return lambda ids: model(input_ids=ids, labels=ids).loss, [model]


def masked(config: Any, text: Any) -> tuple[Step, list[nn.Module]]:
    """Guess masked tokens, as run_mlm."""
    model = transformers.BertForMaskedLM(config).train()
    collate = transformers.DataCollatorForLanguageModeling(text.tokenizer)
    return lambda ids: model(**collate(_examples(ids))).loss, [model]


def permuted(config: Any, text: Any) -> tuple[Step, list[nn.Module]]:
    """Guess in a random order, as run_plm."""
    model = transformers.XLNetLMHeadModel(config).train()
    collate = transformers.DataCollatorForPermutationLanguageModeling(text.tokenizer)
    return lambda ids: model(**collate(_examples(ids))).loss, [model]


def replaced(config: Any, text: Any) -> tuple[Step, list[nn.Module]]:
    """Judge tokens that a generator of a quarter of the width replaced."""
    small = copy.deepcopy(config)
    small.num_attention_heads = max(1, config.num_attention_heads // 4)
    small.hidden_size = config.hidden_size // config.num_attention_heads * small.num_attention_heads
    small.intermediate_size = 4 * small.hidden_size
    generator = transformers.ElectraForMaskedLM(small).train()
    judge = transformers.ElectraForPreTraining(config).train()
    collate = transformers.DataCollatorForLanguageModeling(text.tokenizer)

    def loss(ids: Tensor) -> Tensor:
        batch = collate(_examples(ids))
        guessed = generator(**batch)
        drawn = guessed.logits.detach().softmax(-1).flatten(0, 1).multinomial(1).view_as(ids)
        spoiled = torch.where(batch["labels"] >= 0, drawn, ids)
        found = judge(input_ids=spoiled, labels=(spoiled != ids).long())
        return guessed.loss + 50 * found.loss

    return loss, [generator, judge]


def spans(config: Any, text: Any) -> tuple[Step, list[nn.Module]]:
    """Write what spans of a row hid, row by row by T5's rule."""
    model, draws = transformers.T5ForConditionalGeneration(config).train(), np.random.default_rng(0)
    sentinels = np.array(text.sentinel_ids)

    def loss(ids: Tensor) -> Tensor:
        pairs = []
        for row in ids.numpy():
            mask = noise_mask(len(row), 0.15, 3.0, draws)
            pairs.append((to_sentinels(row, mask, sentinels), to_sentinels(row, ~mask, sentinels)))
        source, target = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
        return model(input_ids=source, labels=target).loss

    return loss, [model]


def infilled(config: Any, text: Any) -> tuple[Step, list[nn.Module]]:
    """Write rows of which 30 % became one mask for each span."""
    model, draws = (
        transformers.BartForConditionalGeneration(config).train(),
        np.random.default_rng(0),
    )

    def loss(ids: Tensor) -> Tensor:
        rows = [
            to_sentinels(
                row, noise_mask(len(row), 0.3, 3.0, draws), np.full(len(row), text.mask_id)
            )
            for row in ids.numpy()
        ]
        return model(input_ids=torch.from_numpy(np.stack(rows)), labels=ids).loss

    return loss, [model]


def contrasted(config: Any, text: Any) -> tuple[Step, list[nn.Module]]:
    """Tell two dropouts of a row from those of others."""
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.1
    model = transformers.BertModel(config, add_pooling_layer=False).train()

    def loss(ids: Tensor) -> Tensor:
        first, second = (
            F.normalize(model(input_ids=ids).last_hidden_state.mean(1), dim=1) for _ in range(2)
        )
        return F.cross_entropy(first @ second.T / 0.05, torch.arange(len(ids)))

    return loss, [model]


LOOPS: dict[str, Callable[[Any, Any], tuple[Step, list[nn.Module]]]] = {
    "gpt": causal, "bert": masked, "electra": replaced, "t5": spans, "bart": infilled,
    "xlnet": permuted, "simcse": contrasted,
}  # fmt: skip


def _examples(ids: Tensor) -> list[dict[str, Any]]:
    return [{"input_ids": row} for row in ids.tolist()]


def arm(kind: type[Ours] | type[Peer], *args: Any) -> Callable[[], float]:
    """Return a step, made in the process that will take it."""
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(args[0].threads)
    return kind(*args)


def peak(precision: str, size: int = 2048) -> float:
    """Return the operations a second of a large product."""
    a, b = torch.randn(2, size, size).to(torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / min(seconds)


def line(asked: argparse.Namespace, method: str, folder: Path, top: dict[str, float]) -> str:
    """Time one objective; returns its row of the table."""
    ours = Ours(asked, method, folder)  # and tokenised before both arms open the rows
    kinds = [Ours, *([Peer] if method in LOOPS else [])]
    arms = [Arm(method, arm, kind, asked, method, folder) for kind in kinds]
    found = [statistics.median(values) for values in rates(arms, asked.steps, asked.rounds)]
    precision = ours.config.loop.precision
    top.setdefault(precision, peak(precision))
    work = ours.flops() * found[0] / ours()
    row = f"{method:11} {found[0]:9.0f} {work / top[precision]:7.0%} of {precision}"
    if method not in LOOPS:
        return f"{row} {'no peer':>11}"
    return f"{row} {found[1]:11.0f} {found[0] / found[1]:6.2f}x"


def some(path: Path, count: int, folder: Path) -> Path:
    """Write the first documents into a table, so that preparing takes seconds."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from unlabeled.data.find import find

    source = find(str(path), "text")
    texts = [str(source.payload(index)) for index in range(min(count, len(source)))]
    pq.write_table(pa.table({"text": texts}), folder / "some.parquet")
    return folder / "some.parquet"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="text: a table, a folder or a file")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--size", default="2x128h2", help="layers x width, heads")
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    asked.threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as place:
        asked.data = some(asked.data, asked.documents, Path(place))
        print("objective    tokens/s  share of peak   the plain loop", flush=True)
        top: dict[str, float] = {}
        for method in asked.methods.split(","):
            print(line(asked, method, Path(place), top), flush=True)
    print(
        f"{asked.size}, vocabulary {asked.vocabulary}, batch {asked.batch}, {asked.rounds} rounds"
    )
    print(f"{asked.threads} threads, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
