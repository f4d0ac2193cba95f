"""Data for the runs that are made to collapse."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import draw_image


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 256 images, for batches of 32."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(256):
        Image.fromarray(draw_image(number)).save(folder / f"{number}.png")
    return folder
