"""Documents to token rows: survey, split, tokenizer, token files; once, in bounded memory.

The order matters: duplicates go before the split, the split goes by document before anything is
learned from the text, the tokenizer is trained on the training part alone, and only then is text
cut into rows. So nothing of a held-out document is ever seen. (The alphabet of a character
tokenizer is that of the whole text: it must be able to spell it.)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from unlabeled.config import TextConfig
from unlabeled.data.apart import Outside
from unlabeled.data.divide import Part, divide, stay_outside
from unlabeled.data.mix import MixedRows
from unlabeled.data.sketchbook import LOOKS, Sketchbook
from unlabeled.data.survey import (
    BAD,
    COPY,
    EMPTY,
    FILTERED,
    NEAR,
    Documents,
    Survey,
    Wanted,
    quarantine,
    survey,
)
from unlabeled.data.tokens import TokenRows, checksum
from unlabeled.data.tokenwriter import KEPT_BYTES, write_tokens
from unlabeled.errors import ConfigError, DataError
from unlabeled.modalities import tokenizer as tokenizers
from unlabeled.modalities.extend import extend
from unlabeled.modalities.text import Text
from unlabeled.rng import mix

FORMAT = 1
TOKENIZER_BYTES = 32_000_000
"""Most text that a tokenizer is trained on; a larger corpus is sampled."""
FEW_DOCUMENTS = 20
"""With fewer documents, the special token before a document is too rare to be learned."""


def _sampled(part: Part, found: Survey) -> Iterator[str]:
    """Yield the pieces that a tokenizer is trained on: all, or a fixed random share of them."""
    share = TOKENIZER_BYTES / max(int(found.num_bytes[part.documents].sum()), 1)
    for position, texts in enumerate(part):
        digest = int(found.digest[part.documents[position]])
        for number, piece in enumerate(texts):
            if share >= 1 or mix(digest, number) < share * 2**64:
                yield piece


def _tokenizer(
    config: TextConfig, parts: dict[str, Part], texts: Iterator[str], folder: Path
) -> None:
    """Train, copy or extend the tokenizer into the run folder.

    Args:
        config: which one.
        parts: of all texts.
        texts: pieces that it is trained on.
        folder: where it goes.
    """
    given = Path(config.tokenizer)
    extra = tokenizers.extra_tokens(config.sentinels, config.infill)
    if config.tokenizer not in tokenizers.KINDS and given.is_dir():
        kept = tokenizers.load(given)
        missing = [word for word in extra if word not in kept.get_vocab()]
        if missing:
            known = [*kept.extra_special_tokens, *missing]
            kept.add_special_tokens({"extra_special_tokens": known})
        if config.extend:
            extend(kept, texts, config.extend, folder)
        else:
            kept.save_pretrained(str(folder))
        return
    if config.extend:
        raise ConfigError(
            f"modality.extend={config.extend} adds entries to a tokenizer that exists, and "
            f"modality.tokenizer={config.tokenizer} trains one. Give --init RUN/encoder."
        )
    if config.tokenizer == "char":
        texts = chain.from_iterable(chain(*parts.values()))
    opens = len(parts["train"].documents) >= FEW_DOCUMENTS
    trained = tokenizers.train(
        config.tokenizer, texts, config.vocab_size, config.length, opens, config.edge, extra,
        config.digits,
    )  # fmt: skip
    trained.save_pretrained(str(folder))


def _asked(
    source: Documents,
    config: TextConfig,
    seed: int,
    held_out: float,
    mix: Sequence[Documents],
    wanted: Wanted,
    outside: Outside,
) -> str:
    """Return a hash of everything that the token files depend on."""
    text = config.model_dump()
    del text["windows"]  # is about features; tokens are the same
    # Not known to runs that are older than they.
    for name in ("edge", "sentinels", "infill", "extend"):
        if text[name] == TextConfig.model_fields[name].default:
            del text[name]
    asked = {
        "format": FORMAT,
        "data": source.fingerprint,
        "text": text,
        "seed": seed,
        "held_out": held_out,
        **({"wanted": vars(wanted)} if wanted != Wanted(wanted.deduplicate) else {}),
        **({"mix": [other.fingerprint for other in mix]} if mix else {}),
        **({"outside": outside.depends} if outside.depends else {}),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def prepare_text(
    source: Documents,
    config: TextConfig,
    folder: Path,
    seed: int,
    held_out: float,
    bad_budget: float = 1.0,
    wanted: Wanted | None = None,
    mix: Sequence[tuple[Documents, float]] = (),
    outside: Outside | None = None,
) -> tuple[TokenRows | MixedRows, TokenRows, Text, dict[str, Any]]:
    """Make, or find again, the tokenizer and the token rows of a run.

    Writes ``folder/tokenizer`` (opened by `AutoTokenizer`) and ``folder/tokens``: for each part
    the tokens, where documents begin, what is known of them with checksums, and the beginning of
    its text for the baselines.

    Args:
        source: the documents.
        config: tokenizer, vocabulary, length of a row, how to split.
        folder: the run folder.
        seed: of the shift of the training rows.
        held_out: share of the documents (of the characters, for a tail) kept out.
        bad_budget: share of unreadable documents above which this fails.
        wanted: which documents are used; all but exact copies by default.
        mix: other documents to train on beside, with their shares of the training rows.
        outside: what must not be trained on; nothing but the held-out part by default.

    Returns:
        Training rows, held-out rows, the modality, and statistics (JSON).

    Raises:
        DataError: nothing to train on, too many bad documents, or files that do not fit the data.
    """
    stamp = Path(folder) / "tokens" / "prepared.json"
    others = [documents for documents, _ in mix]
    wanted, outside = wanted or Wanted(), outside or Outside(near=False)
    asked = _asked(source, config, seed, held_out, others, wanted, outside)
    if not stamp.exists():
        folder.mkdir(parents=True, exist_ok=True)
        found = survey(source, wanted)
        quarantine(found, folder, bad_budget)
        _prepare(source, found, config, folder, held_out, asked, others, wanted, outside)
    statistics = json.loads(stamp.read_text("utf-8"))
    if statistics.pop("asked") != asked:
        raise DataError(
            f"The tokens in {stamp.parent} were made from other data or other text options. "
            "Start a new run, or delete that folder."
        )
    rows, rows_held_out = open_rows(folder, config.length, seed)
    beside = [open_rows(folder, config.length, seed, f"mix{k}-") for k in range(len(mix))]
    for pair in ((rows, rows_held_out), *beside):
        for part in pair:
            part.verify()
    _check_tokenizer(folder / "tokenizer", statistics["tokenizer"])
    text = Text(config, folder / "tokenizer")
    if not mix:
        return rows, rows_held_out, text, statistics
    mixed = MixedRows(rows, [train for train, _ in beside], [share for _, share in mix])
    return mixed, rows_held_out, text, statistics


def _check_tokenizer(folder: Path, checksums: Mapping[str, str]) -> None:
    """Refuse a tokenizer that is not the one that made the tokens.

    Raises:
        DataError: names the file.
    """
    for name, value in checksums.items():
        if checksum(folder / name) != value:
            raise DataError(f"{folder / name} was changed after the tokens were made.")


def open_rows(folder: Path, length: int, seed: int, which: str = "") -> tuple[TokenRows, TokenRows]:
    """Open the training rows and the held-out rows of a run folder.

    Args:
        folder: the run folder.
        length: tokens in a row.
        seed: of the shift of the training rows.
        which: ``mix0-`` for the first text of data.mix, and so on.
    """
    tokens = Path(folder) / "tokens"
    return (
        TokenRows(tokens / f"{which}train.bin", length, seed),
        TokenRows(tokens / f"{which}held_out.bin", length, seed, fixed=True),
    )


def _prepare(
    source: Documents,
    found: Survey,
    config: TextConfig,
    folder: Path,
    held_out: float,
    asked: str,
    others: Sequence[Documents],
    wanted: Wanted,
    outside: Outside,
) -> None:
    """Write tokenizer, tokens and, last, the stamp that says that they are complete."""
    if not len(found.good):
        raise DataError(
            f"There is no text: {found.count(EMPTY)} documents are empty, {found.count(BAD)} are "
            f"unreadable and {found.count(FILTERED)} were left out by filters"
            f"{_most(found)}. Give other data, or loosen data.quality and data.languages."
        )
    parts, split = divide(source, found, config.split, held_out, outside.groups)
    copies, surveys = found.count(COPY), {"train": found}
    for number, other in enumerate(others):
        seen, beside = _beside(other, found, config, held_out, wanted)
        copies += seen.count(COPY)
        surveys[f"mix{number}-train"] = seen
        parts |= {f"mix{number}-{name}": part for name, part in beside.items()}
    parts, left = stay_outside(parts, outside, Sketchbook(folder / LOOKS))
    _remember(folder / "data", parts)
    texts = chain.from_iterable(_sampled(parts[name], seen) for name, seen in surveys.items())
    _tokenizer(config, parts, texts, folder / "tokenizer")
    text = Text(config, folder / "tokenizer")
    written = {
        name: write_tokens(
            part, text, folder / "tokens" / f"{name}.bin", KEPT_BYTES[name.rpartition("-")[2]]
        )
        for name, part in parts.items()
    }
    _check_length(written["train"]["tokens"], config.length)
    statistics = {
        "asked": asked,
        "split": split,
        "documents": {name: len(part.documents) for name, part in parts.items()},
        "empty": found.count(EMPTY),
        "duplicates": copies,
        "near_duplicates": found.count(NEAR),
        **left.record(outside, parts["held_out"].documents),
        "filtered": sum(found.filtered.values()),
        "filters": dict(found.filtered.most_common()),
        "quarantined": found.count(BAD),
        "replaced": found.replaced,
        "vocab_size": text.vocab_size,
        "parts": written,
        "unigram_entropy": written["train"]["unigram_entropy"],
        "tokenizer": {
            path.name: checksum(path) for path in sorted((folder / "tokenizer").glob("*.json"))
        },
    }
    stamp = folder / "tokens" / "prepared.json"
    stamp.with_suffix(".part").write_text(json.dumps(statistics, indent=1), "utf-8")
    os.replace(stamp.with_suffix(".part"), stamp)


def _remember(folder: Path, parts: dict[str, Part]) -> None:
    """Write down which documents are trained on and which are not, as for other kinds of data."""
    folder.mkdir(parents=True, exist_ok=True)
    pool, held = parts["train"].documents, parts["held_out"].documents
    np.save(folder / "pool.npy", pool, allow_pickle=False)
    np.save(folder / "held_out.npy", held[~np.isin(held, pool)], allow_pickle=False)


def _most(found: Survey) -> str:
    """Say why most documents were left out."""
    return "".join(f" (most: {reason})" for reason, _ in found.filtered.most_common(1))


def _beside(
    other: Documents, found: Survey, config: TextConfig, held_out: float, wanted: Wanted
) -> tuple[Survey, dict[str, Part]]:
    """Survey and divide a text of data.mix; what the main text holds too is a copy of it.

    Raises:
        DataError: nothing is left of it.
    """
    seen = survey(other, wanted)
    good = seen.good
    seen.state[good[np.isin(seen.digest[good], found.digest[found.good])]] = COPY
    if not len(seen.good):
        raise DataError(
            f"A text of data.mix holds nothing that the other does not: of {len(other)} documents "
            f"{seen.count(COPY)} are copies, {seen.count(EMPTY)} empty, {seen.count(BAD)} "
            "unreadable."
        )
    return seen, divide(other, seen, config.split, held_out)[0]


def _check_length(num_tokens: int, length: int) -> None:
    if num_tokens < length:
        raise DataError(
            f"The text has {num_tokens} tokens, fewer than one row of modality.length={length}. "
            f"Give more text, or set modality.length to at most {num_tokens}."
        )
