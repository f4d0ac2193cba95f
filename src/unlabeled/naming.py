"""Names of run folders."""

from __future__ import annotations

import re
from pathlib import Path

from unlabeled.config import RunConfig


def free_folder(parent: Path, stem: str) -> Path:
    """Return ``parent/stem-01``, or with the first higher number that is not taken."""
    clean = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "run"
    number = 1
    while (parent / f"{clean}-{number:02d}").exists():
        number += 1
    return parent / f"{clean}-{number:02d}"


def run_folder(config: RunConfig, parent: Path = Path("runs")) -> Path:
    """Return a free folder named after the data and the method, such as ``runs/photos-mae-01``."""
    return free_folder(parent, f"{Path(config.data.path).stem}-{config.method['name']}")
