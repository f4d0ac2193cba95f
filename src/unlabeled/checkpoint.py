"""Checkpoints that survive a kill, a full disk and a flipped bit.

A checkpoint is a folder ``step-00000200`` with ``state.safetensors`` and ``manifest.json``.
It is written under another name in the same folder, flushed to disk, and renamed; only then are
older ones removed. The newest whose sizes and SHA-256 agree is used; damaged ones are renamed.
Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from unlabeled.errors import DataError, WriteError
from unlabeled.tensors import HEADER_CAP, check_header

STATE = "state.safetensors"
MANIFEST = "manifest.json"
_PREFIX = "step-"


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: named tensors and a JSON record."""

    step: int
    tensors: dict[str, Tensor]
    record: dict[str, Any]


def save(
    folder: Path, step: int, tensors: Mapping[str, Tensor], record: Mapping[str, Any], keep: int
) -> Path:
    """Write a checkpoint and remove all but the newest `keep`.

    Raises:
        WriteError: the disk is full or read-only; older checkpoints are untouched.
    """
    final = folder / f"{_PREFIX}{step:08d}"
    draft = folder / f".tmp-{os.getpid()}-{step}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        draft.mkdir()
        data = safetensors.torch.save({k: v.contiguous() for k, v in tensors.items()})
        _write(draft / STATE, data)
        manifest = {**record, "step": step, "files": {STATE: _digest(data)}}
        _write(draft / MANIFEST, json.dumps(manifest, indent=1).encode())
        _flush_folder(draft)
        if final.exists():
            final.rename(_free_name(folder, f"damaged-{final.name}"))
        draft.rename(final)
        _flush_folder(folder)
    except (OSError, safetensors.SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise WriteError(
            f"The checkpoint of step {step} could not be written to {folder}: {error}. "
            "Older checkpoints are untouched; free some space."
        ) from error
    for old in steps(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def steps(folder: Path) -> list[Path]:
    """Return the checkpoints in `folder`, oldest first, without checking them."""
    return sorted(p for p in folder.glob(f"{_PREFIX}*") if p.is_dir())


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Load the newest checkpoint that is whole; set damaged ones aside.

    Returns:
        The checkpoint, or None where there has never been one, and a sentence for each one
        that was set aside.

    Raises:
        DataError: there are checkpoints and all are damaged.
    """
    said: list[str] = []
    found = steps(folder)
    for path in reversed(found):
        try:
            return read(path), said
        except DataError as error:
            aside = _free_name(folder, f"damaged-{path.name}")
            path.rename(aside)
            said.append(f"{error} It was set aside as {aside.name}.")
    if found or list(folder.glob("damaged-*")):
        raise DataError(
            f"All checkpoints in {folder} are damaged, so the run cannot go on. "
            f"{' '.join(said)} Start a new run, or restore a checkpoint from a backup."
        )
    return None, said


def read(path: Path) -> Checkpoint:
    """Load one checkpoint after checking it.

    Raises:
        DataError: a file is missing, of another size, or its SHA-256 differs.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        data = (path / STATE).read_bytes()
        if _digest(data) != manifest["files"][STATE]:
            raise DataError(f"Checkpoint {path.name} is damaged: {STATE} is not what was written.")
        check_header(data[: 8 + HEADER_CAP], len(data))
        tensors = safetensors.torch.load(data)
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise DataError(f"Checkpoint {path.name} is damaged: {error}.") from None
    return Checkpoint(int(manifest["step"]), tensors, manifest)


def _digest(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove drafts that a killed process left."""
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def _free_name(folder: Path, name: str) -> Path:
    number, path = 0, folder / name
    while path.exists():
        number += 1
        path = folder / f"{name}.{number}"
    return path
