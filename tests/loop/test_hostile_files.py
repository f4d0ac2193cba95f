"""Weights, checkpoints and configurations from elsewhere run nothing: rows X1 and X6."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.loop.running import small_config, train
from unlabeled import config, encoders
from unlabeled.checkpoint import MANIFEST, STATE, newest
from unlabeled.config import EncoderConfig, ImageConfig
from unlabeled.errors import UnlabeledError, UsageError
from unlabeled.runs import Run


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Return the folder that a payload would make."""
    return tmp_path / "payload-ran"


WRITERS: dict[str, Callable[[Path, Payload], object]] = {
    "model.pt": lambda path, payload: torch.save(payload, path),
    "model.pth": lambda path, payload: path.write_bytes(pickle.dumps(payload)),
    "pytorch_model.bin": lambda path, payload: torch.save({"w": payload}, path),
    "model.safetensors": lambda path, payload: path.write_bytes(pickle.dumps(payload)),
    "model.pkl": lambda path, payload: path.write_bytes(pickle.dumps(payload)),
}


def test_the_payload_works_where_pickles_are_read(mark: Path) -> None:
    """A test that could not fail would show nothing."""
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("folder", [True, False])
def test_weights_to_start_from_are_never_unpickled(
    name: str, folder: bool, tmp_path: Path, mark: Path
) -> None:
    place = tmp_path / "weights"
    place.mkdir()
    WRITERS[name](place / name, Payload(mark))
    (place / "config.json").write_text('{"architecture": "resnet18", "model_type": "bert"}')
    init = str(place if folder else place / name)
    with pytest.raises(UnlabeledError):
        encoders.build(
            EncoderConfig(name="timm:resnet18", small_stem=True, init=init), ImageConfig()
        )
    with pytest.raises(UnlabeledError):
        encoders.build(EncoderConfig(name="hf:bert-1x32h2", init=init), config.TextConfig(), 100)
    assert not mark.exists()


@pytest.mark.parametrize("name", WRITERS)
def test_an_encoder_folder_with_a_pickle_is_refused(name: str, tmp_path: Path, mark: Path) -> None:
    WRITERS[name](tmp_path / name, Payload(mark))
    (tmp_path / "config.json").write_text('{"architecture": "resnet18", "model_type": "bert"}')
    with pytest.raises(UnlabeledError):
        encoders.load(tmp_path)
    assert not mark.exists()


def test_a_checkpoint_that_is_a_pickle_is_damaged(tmp_path: Path, mark: Path) -> None:
    """Even with a manifest that agrees with it."""
    import hashlib

    data = pickle.dumps(Payload(mark))
    place = tmp_path / "step-00000001"
    place.mkdir()
    (place / STATE).write_bytes(data)
    digest = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (place / MANIFEST).write_text(json.dumps({"step": 1, "files": {STATE: digest}}))
    with pytest.raises(UnlabeledError, match="damaged"):
        newest(tmp_path)
    assert not mark.exists()


def test_a_run_folder_with_pickled_arrays_is_refused(
    tmp_path: Path, mark: Path, image_folder: Path
) -> None:
    run = train(tmp_path / "run", small_config("mae", image_folder, steps=2))
    array = np.empty(1, object)
    array[0] = Payload(mark)
    np.save(run / "data" / "pool.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        Run.open(run).pool_indices()
    shutil.rmtree(mark, ignore_errors=True)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("_target_ = 'os.system'", "_target_"),
        ("[data]\npath = 'x'\nkind = '!!python/object/apply:os.system'", "data.kind"),
        ("[data]\npath = '${oc.env:HOME}'\nkind = 'image'\n[loop]\nstpes = 1", "steps"),
        ("a = " + "[" * 5000, "not a TOML file"),
        ("x" * 2_000_000, "more than 1 MB"),
    ],
)
def test_hostile_configurations_are_data(text: str, sentence: str, tmp_path: Path) -> None:
    """Nothing is interpolated, imported or run; the sentence names the option."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    base = {"encoder": {"name": "timm:resnet18"}, "method": {"name": "simclr"}, "modality": {}}
    with pytest.raises(UnlabeledError) as error:
        config.build({"data": {"path": "x", "kind": "image"}, **base, **config.load(path)})
    assert sentence in str(error.value)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run folder"):
        Run.open(tmp_path)
