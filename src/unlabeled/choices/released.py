"""What is chosen where training starts from weights, so that it does not ruin them.

The heads of a method begin at random, and their first gradients tear at an encoder that was good
(dinov2's issue 204: k-NN fell from 80 % to 10 % within 30,000 images). So the encoder waits for
the heads, learns slowly and its first layers slowest, and a teacher begins as the weights and
follows slowly. `watch` reports how far features have drifted, and `health` warns.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlabeled.choices import Chooser
from unlabeled.look import Look
from unlabeled.methods import catalogue

RATE, HOLD, LAYER_DECAY, MOMENTUM = 0.1, 0.1, 0.75, 0.999
_LEAST_SIDE = 7


@dataclass(frozen=True)
class Made:
    """What a folder says of the network whose weights it holds.

    Args:
        name: timm's.
        args: what timm is told beside the name.
        small_stem: whether its stem is for small images.
        size: edge of its input in pixels.
        mean: per channel.
        std: per channel.
    """

    name: str
    args: dict[str, Any]
    small_stem: bool
    size: int
    mean: list[float]
    std: list[float]

    @property
    def patch(self) -> int | None:
        """Return the edge of a patch, where its arguments or its name tell."""
        named = re.search(r"patch(\d+)", self.name)
        given = self.args.get("patch_size") or (named and named[1])
        return int(given) if given else None


def read(chooser: Chooser) -> Made | None:
    """Return what the folder of `encoder.init` says; None where it says nothing."""
    init = chooser.tree.get("encoder", {}).get("init")
    path = Path(str(init)) / "config.json"
    if init is None or not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cfg, own = content["pretrained_cfg"], content.get("unlabeled", {})
        return Made(
            str(content["architecture"]),
            dict(own.get("model_args") or content.get("model_args") or {}),
            bool(own.get("small_stem", False)),
            int(own.get("size") or cfg["input_size"][1]),
            [float(v) for v in cfg["mean"]],
            [float(v) for v in cfg["std"]],
        )
    except (KeyError, TypeError, ValueError, OSError):
        return None


def choose(chooser: Chooser, made: Made, seen: Look) -> None:
    """Choose the weights' own network, its patches, and a size and scale that fit them."""
    own = "the weights' own"
    asked = chooser.tree.get("encoder", {}).get("name", "")
    if asked and asked.removeprefix("timm:") != made.name:
        return  # the encoder will say that they do not fit
    chooser.choose("encoder", "name", f"timm:{made.name}", own)
    if made.small_stem:
        chooser.choose("encoder", "small_stem", True, own)
    patch = chooser.tree["encoder"].get("patch") or made.patch
    if patch and made.name.startswith(("vit", "deit", "eva")):
        chooser.choose("encoder", "patch", patch, own)
    shape = ("img_size", "patch_size", "global_pool", "fc_norm", "use_fc_norm", "dynamic_img_size")
    options = {k: v for k, v in made.args.items() if k not in (*shape, "in_chans", "num_classes")}
    if options:
        chooser.choose("encoder", "options", options, own)
    if "global_pool" in made.args:
        chooser.choose("encoder", "pool", made.args["global_pool"], own)
    size, why = _size(made.size, patch, seen.size)
    chooser.choose("modality", "size", size, why)
    if seen.channels == len(made.mean) and "low" not in seen.settings:
        chooser.choose("modality", "mean", made.mean, "as the weights were trained")
        chooser.choose("modality", "std", made.std, "as the weights were trained")


def _size(own: int, patch: int | None, seen: int) -> tuple[int, str]:
    """Return the edge of the input: that of the weights, less where images are smaller."""
    if seen >= own or patch is None:
        return own, "the weights' own"
    side = max(_LEAST_SIDE, -(-seen // patch))
    return min(own, side * patch), f"{side} patches of the weights a side; images are small"


def spare(chooser: Chooser, method: str) -> None:
    """Choose a gentle start."""
    chooser.rate = RATE
    chooser.rate_reason = ", a tenth of it so as to spare the weights"
    chooser.choose("optim", "hold", HOLD, "the heads settle before the weights move")
    chooser.choose("optim", "layer_decay", LAYER_DECAY, "first layers change least")
    named = {option.name for option in catalogue.describe(method).options}
    if "momentum" in named:
        chooser.choose("method", "momentum", MOMENTUM, "the teacher begins as the weights")
