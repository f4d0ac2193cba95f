"""A folder that timm and transformers open without this package.

``timm.create_model("local-dir:FOLDER", pretrained=True, num_classes=0)``,
``AutoModel.from_pretrained(FOLDER)`` and ``AutoImageProcessor.from_pretrained(FOLDER)`` give the
same features. The entry ``unlabeled`` of ``config.json`` holds what only we need.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from unlabeled.encoders import stem
from unlabeled.encoders.blueprint import Blueprint
from unlabeled.errors import UsageError

WEIGHTS = "model.safetensors"


def write(folder: Path, model: nn.Module, blueprint: Blueprint) -> None:
    """Write ``config.json``, ``model.safetensors`` and a card."""
    folder.mkdir(parents=True, exist_ok=True)
    state = dict(model.state_dict())
    if blueprint.small_stem:
        state = stem.unfold(state)
    save_file(
        {name: x.detach().cpu().contiguous() for name, x in state.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},  # transformers asks for it
    )
    config = describe(model, blueprint)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(config), encoding="utf-8")


def describe(model: Any, blueprint: Blueprint) -> dict[str, Any]:
    """Return ``config.json``."""
    args, size = dict(blueprint.model_args), blueprint.size
    if blueprint.channels != 3:
        args["in_chans"] = blueprint.channels
    if blueprint.small_stem:
        args["replace_stem_pool"] = True
        size *= stem.ENLARGED
    library: dict[str, Any] = model.pretrained_cfg
    return {
        "architecture": blueprint.architecture,
        "num_classes": 0,
        "num_features": model.num_features,
        "model_args": args,
        "pretrained_cfg": {
            "input_size": [blueprint.channels, size, size],
            "fixed_input_size": bool(library.get("fixed_input_size", False)),
            "interpolation": "box" if blueprint.small_stem else "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": list(blueprint.mean),
            "std": list(blueprint.std),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": library.get("first_conv"),
            "classifier": library.get("classifier"),
            "custom_load": False,
        },
        "unlabeled": {
            "model_args": blueprint.model_args,
            "small_stem": blueprint.small_stem,
            "size": blueprint.size,
            "kind": blueprint.kind,
        },
    }


def read(folder: Path) -> Blueprint:
    """Read the blueprint of a folder that we or timm wrote.

    Raises:
        UsageError: the configuration is damaged.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        cfg = config["pretrained_cfg"]
        args = {k: v for k, v in config.get("model_args", {}).items() if k not in _OURS}
        own = {"model_args": args, "small_stem": False, "size": cfg["input_size"][1]}
        note = dict(config.get("unlabeled") or {})
        own.update({key: note[key] for key in (*own, "kind") if key in note})
        return Blueprint(
            architecture=config["architecture"],
            mean=tuple(cfg["mean"]),
            std=tuple(cfg["std"]),
            **own,
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise UsageError(f"{path} does not describe a timm network: {error!r}.") from None


_OURS = ("num_classes", "in_chans")
"""Arguments that this package gives itself."""


def _card(config: dict[str, Any]) -> str:
    """Return a model card that a run can add its results to."""
    size = config["pretrained_cfg"]["input_size"][1]
    own = config["unlabeled"]
    enlarged = ""
    if own["small_stem"]:
        enlarged = (
            f"\nIt was trained on images of {own['size']} pixels with a 3x3 stem. timm has no "
            f"such stem, so the weights are written for the same images enlarged to {size} "
            f"pixels by repeating pixels (box interpolation); the transform below does that. "
            f"Features are the same.\n"
        )
    return f"""---
library_name: timm
pipeline_tag: image-feature-extraction
tags: [self-supervised, unlabeled]
---
# {config["architecture"]}, pre-trained without labels

Features of width {config["num_features"]} for images of {size} x {size} pixels.
{enlarged}
```python
import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True, num_classes=0).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
features = model(transform(image)[None])
```

```python
from transformers import AutoImageProcessor, AutoModel

model = AutoModel.from_pretrained("FOLDER")
processor = AutoImageProcessor.from_pretrained("FOLDER")
features = model(**processor(image)).pooler_output
```
"""
