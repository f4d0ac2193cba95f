"""Choices that depend on the data and the machine, made once, each with its reason."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlabeled import config as configs
from unlabeled import presets
from unlabeled.choices import DEFAULT_SECONDS, Choice, Chooser, Request, short
from unlabeled.config import RunConfig
from unlabeled.data.find import Source, find
from unlabeled.errors import ConfigError, UsageError
from unlabeled.kinds import KINDS, part, strings
from unlabeled.look import Look, look
from unlabeled.methods import catalogue, tasks


@dataclass(frozen=True)
class Plan:
    """A resolved configuration, how it came about, and the data that it was made for."""

    config: RunConfig
    seconds: float | None
    choices: Sequence[Choice]
    source: Source


def plan(request: Request) -> Plan:
    """Resolve a request.

    Raises:
        UnlabeledError: the data, a name or a value cannot be used; with the sentence to print.
    """
    chooser = Chooser(_asked(request))
    given = chooser.tree.get("data", {})
    source = find(
        request.data, request.kind or given.get("kind"), request.column, given.get("window")
    )
    chooser.tree["data"] = {**given, "path": _lasting(request.data), "kind": source.kind}
    if request.column is not None:
        chooser.tree["data"]["column"] = request.column
    for name in ("exclude", "group"):
        if os.path.exists(str(given.get(name, ""))):
            chooser.tree["data"][name] = _lasting(str(given[name]))
    if given.get("mix"):
        mix = configs.DataConfig.model_validate(chooser.tree["data"]).mix
        chooser.tree["data"]["mix"] = {_lasting(path): share for path, share in mix.items()}
    seen = look(source)
    chooser.choices.append(Choice("data.kind", source.kind, seen.words))
    method = _method(chooser, source, seen, request)
    lead = tasks.lead(method, chooser.tree["method"])
    part(source.kind, "choices")(chooser, seen, lead, request)
    _recipe(chooser, lead, _preset(chooser, method, request), seen)
    seconds = _machine(chooser, request, seen)
    config = configs.build(chooser.tree)
    return Plan(config, seconds, chooser.choices, source)


def _asked(request: Request) -> dict[str, dict[str, Any]]:
    """Merge file and overrides, checking names and ranges of every section."""
    tree: dict[str, dict[str, Any]] = {k: dict(v) for k, v in request.file.items() if k != "format"}
    for section, values in request.overrides.items():
        configs.merge(tree.setdefault(section, {}), values)
    if request.init is not None:
        tree.setdefault("encoder", {})["init"] = request.init
    if request.steps is not None:
        tree.setdefault("loop", {})["steps"] = request.steps
    for section, values in tree.items():
        if section in configs.SECTIONS:
            configs.check_section(section, values, configs.SECTIONS[section])
        elif section not in ("method", "modality"):
            raise UsageError(
                f"There is no section {section}. Sections: "
                f"{', '.join([*configs.SECTIONS, 'modality', 'method'])}."
            )
    return tree


def _lasting(data: str) -> str:
    """Return a path that still holds after changing folders."""
    return data if data.startswith("hf://") else str(Path(data).resolve())


def _method(chooser: Chooser, source: Source, seen: Look, request: Request) -> str:
    """Choose the method and check its options."""
    if request.method is not None:
        chooser.tree.setdefault("method", {})["name"] = request.method
    proposed = KINDS[source.kind].method
    if KINDS[source.kind].propose:
        proposed = part(source.kind, "propose")(seen, chooser.tree) or proposed
    name = str(chooser.choose("method", "name", *proposed))
    options = {k: v for k, v in chooser.tree["method"].items() if k != "name"}
    tasks.check(name, options)
    for task in [name, *tasks.parts(name, options)]:
        kinds = catalogue.describe(task).modalities
        if source.kind not in kinds:
            fits = [n for n in catalogue.names() if source.kind in catalogue.describe(n).modalities]
            raise ConfigError(
                f"{task} works on {' and '.join(kinds)}, but {request.data} holds "
                f"{source.kind}. Methods for {source.kind}: {', '.join(fits)}."
            )
    return name


def _preset(chooser: Chooser, method: str, request: Request) -> presets.Preset | None:
    """Set what suits short runs of a method, where something was found."""
    preset = presets.SHORT.get(method) if short(request) is not None else None
    if preset is not None:
        for name, value in preset.options.items():
            chooser.choose("method", name, value, f"better in short runs ({preset.evidence})")
    return preset


def _most(chooser: Chooser, seen: Look) -> int:
    """Return the largest batch in which no sample stands twice; rows of text have no limit."""
    if strings(seen.kind):
        return sys.maxsize
    share = chooser.tree["data"].get(
        "held_out", configs.DataConfig.model_fields["held_out"].default
    )
    return max(2, int(seen.count * (1 - share)))


def _recipe(chooser: Chooser, method: str, preset: presets.Preset | None, seen: Look) -> None:
    """Take the optimiser from the method's paper, with its rate scaled to the batch."""
    from unlabeled.methods import load

    recipe = dict(load(method).recipe)
    kind = chooser.tree["data"]["kind"]
    samples = "rows" if strings(kind) else KINDS[kind].plural
    batch, why = int(recipe.pop("batch", 256)), f"{samples} a step"
    if (most := _most(chooser, seen)) < batch:  # the rate follows it
        batch, why = most, f"all that is not held out of {seen.count} {samples}"
    batch = int(chooser.choose("loop", "batch", batch, why))
    rule = recipe.pop("lr_rule", "none")
    base = float(recipe.pop("lr", 1e-3))
    source, found = f"{method}'s recipe", preset or presets.Preset()
    better = f"better in short runs ({found.evidence})"
    if found.lr is not None:
        base, source = found.lr, better
    scale = {"linear": batch / 256, "sqrt": (batch / 256) ** 0.5, "none": 1.0}[rule]
    asked = chooser.tree.get("optim", {}).get("name")
    if asked is not None and asked != recipe.get("name", "adamw"):
        recipe, base, scale, rule = {}, configs.OptimConfig().lr, 1.0, "none"
        found = presets.Preset()
    reason = source + (f", {rule} rule at batch {batch}" if rule != "none" else "")
    reason += chooser.rate_reason
    chooser.choose("optim", "lr", float(f"{base * scale * chooser.rate:.4g}"), reason)
    for name, value in found.optim.items():
        chooser.choose("optim", name, value, better)
    for name, value in recipe.items():
        if name not in found.optim:
            chooser.choose("optim", name, value, f"{method}'s recipe")


def _machine(chooser: Chooser, request: Request, seen: Look) -> float | None:
    """Choose precision, threads, workers and length by the machine."""
    from unlabeled import device

    unit, where = device.fast_bf16(), device.device()
    chooser.choose(
        "loop", "precision", "bf16" if unit else "fp32",
        f"{unit} makes bf16 products fast" if unit else "no fast bf16 unit here",
    )  # fmt: skip
    cores = device.cores()
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    threads = max(1, cores // ranks)
    gpu = where.type == "cuda"
    chooser.choose("loop", "threads", threads, f"{cores} cores, {ranks} process(es)")
    workers = min(8, max(0, cores // ranks - 1)) if gpu else 0
    chooser.choose("loop", "workers", workers, "cores beside the GPU" if gpu else "cores train")
    length = min(chooser.tree["loop"]["batch"], seen.count)
    if length < chooser.tree["loop"]["batch"] and not strings(seen.kind):
        chooser.tree["loop"]["batch"] = length
        chooser.choices.append(Choice("loop.batch", length, f"there are only {seen.count} samples"))
    if "steps" in chooser.tree["loop"]:
        return None
    seconds = request.seconds if request.seconds is not None else DEFAULT_SECONDS
    why = "asked for" if request.seconds is not None else "the default budget"
    chooser.choices.append(Choice("time", f"{seconds:.0f} s", f"{why}; steps are measured from it"))
    return seconds
