"""Safetensors files from elsewhere: what they claim is checked before the library reads them.

A header of 80 MB is within the library's own limit and costs it a minute and gigabytes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from unlabeled.errors import DataError

HEADER_CAP = 16 * 1024 * 1024
"""Bytes that a header may have."""


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Load a safetensors file, refusing hostile headers first.

    Raises:
        DataError: it is not a safetensors file, or its header is out of bounds.
    """
    check_file(path)
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise _refusal(path, error) from None


def check_file(path: Path) -> None:
    """Check the header of a safetensors file without reading its tensors.

    Raises:
        DataError: it is not a safetensors file, or its header is out of bounds.
    """
    try:
        with path.open("rb") as file:
            check_header(file.read(8 + HEADER_CAP), path.stat().st_size)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is not a usable safetensors file: {error}. Pickled weights "
        "(.pt, .pth, .bin) are never opened; convert them to safetensors first."
    )


def check_header(start: bytes, size: int) -> None:
    """Refuse a safetensors header that is too long or claims more than the file holds.

    Raises:
        ValueError: with the reason.
    """
    if len(start) < 8:
        raise ValueError("it is shorter than a header")
    (length,) = struct.unpack("<Q", start[:8])
    if length > HEADER_CAP or 8 + length > size:
        raise ValueError(f"its header claims {length} bytes")
    header = json.loads(start[8 : 8 + length])
    if not isinstance(header, dict) or len(header) > 100_000:
        raise ValueError("its header is no table of at most 100,000 tensors")
    ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        raise ValueError("its size is not what its header says")
