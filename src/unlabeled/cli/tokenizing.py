"""What `inspect --tokenizers` shows: bits per byte of short trainings, a row for each tokenizer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from unlabeled import config, duration
from unlabeled.cli import checks, show
from unlabeled.errors import UsageError

Tried = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Choose a tokenizer by short trainings, so long for each (text)."
    ),
]


def compare(path: str, kind: str, column: str | None, time: str, words: list[str]) -> None:
    """Train with each tokenizer, print what held-out text costs, and name the cheapest.

    Raises:
        UsageError: the data are no text, or the options name a tokenizer.
    """
    if kind != "text":
        raise UsageError(f"--tokenizers is for text; {path} holds {kind}.")
    seconds = duration.parse(time)
    asked = checks.Asked(
        data=path, method="gpt", seconds=None, steps=1, kind=kind, column=column, init=None,
        overrides=config.parse_overrides(words), file={},
    )  # fmt: skip
    checks.request(asked)
    from unlabeled.choices import Request
    from unlabeled.transfer.vocabulary import CANDIDATES, Trial, best

    show.say(f"{len(CANDIDATES)} trainings of {seconds:g} s each, told by held-out bits per byte")
    with tempfile.TemporaryDirectory(prefix="unlabeled-") as folder:
        trial = Trial(Request(**vars(asked)), seconds, Path(folder))
        costs = []
        for cost in trial.costs():
            costs.append(cost)
            show.say(f"{cost.tokenizer} {cost.entries:,}: {cost.bits_per_byte:.3f}")
        plain = trial.baselines()
    header = ("tokenizer", "entries", "bytes/token", "steps", "passes", "bits/byte", "loses")
    rows = [
        (c.tokenizer, f"{c.entries:,}", f"{c.bytes_per_token:.2f}", f"{c.steps:,}",
         f"{c.passes:.1f}", f"{c.bits_per_byte:.3f}", c.lost)
        for c in sorted(costs, key=lambda c: c.bits_per_byte)
    ]  # fmt: skip
    show.say()
    show.table(header, rows)
    if plain:
        name = min(plain, key=plain.__getitem__)
        show.say(f"Best plain baseline: {name} {plain[name]:.3f}; xz {plain['xz']:.3f}.")
    found = best(costs)
    if found is None:
        return
    lossy = (
        "; those that lose something spell less and are not chosen"
        if any(c.lost for c in costs)
        else ""
    )
    show.say(
        f"Cheapest: {found.tokenizer} with {found.entries:,} entries, one training each{lossy}. "
        "It holds for this time and network."
    )
    option = f"modality.tokenizer={found.tokenizer} modality.vocab_size={found.entries}"
    show.next_commands([(f"unlabeled pretrain {path} --method gpt {option}", "train with it")])
