"""What is chosen for logs."""

from __future__ import annotations

from typing import Any

import numpy as np

from unlabeled import config as configs
from unlabeled.choices import Chooser, Request
from unlabeled.data.find import find
from unlabeled.look import Look
from unlabeled.methods import catalogue, load

_NETWORKS = {
    "causal": ("hf:llama-2x64h2", "sees what came before"),
    "bidirectional": ("hf:modernbert-2x64h2", "sees both sides"),
    "channels": ("hf:patchtst-2x64h4", "reads channels apart"),
    "feature": ("hf:modernbert-2x64h2", "sees both sides"),
    "tokens": ("hf:modernbert-2x64h2", "sees both sides"),
}


def choose(chooser: Chooser, seen: Look, method: str, request: Request) -> None:
    """Fill in which columns are read, how they are normalised, and which network learns."""
    configs.check_section("modality", chooser.tree.get("modality", {}), configs.SeriesConfig)
    measured: Any = seen.details
    asked = chooser.tree.get("modality", {})
    for part in ("observations", "actions"):
        names = list(getattr(measured, part))
        chooser.choose("modality", part, names, f"{len(names)} columns of numbers, by their names")
    names = [*asked.get("observations", ()), *asked.get("actions", ())] or [
        *chooser.tree["modality"]["observations"], *chooser.tree["modality"]["actions"],
    ]  # fmt: skip
    data, loop = chooser.tree["data"], chooser.tree.get("loop", {})
    share = float(data.get("held_out", configs.DataConfig.model_fields["held_out"].default))
    if data.get("group"):
        source = find(data["path"], "series", data.get("column"), data.get("window"))
        measured = measured.grouped(source, data["path"], data["group"])
    found = measured.over_pool(names, share, int(loop.get("seed", 0)))
    for part, values in found.items():
        rounded = [float(f"{value:.5g}") for value in np.asarray(values)]
        chooser.choose("modality", part, rounded, "measured on the pre-training pool alone")
    chooser.choose("modality", "length", max(4, seen.size), "19 of 20 samples fit")
    chooser.choose("encoder", "name", *_NETWORKS[catalogue.describe(method).needs])
    if load(method).recipe.get("name") == "sgd":
        chooser.choose("optim", "name", "adamw", "a transformer hardly learns by sgd")
    most = 12 if catalogue.describe(method).needs == "channels" else 8
    chooser.choose("encoder", "patch", max(1, min(most, seen.size // 16)), "steps a token")
