"""Which tokenizer suits a text: short trainings of a generator, told by held-out bits per byte.

Nats a token (and perplexity) are lower the shorter tokens are, so they say nothing here; the bits
that a model needs for a byte of text are the same question for every tokenizer that loses nothing.
All train for the same time, larger vocabularies and more tokens a byte paying for what they cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlabeled import device
from unlabeled.choices import Request
from unlabeled.config import RunConfig
from unlabeled.data.ngram import baselines
from unlabeled.data.tokens import TokenRows
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import read_json
from unlabeled.loop import pretrain, seconds_per_step
from unlabeled.plan import plan
from unlabeled.prepare import prepare
from unlabeled.runs import Run
from unlabeled.transfer.text_scores import evaluate_tokens

CANDIDATES = (
    *(("bpe", entries) for entries in (512, 1024, 2048, 4096, 8192)),
    ("unigram", 1024),
    ("unigram", 4096),
    ("wordpiece", 4096),
    ("char", 8192),
    ("byte", 259),
)
"""Kinds of tokenizers and how many entries they may have."""
ROUNDS = 2
"""How often a step of each is timed, in turns; the fastest counts."""


@dataclass(frozen=True)
class Cost:
    """What held-out text costs under one tokenizer.

    Args:
        tokenizer: its kind.
        entries: of the vocabulary.
        bytes_per_token: of training text.
        steps: that fit into the time.
        passes: over the training text.
        bits_per_byte: of held-out text.
        lost: what the tokenizer does not keep of a text; empty if it can be compared.
    """

    tokenizer: str
    entries: int
    bytes_per_token: float
    steps: int
    passes: float
    bits_per_byte: float
    lost: str


@dataclass
class Trial:
    """Candidates on one text.

    Args:
        request: the data and options; the method is gpt.
        seconds: of training for each.
        folder: for the runs, which may be thrown away.
        candidates: kinds and entries.
    """

    request: Request
    seconds: float
    folder: Path
    candidates: Sequence[tuple[str, int]] = CANDIDATES

    def costs(self) -> Iterator[Cost]:
        """Train and score one after the other.

        Raises:
            UsageError: the options name a tokenizer.
            DataError: nothing is held out.
        """
        named = {"tokenizer", "vocab_size"} & {*self.request.overrides.get("modality", {})}
        if named:
            raise UsageError(
                f"Tokenizers are tried here: leave modality.{sorted(named)[0]} out of the options."
            )
        plans = [self._plan(*candidate) for candidate in self.candidates]
        steps = [max(1, round(self.seconds / taken)) for taken in self._taken(plans)]
        for number, (config, count) in enumerate(zip(plans, steps, strict=True)):
            loop = config.loop.model_copy(update={"steps": count})
            planned = config.model_copy(update={"loop": loop})
            run = Run.open(pretrain(planned, self._place(number), quiet=True))
            yield _cost(run, count)

    def baselines(self) -> dict[str, float]:
        """Return bits per byte of n-grams and compressors; after `costs`."""
        found: dict[str, float] = baselines(self._place(0) / "tokens").get("bits_per_byte", {})
        return found

    def _place(self, number: int) -> Path:
        kind, entries = self.candidates[number]
        return self.folder / f"{kind}-{entries}"

    def _plan(self, kind: str, entries: int) -> RunConfig:
        given: dict[str, Mapping[str, Any]] = {**self.request.overrides}
        given["modality"] = {
            **given.get("modality", {}), "tokenizer": kind, "vocab_size": entries,
        }  # fmt: skip
        given["loop"] = {"save_every": 1e6, "health_steps": 10**6, **given.get("loop", {})}
        return plan(replace(self.request, method="gpt", steps=1, overrides=given)).config

    def _taken(self, plans: Sequence[RunConfig]) -> list[float]:
        """Return the seconds of a step of each, on a CPU those of its cores: load is no cost."""
        data = [prepare(config, self._place(number)) for number, config in enumerate(plans)]
        found = []
        for config, ready in [*zip(plans, data, strict=True)] * ROUNDS:
            longer = config.loop.model_copy(update={"steps": 100})
            counted = config.model_copy(update={"loop": longer})
            found.append(seconds_per_step(counted, ready, clock=_clock(config)))
        return [min(found[place :: len(plans)]) for place in range(len(plans))]


def _clock(config: RunConfig) -> Callable[[], float]:
    """Return what time is told by."""
    if device.device().type != "cpu":
        return time.monotonic
    return lambda: time.process_time() / (config.loop.threads)


def _cost(run: Run, steps: int) -> Cost:
    held: TokenRows = run.rows("held_out")
    if not len(held):
        raise DataError(
            "Nothing is held out to tell tokenizers by: give data.held_out a share above 0."
        )
    train, text = run.rows("train"), run.modality()
    kind = str(run.config.modality.tokenizer)  # type: ignore[union-attr]
    found = evaluate_tokens(run.method(), held, precision=run.config.loop.precision)
    seen = steps * run.config.loop.batch * train.length
    return Cost(
        kind,
        int(text.vocab_size),  # type: ignore[attr-defined]
        train.bytes_per_token,
        steps,
        seen / max(train.num_tokens, 1),
        float(found["bits_per_byte"]),
        _lost(run, kind),
    )


def _lost(run: Run, kind: str) -> str:
    """Say what of the text its tokens do not hold."""
    if kind == "wordpiece":
        return "capitals and spaces"
    parts = read_json(run.folder / "tokens" / "prepared.json")["parts"]
    unknown = sum(int(part["unknown"]) for part in parts.values())
    return f"{unknown:,} characters" if unknown else ""


def best(costs: Sequence[Cost]) -> Cost | None:
    """Return the cheapest of those that keep the whole text."""
    return min((c for c in costs if not c.lost), key=lambda c: c.bits_per_byte, default=None)
