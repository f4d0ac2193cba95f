"""What a person excludes is not trained on, or the run does not begin."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.loop.running import small_config

from unlabeled.config import RunConfig
from unlabeled.data.find import find
from unlabeled.errors import ConfigError
from unlabeled.prepare import prepare


def excluding(method: str, folder: Path, other: Path, **data: object) -> RunConfig:
    config = small_config(method, folder)
    update = {"exclude": str(other), "held_out": 0.0, **data}
    return config.model_copy(update={"data": config.data.model_copy(update=update)})


def test_copies_of_excluded_images_are_not_trained_on(image_folder: Path, tmp_path: Path) -> None:
    files = sorted(image_folder.rglob("*.png"))
    (tmp_path / "test").mkdir()
    shutil.copy(files[3], tmp_path / "test" / "same.png")
    with Image.open(files[40]) as image:  # a little brighter, in another format
        pixels = np.asarray(image.convert("RGB")).astype(int)
    brighter = np.clip(pixels + 4, 0, 255).astype(np.uint8)
    Image.fromarray(brighter).save(tmp_path / "test" / "brighter.bmp")
    config = excluding("simclr", image_folder, tmp_path / "test")
    made = prepare(config, tmp_path / "run")
    pool = np.load(tmp_path / "run" / "data" / "pool.npy")
    names = {find(str(image_folder)).name(int(i)) for i in pool}
    assert str(files[3].relative_to(image_folder)) not in names
    assert str(files[40].relative_to(image_folder)) not in names
    assert made.record["near_held_out"] >= 2
    assert len(pool) > 0.5 * len(files)


def test_what_cannot_be_excluded_is_refused(
    image_folder: Path, text_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="cannot be heeded for text"):
        prepare(excluding("bert", text_folder, text_folder), tmp_path / "text")
    with pytest.raises(ConfigError, match=r"needs data\.apart=true"):
        prepare(excluding("simclr", image_folder, image_folder, apart=False), tmp_path / "images")
