"""Folders in transformers' format: opened offline and without pickle, and written."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

from unlabeled.errors import UsageError
from unlabeled.tensors import check_file


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the library from drawing bars and listing heads that are left out on purpose."""
    logging = transformers.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def read(folder: Path, kind: Any, **options: Any) -> Any:
    """Open a model in fp32.

    Args:
        folder: config.json and safetensors.
        kind: the library's class, such as `AutoModel`.
        **options: further ones of its `from_pretrained`.

    Raises:
        UsageError: it holds no safetensors.
        DataError: their header claims what cannot be.
    """
    files = list(folder.glob("*.safetensors"))
    if not files:
        raise UsageError(f"{folder} holds no .safetensors; other formats can run code.")
    for path in files:
        check_file(path)
    with quiet():
        return kind.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, dtype=torch.float32, **options
        )


def write(folder: Path, model: Any, **noted: Any) -> None:
    """Write config.json and model.safetensors; the model stays as it is.

    Args:
        folder: where.
        model: of the library.
        **noted: what the configuration that is written says beside the model's own.
    """
    own = model.config
    model.config = copy.deepcopy(own)
    for name, value in ({"architectures": [type(model).__name__]} | noted).items():
        setattr(model.config, name, value)
    try:
        with quiet():
            model.save_pretrained(str(folder))
    finally:
        model.config = own
