"""A run folder: the only truth about a run. Everything else is derived from it."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import config as configs
from unlabeled.config import RunConfig, TextConfig
from unlabeled.errors import BusyError, DataError, UsageError, WriteError, nearest
from unlabeled.journal import read_json, read_lines
from unlabeled.kinds import part

if TYPE_CHECKING:
    from unlabeled.checkpoint import Checkpoint
    from unlabeled.data.find import Source
    from unlabeled.data.tokens import TokenRows
    from unlabeled.encoders.base import Encoder
    from unlabeled.method import Method
    from unlabeled.modalities.base import Modality

CONFIG, INFO, DATA = "config.toml", "run.json", "data.json"


@dataclass(frozen=True)
class Run:
    """A run folder that exists, opened for reading.

    Args:
        folder: the run folder.
        config: its resolved configuration.
        column: the column of labels that it is studied by or learns, where there are several.
        memory: features that have been computed for other columns, as `transfer` keeps them.
    """

    folder: Path
    config: RunConfig
    column: str = ""
    memory: Any = None

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open a run folder.

        Raises:
            UsageError: it does not exist or is no run folder.
        """
        path = Path(folder)
        if not path.is_dir():
            siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            raise UsageError(f"{folder} does not exist.{nearest(path.name, siblings)}")
        if not (path / CONFIG).is_file():
            raise UsageError(
                f"{folder} is not a run folder: it has no {CONFIG}. "
                "`unlabeled runs` lists run folders; `unlabeled pretrain DATA` makes one."
            )
        return cls(path, configs.build(configs.load(path / CONFIG)))

    @property
    def info(self) -> dict[str, Any]:
        """Return run.json as it is now."""
        return read_json(self.folder / INFO)

    @property
    def data(self) -> dict[str, Any]:
        """Return data.json: what was found, dropped and held out."""
        return read_json(self.folder / DATA)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of the training journal."""
        return read_lines(self.folder / "metrics.jsonl")

    def health(self) -> list[dict[str, Any]]:
        """Return the lines of the health journal."""
        return read_lines(self.folder / "health.jsonl")

    @property
    def studies(self) -> Path:
        """Return the folder of what labels said: RUN/evaluate, or a folder of the column there."""
        return _of_column(self.folder / "evaluate", self.column)

    @property
    def classifier(self) -> Path:
        """Return the folder of what `finetune` made: RUN/finetune, or that of the column there."""
        return _of_column(self.folder / "finetune", self.column)

    def for_column(self, name: str) -> Run:
        """Return the same run, with one column of several as its labels."""
        return replace(self, column=name)

    def with_windows(self, count: int | None) -> Run:
        """Return the same run, whose documents are read in at most `count` windows; None: as is.

        Raises:
            UsageError: it is not a run of text.
        """
        if count is None:
            return self
        read = self.config.modality
        if not isinstance(read, TextConfig):
            raise UsageError(
                f"Windows are pieces of documents, and {self.folder} is a run of "
                f"{self.config.data.kind}. Leave --windows out."
            )
        changed = read.model_copy(update={"windows": count})
        return replace(self, config=self.config.model_copy(update={"modality": changed}))

    def modality(self) -> Modality:
        """Return the modality, with its tokenizer for text."""
        return build_modality(self.config, self.folder)

    def encoder(self) -> Encoder:
        """Return the exported encoder in eval mode.

        Raises:
            UsageError: the run has not saved an encoder yet.
        """
        from unlabeled import encoders

        if not (self.folder / "encoder").is_dir():
            raise UsageError(
                f"{self.folder} has no encoder yet: its run is "
                f"{self.info.get('status', 'unfinished')}. Continue it with "
                f"`unlabeled resume {self.folder}`."
            )
        encoder = encoders.load(self.folder / "encoder")
        encoder.eval()
        return encoder

    def fresh(self, seed: int) -> Encoder:
        """Return the same network as at the start of a run with `seed`."""
        return build_encoder(self.config, self.modality(), seed)

    def untrained(self, seed: int) -> Encoder:
        """Return the `fresh` network with all its blocks open, for features beside ours.

        A residual network is built with its branches shut (their last scale is zero), so that it
        trains well. Not trained, it would look at a few pixels through its shortcuts alone: a
        rival of straw.
        """
        encoder = self.fresh(seed)
        encoder.open_branches()
        return encoder

    def method(self, saved: Checkpoint | None = None) -> Method:
        """Return the whole method as of a checkpoint, the newest by default, in eval mode."""
        from unlabeled import checkpoint

        method = build_method(self.config, self.modality())
        if saved is None:
            saved, _ = checkpoint.newest(self.folder / "checkpoints")
        if saved is None:
            raise UsageError(f"{self.folder} has no checkpoint yet.")
        load_method(method, saved.tensors)
        method.eval()
        return method

    @cached_property
    def _source(self) -> Source:
        from unlabeled.data.find import of_config

        source = of_config(self.config.data)
        check_unchanged(source, self.data)
        return source

    def source(self) -> Source:
        """Return the data that the run was made from.

        Raises:
            DataError: it is not what it was.
        """
        return self._source

    def pool_indices(self) -> NDArray[np.int64]:
        """Return the indices of samples that were pre-trained on (not of older runs of text)."""
        return np.asarray(np.load(self.folder / "data" / "pool.npy", allow_pickle=False))

    def held_out_indices(self) -> NDArray[np.int64]:
        """Return the indices of samples kept out of pre-training (not of older runs of text)."""
        return np.asarray(np.load(self.folder / "data" / "held_out.npy", allow_pickle=False))

    def rows(self, part: str, which: str = "") -> TokenRows:
        """Return the token rows of ``train`` or ``held_out`` (text), or of a text of data.mix."""
        from unlabeled.data.text import open_rows

        assert isinstance(self.config.modality, TextConfig)
        both = open_rows(self.folder, self.config.modality.length, self.config.loop.seed, which)
        return both[("train", "held_out").index(part)]


def check_unchanged(source: Source, record: Mapping[str, Any]) -> None:
    """Refuse data that differs from what a run was started on.

    Raises:
        DataError: with both counts.
    """
    before = record.get("fingerprint")
    if before is not None and before != source.fingerprint:
        raise DataError(
            f"The data changed since the run began: it had {record.get('samples')} samples, "
            f"now {len(source)}, or their names or sizes differ. Restore it, or start a new run."
        )


def build_modality(config: RunConfig, folder: Path) -> Modality:
    """Return the modality that a configuration names."""
    made: Modality = part(config.data.kind, "modality").of_run(config, folder)
    return made


def build_encoder(config: RunConfig, modality: Modality, seed: int) -> Encoder:
    """Return a fresh encoder whose weights depend on `seed` alone."""
    import torch

    from unlabeled import encoders

    added: dict[int, list[int]] = getattr(modality, "pieces", {})
    vocab_size: Any = getattr(modality, "vocab_size", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not added:
            return encoders.build(config.encoder, config.modality, vocab_size)
        made: Any = encoders.build(config.encoder, config.modality, vocab_size - len(added))
        made.extend(added)
        encoder: Encoder = made
        return encoder


def build_method(config: RunConfig, modality: Modality) -> Method:
    """Return a fresh method; its weights depend on the seed alone.

    Raises:
        ConfigError: the method cannot work with this encoder or kind of data.
    """
    import torch

    from unlabeled.methods import load

    encoder = build_encoder(config, modality, config.loop.seed)
    kind = load(config.method["name"])
    options = kind.Config(**{k: v for k, v in config.method.items() if k != "name"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.loop.seed + 1)
        return kind(options, encoder, modality)


def load_method(method: Method, tensors: Mapping[str, Any]) -> None:
    """Restore a method's parameters and buffers from a checkpoint's tensors.

    Raises:
        DataError: names or shapes are not those of this method.
    """
    found = {k.removeprefix("method."): v for k, v in tensors.items() if k.startswith("method.")}
    try:
        result = method.load_state_dict(found, strict=False)
    except RuntimeError as error:
        raise DataError(f"The checkpoint does not fit this method: {error}") from None
    missing = set(result.missing_keys) - set(shared_names(method))
    if missing or result.unexpected_keys:
        raise DataError(
            f"The checkpoint does not fit this method: {len(missing)} tensors are missing and "
            f"{len(result.unexpected_keys)} are unknown "
            f"(first: {sorted([*missing, *result.unexpected_keys])[0]})."
        )


def shared_names(method: Method) -> list[str]:
    """Return the names of tensors that are another one's memory (tied weights)."""
    seen: dict[tuple[int, tuple[int, ...]], str] = {}
    shared = []
    for name, tensor in method.state_dict(keep_vars=True).items():
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and place in seen:
            shared.append(name)
        seen.setdefault(place, name)
    return shared


def _of_column(place: Path, column: str) -> Path:
    return place / "columns" / re.sub(r"[^\w.-]", "_", column) if column else place


class Lock:
    """Holds a run folder for one process, by a POSIX lock that workers do not inherit."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            BusyError: another process holds it.
            WriteError: the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise WriteError(f"{folder} cannot be written: {error.strerror}.") from None
        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._handle)
            raise BusyError(
                f"Another process is working in {folder}. Wait for it, or choose another --out."
            ) from None

    def release(self) -> None:
        """Give the folder back."""
        os.close(self._handle)
