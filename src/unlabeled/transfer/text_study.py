"""What a model of text is worth without labels: cost of text, what it recites, what it prefers.

Everything is kept in ``RUN/evaluate/text.json``, which the report draws; parts that are measured
again replace their older figures, and the others stay.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unlabeled.data.find import find
from unlabeled.data.ngram import baselines
from unlabeled.data.survey import read as pieces_of
from unlabeled.data.tokens import TokenRows
from unlabeled.data.tokenwriter import KEPT_BYTES, write_tokens
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import read_json, write_json
from unlabeled.kinds import strings
from unlabeled.modalities.text import Text
from unlabeled.runs import Run
from unlabeled.transfer import copied, minimal_pairs, retrieval
from unlabeled.transfer.strided import strided
from unlabeled.transfer.text_scores import evaluate_tokens, sentence

FILE, FORMAT = "evaluate/text.json", 1
HELD_OUT = "held-out"
"""The name of the run's own held-out text."""
LEAK = 16
"""n of the n-grams by which text is looked for in the training text."""
STRIDED_TOKENS = 2_000_000
"""Most tokens under overlapping windows, which cost more than one pass."""


class TextStudy:
    """Measures a finished run of text.

    Args:
        run: the run.

    Raises:
        UsageError: it is no run of text, or its method has no score of text.
    """

    def __init__(self, run: Run) -> None:
        if not strings(run.config.data.kind):
            raise UsageError(
                f"{run.folder} is a run of {run.config.data.kind}; only runs of text are scored "
                "without labels. Give labels: unlabeled evaluate RUN --labels FILE"
            )
        self.run, self.text = run, _text_of(run)
        self.precision = run.config.loop.precision
        self.kept: dict[str, Any] = {"format": FORMAT, **read_json(run.folder / FILE)}

    @cached_property
    def method(self) -> Any:
        """Return the method as of the newest checkpoint."""
        return self.run.method()

    @property
    def encoder(self) -> Any:
        """Return its encoder, with the head."""
        return self.method.encoder

    def _keep(self, part: str, found: Any) -> None:
        self.kept[part] = found
        (self.run.folder / FILE).parent.mkdir(exist_ok=True)
        write_json(self.run.folder / FILE, self.kept)

    def score(self, file: str | None, context: int | None, stride: int | None) -> list[str]:
        """Score the held-out text, or that of a file, in a full pass and by strided windows.

        Raises:
            UsageError: the method has no score of text, or windows cannot be.
            DataError: there is no text.
        """
        if not self.method.scored:
            raise UsageError(
                f"{self.run.folder} was trained with {self.run.config.method['name']}, which "
                "gives text no cost. Give labels: unlabeled evaluate RUN --labels FILE"
            )
        with tempfile.TemporaryDirectory() as folder:
            rows, plain, documents = self._rows(file, Path(folder))
            found = {**evaluate_tokens(self.method, rows, precision=self.precision),
                     "bytes": rows.num_bytes, "documents": documents}  # fmt: skip
            beside = baselines(self.run.folder / "tokens", held_out=plain)
            found["baselines"], found["best"] = beside["bits_per_byte"], beside["best"]
            if self.method.scored == "text":
                length = self.text.config.length
                context = context or min(length, self.encoder.max_length or length)
                found["strided"] = self._strided(rows, context, stride or max(1, context // 2))
            if file is not None:
                found["in_training"] = self._in_training(rows)
        texts = {**self.kept.get("texts", {}), file or HELD_OUT: found}
        self._keep("texts", texts)
        return text_words(self.method.scored, file or HELD_OUT, found)

    def _rows(self, file: str | None, folder: Path) -> tuple[TokenRows, Path | None, int]:
        """Return rows of text, where its text lies, and how many documents there are."""
        if file is None:
            rows = self.run.rows("held_out")
            if not len(rows):
                raise DataError(
                    f"Nothing was held out of {self.run.folder}. Give other text: --text FILE"
                )
            return rows, None, len(rows.starts)
        source: Any = find(file, self.run.config.data.kind)
        documents = (pieces_of(source, index) for index in range(len(source)))
        write_tokens(documents, self.text, folder / "other.bin", KEPT_BYTES["held_out"])
        rows = TokenRows(folder / "other.bin", self.text.config.length, fixed=True)
        if rows.num_tokens < 2 or not rows.num_bytes:
            raise DataError(f"{file} holds no text to score.")
        return rows, folder / "other.txt", len(rows.starts)

    def _strided(self, rows: TokenRows, context: int, stride: int) -> dict[str, Any]:
        taken = rows.num_bytes * min(1.0, STRIDED_TOKENS / rows.num_tokens)
        return strided(
            self.encoder, _documents(rows), round(taken), self.text.special_ids, context, stride,
            self.precision,
        )  # fmt: skip

    def _in_training(self, rows: TokenRows) -> dict[str, Any]:
        """Return what share of a text's n-grams stands in the training text."""
        texts = [ids for ids in _documents(rows) if len(ids) >= LEAK]
        every = copied.seen(self.run.rows("train").ids, texts, LEAK)
        share = float(np.concatenate(every).mean()) if every else 0.0
        return {"n": LEAK, "share": share}

    def memorised(self, seed: int) -> list[str]:
        """Let a generator write, and look for what it wrote in its training text."""
        if self.method.scored != "text":
            return []
        found = copied.copied(
            self.encoder, self.text, self.run.rows("train"), self.run.rows("held_out"), seed
        )
        self._keep("memorised", found)
        return copied.words(found)

    def prefer(self, path: Path) -> list[str]:
        """Score minimal pairs.

        Raises:
            UsageError: the table is none of pairs, or the model has no likelihood.
        """
        if self.method.scored not in ("text", "hidden"):
            raise UsageError(
                f"{self.run.config.method['name']} gives a sentence no likelihood; minimal pairs "
                "need a run of gpt, gptbert or bert."
            )
        pairs = minimal_pairs.read(path)
        train = (self.run.folder / "tokens" / "train.txt").read_text("utf-8")
        found = minimal_pairs.judge(self.encoder, self.text, pairs, train, self.precision)
        self._keep("pairs", {**self.kept.get("pairs", {}), path.name: found})
        return minimal_pairs.words(found)

    def retrieve(self, path: Path) -> tuple[dict[str, dict[str, float]], list[str]]:
        """Rank documents for queries; returns the rows of the table and what they say.

        Raises:
            UsageError: the table is none of queries and documents.
        """
        found = retrieval.judge(self.run, retrieval.read(path))
        self._keep("retrieval", {**self.kept.get("retrieval", {}), path.name: found})
        return found["rows"], retrieval.words(found)


def _text_of(run: Run) -> Text:
    text: Any = run.modality()
    assert isinstance(text, Text)
    return text


def _documents(rows: TokenRows) -> Iterator[Any]:
    """Yield the tokens of each document, up to `STRIDED_TOKENS` in all."""
    ends = [*rows.starts[1:].tolist(), rows.num_tokens] if len(rows.starts) else []
    for begin, end in zip(rows.starts.tolist(), ends, strict=True):
        if begin >= STRIDED_TOKENS:
            return
        yield rows.ids[begin : min(end, STRIDED_TOKENS)]


def text_words(scored: str, name: str, found: dict[str, Any]) -> list[str]:
    """Say what a text costs."""
    what = "Held-out text" if name == HELD_OUT else name
    said = [
        f"{what}: {found['bytes']:,} bytes in {found['documents']:,} documents, "
        f"{found['targets']:,} targets in a full pass over rows of {found['context']} tokens."
    ]
    if scored != "text":
        said.append(sentence(scored, found))
        if "pseudo_bits_per_byte" in found:
            said.append(
                f"{found['pseudo_bits_per_byte']:.3f} pseudo-bits per byte (both sides are seen: "
                f"comparable between masked models only{_from_one_side(found)})."
            )
        return [*said, *_leak(found)]
    own, best = found["bits_per_byte"], found["best"]
    worse = "better than" if own < found["baselines"][best] else "no better than"
    said.append(
        f"{found['nats_per_token']:.4f} nats a token, {own:.3f} bits per byte, {worse} the best "
        f"plain baseline ({best}: {found['baselines'][best]:.3f}; xz: "
        f"{found['baselines']['xz']:.3f})."
    )
    more = found["strided"]
    said.append(
        f"Strided (context {more['context']}, stride {more['stride']}): perplexity "
        f"{more['perplexity']:.3f} a token over {more['targets']:,} tokens, "
        f"{more['bits_per_byte']:.3f} bits per byte."
    )
    return [*said, *_leak(found)]


def _from_one_side(found: dict[str, Any]) -> str:
    """Say what plain baselines need, which see less and must spell every byte."""
    if not found["baselines"]:
        return ""
    best, xz = found["best"], found["baselines"]["xz"]
    return f"; from one side, {best} needs {found['baselines'][best]:.3f} and xz {xz:.3f}"


def _leak(found: dict[str, Any]) -> list[str]:
    known = found.get("in_training")
    if known is None:
        return []
    warning = "" if known["share"] < 0.05 else " So the figures flatter: part of it was trained on."
    return [
        f"{known['share']:.1%} of its {known['n']}-grams of tokens stand in the training "
        f"text.{warning}"
    ]
