"""From a configuration to samples: find, split once, remember, and check on every resume."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unlabeled import device
from unlabeled.config import DataConfig, RunConfig, TextConfig
from unlabeled.data.apart import Outside, apart
from unlabeled.data.find import Source, find, of_config
from unlabeled.data.groups import groups_of
from unlabeled.data.loader import Samples, plain_batch
from unlabeled.data.read import Pool
from unlabeled.data.sketchbook import LOOKS, Sketchbook
from unlabeled.data.survey import Wanted
from unlabeled.errors import ConfigError, DataError
from unlabeled.journal import read_json, write_json
from unlabeled.modalities.base import Modality
from unlabeled.runs import DATA, build_modality, check_unchanged

WATCHED = 256
"""How many held-out samples health looks at."""

KEPT_BYTES = 1 << 30
"""Decoded samples that a run without data workers keeps in memory."""

KEPT_LOGS = 1 << 23
"""The same of logs, which are cheap to read again and may be of any length."""


@dataclass(frozen=True)
class Prepared:
    """Samples that a run trains on and those it watches.

    Args:
        samples: the pre-training pool.
        modality: how its samples are read and cut.
        watched: (B, ...) undistorted held-out samples, as the encoder sees them; samples of the
            pool where fewer than 16 were held out.
        unigram: entropy of single tokens in nats (text).
        record: what data.json holds.
        scored: (B, 3, T) held-out rows of text, however few; None where there are none.
    """

    samples: Samples
    modality: Modality
    watched: Tensor
    unigram: float | None = None
    record: dict[str, Any] = field(default_factory=dict)
    scored: Tensor | None = None


def prepare(config: RunConfig, folder: Path) -> Prepared:
    """Make, or open again, the samples of a run; rank 0 does the work first.

    Raises:
        DataError: the data cannot be used or changed since the run began.
    """
    if device.rank() == 0:
        found = _prepare(config, folder)
        device.barrier()
        return found
    device.barrier()
    return _prepare(config, folder)


def _prepare(config: RunConfig, folder: Path) -> Prepared:
    source = of_config(config.data)
    before = read_json(folder / DATA)
    check_unchanged(source, before)
    if isinstance(config.modality, TextConfig):
        return _prepare_text(config, folder, source, before)
    return _prepare_items(config, folder, source, before)


def _outside(config: RunConfig, source: Source) -> Outside:
    """Return what must stay outside of the pool.

    Raises:
        ConfigError: `data.exclude` would not be heeded.
        UsageError: the excluded data or the groups cannot be read.
    """
    data = config.data
    if data.exclude is not None and not data.apart:
        raise ConfigError("data.exclude needs data.apart=true, which finds what is like it.")
    excluded = None if data.exclude is None else find(data.exclude, data.kind)
    if data.group is None:
        return Outside(data.apart, excluded)
    groups = groups_of(source, data.path, data.group)
    return Outside(data.apart, excluded, groups, data.group)


def _prepare_items(
    config: RunConfig, folder: Path, source: Source, before: dict[str, Any]
) -> Prepared:
    for name in ("mix", "near_duplicates", "languages", "quality"):
        value = getattr(config.data, name)
        if value != DataConfig.model_fields[name].default:
            raise ConfigError(
                f"data.{name}={value!r} is for text, and {config.data.path} holds "
                f"{config.data.kind}. Leave it out."
            )
    modality = build_modality(config, folder)
    pool, held_out, record = _split(config, folder, source, before)
    quarantine = folder / "quarantine.jsonl"
    most = KEPT_LOGS if source.kind == "series" else KEPT_BYTES
    keep = 0 if config.loop.workers else most
    samples = Pool(source, modality, pool, config.data.bad_budget, quarantine, keep)
    _enough(len(pool), config, source)
    keep_examples(samples, modality)
    # With nothing held out, the pool's own samples still show collapse.
    aside = held_out if len(held_out) >= 16 else pool
    watching = Pool(source, modality, aside[:WATCHED], config.data.bad_budget, quarantine)
    watched = plain_batch(watching, modality, list(range(len(watching))))
    return Prepared(samples, modality, watched, None, record)


def keep_examples(samples: Samples, modality: Modality) -> None:
    """Hand a modality the samples of the pool that it wants to keep, spread over it."""
    if modality.num_examples:
        places = np.linspace(0, len(samples) - 1, min(modality.num_examples, len(samples)))
        modality.keep(plain_batch(samples, modality, np.unique(places.astype(int)).tolist()))


def _split(
    config: RunConfig, folder: Path, source: Source, before: dict[str, Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, Any]]:
    from unlabeled.data.split import split

    place = folder / "data"
    if before and (place / "held_out.npy").exists():
        pool = np.load(place / "pool.npy", allow_pickle=False)
        return pool, np.load(place / "held_out.npy", allow_pickle=False), before
    outside = _outside(config, source)
    share, seed = config.data.held_out, config.loop.seed
    parts = split(source, share, config.data.deduplicate, seed, outside.groups)
    left = apart(source, parts.pool, parts.held_out, outside, Sketchbook(folder / LOOKS))
    pool = left.pool
    place.mkdir(parents=True, exist_ok=True)
    np.save(place / "pool.npy", pool, allow_pickle=False)
    np.save(place / "held_out.npy", parts.held_out, allow_pickle=False)
    record = {
        "path": config.data.path,
        "kind": config.data.kind,
        "fingerprint": source.fingerprint,
        "samples": len(source),
        "pool": len(pool),
        "held_out": len(parts.held_out),
        "duplicates": parts.duplicates,
        **left.record(outside, parts.held_out),
    }
    write_json(folder / DATA, record)
    return pool, parts.held_out, record


def _prepare_text(
    config: RunConfig, folder: Path, source: Source, before: dict[str, Any]
) -> Prepared:
    from unlabeled.data.text import prepare_text

    assert isinstance(config.modality, TextConfig)
    train, held_out, modality, statistics = prepare_text(
        source,
        config.modality,
        folder,
        config.loop.seed,
        config.data.held_out,
        config.data.bad_budget,
        _wanted(config.data),
        [(find(path, config.data.kind), share) for path, share in config.data.mix.items()],
        _outside(config, source),
    )
    record = before or {
        "path": config.data.path,
        "kind": "text",
        "fingerprint": source.fingerprint,
        "samples": len(source),
        "pool": len(train),
        "held_out": len(held_out),
        **{k: v for k, v in statistics.items() if isinstance(v, int | float | str)},
    }
    if not before:
        write_json(folder / DATA, record)
    samples = Pool(train, modality, np.arange(len(train)), 0.0, None)
    _enough(len(train), config, source)
    aside = held_out if len(held_out) >= 16 else train
    watching = Pool(aside, modality, np.arange(min(len(aside), WATCHED // 4)), 0.0, None)
    watched = plain_batch(watching, modality, list(range(len(watching))))
    scored: Tensor | None = watched
    if aside is not held_out:  # the features may be the pool's; what they cost may not
        few = Pool(held_out, modality, np.arange(len(held_out)), 0.0, None)
        scored = plain_batch(few, modality, list(range(len(held_out)))) if len(few) else None
    unigram = statistics.get("unigram_entropy")
    return Prepared(samples, modality, watched, unigram, record, scored)


def _wanted(data: DataConfig) -> Wanted:
    """Return which documents a configuration asks for."""
    return Wanted(data.deduplicate, data.near_duplicates, data.languages, data.quality == "gopher")


def _enough(count: int, config: RunConfig, source: Source) -> None:
    if count < 2:
        raise DataError(
            f"{config.data.path} leaves {count} usable samples of {len(source)} after duplicates "
            "and held-out ones; pre-training needs at least 2, and hundreds to be of use."
        )
