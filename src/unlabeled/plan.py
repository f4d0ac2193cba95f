"""Choices that depend on the data and the machine, made once, each with its reason."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlabeled import config as configs
from unlabeled import duration, presets
from unlabeled.config import RunConfig
from unlabeled.data.find import Source, find
from unlabeled.errors import ConfigError, UsageError
from unlabeled.look import Look, look
from unlabeled.methods import catalogue

DEFAULT_SECONDS = 600.0


@dataclass(frozen=True)
class Request:
    """What a person asked for; everything absent is chosen.

    Args:
        data: path, list of files, table or ``hf://`` name.
        method: name of the pretext task.
        seconds: budget of the run; steps are measured from it.
        steps: number of steps, instead of a budget.
        kind: ``image`` or ``text``.
        column: column of a table.
        init: local folder with weights to start from.
        overrides: {section: {option: value}}, from ``key=value`` words.
        file: tree of a TOML file, below the overrides.
    """

    data: str
    method: str | None = None
    seconds: float | None = None
    steps: int | None = None
    kind: str | None = None
    column: str | None = None
    init: str | None = None
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    file: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """One thing that was chosen, and why."""

    name: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """A resolved configuration, how it came about, and the data that it was made for."""

    config: RunConfig
    seconds: float | None
    choices: Sequence[Choice]
    source: Source


class Chooser:
    """Fills a tree of options: what was asked wins, the rest is chosen and remembered."""

    def __init__(self, asked: Mapping[str, Mapping[str, Any]]) -> None:
        """Start from what was asked."""
        self.tree: dict[str, dict[str, Any]] = {k: dict(v) for k, v in asked.items()}
        self.choices: list[Choice] = []

    def choose(self, section: str, name: str, value: Any, reason: str) -> Any:
        """Set an option unless it was asked for; returns what holds."""
        options = self.tree.setdefault(section, {})
        if name in options:
            self.choices.append(Choice(f"{section}.{name}", options[name], "asked for"))
            return options[name]
        options[name] = value
        self.choices.append(Choice(f"{section}.{name}", value, reason))
        return value


def plan(request: Request) -> Plan:
    """Resolve a request.

    Raises:
        UnlabeledError: the data, a name or a value cannot be used; with the sentence to print.
    """
    chooser = Chooser(_asked(request))
    given = chooser.tree.get("data", {})
    source = find(request.data, request.kind or given.get("kind"), request.column)
    chooser.tree["data"] = {**given, "path": _lasting(request.data), "kind": source.kind}
    if request.column is not None:
        chooser.tree["data"]["column"] = request.column
    seen = look(source)
    chooser.choices.append(Choice("data.kind", source.kind, seen.words))
    method = _method(chooser, source, request)
    if source.kind == "image":
        _image(chooser, seen, method, request)
    else:
        _text(chooser, seen, method)
    _recipe(chooser, method, _preset(chooser, method, request))
    seconds = _machine(chooser, request, seen)
    config = configs.build(chooser.tree)
    return Plan(config, seconds, chooser.choices, source)


def _asked(request: Request) -> dict[str, dict[str, Any]]:
    """Merge file and overrides, checking names and ranges of every section."""
    tree: dict[str, dict[str, Any]] = {k: dict(v) for k, v in request.file.items() if k != "format"}
    for section, values in request.overrides.items():
        tree.setdefault(section, {}).update(values)
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


def _method(chooser: Chooser, source: Source, request: Request) -> str:
    """Choose the method and check its options."""
    if request.method is not None:
        chooser.tree.setdefault("method", {})["name"] = request.method
    default = {"image": "simclr", "text": "bert"}[source.kind]
    reason = {
        "image": "learns most on a small budget; see docs/results.md",
        "text": "features for labels; choose gpt to generate",
    }[source.kind]
    name = str(chooser.choose("method", "name", default, reason))
    options = {k: v for k, v in chooser.tree["method"].items() if k != "name"}
    card = catalogue.describe(name)
    catalogue.check(name, options)
    if source.kind not in card.modalities:
        fits = [n for n in catalogue.names() if source.kind in catalogue.describe(n).modalities]
        raise ConfigError(
            f"{name} works on {' and '.join(card.modalities)}, but {request.data} holds "
            f"{source.kind}. Methods for {source.kind}: {', '.join(fits)}."
        )
    return name


def _image(chooser: Chooser, seen: Look, method: str, request: Request) -> None:
    card = catalogue.describe(method)
    configs.check_section("modality", chooser.tree.get("modality", {}), configs.ImageConfig)
    size = int(chooser.choose("modality", "size", seen.size, seen.size_reason))
    chooser.choose("modality", "channels", seen.channels, seen.channels_reason)
    chooser.choose("modality", "mean", seen.mean, "measured on a sample of the data")
    chooser.choose("modality", "std", seen.std, "measured on a sample of the data")
    chooser.choose(
        "modality", "blur", size > 64, "blurring helps large images and harms small ones"
    )
    tokens = card.needs == "tokens"
    default = "timm:vit_tiny_patch16_224" if tokens else "timm:resnet18"
    reason = "hides tokens, so it needs a transformer" if tokens else "strong on small data"
    name = str(chooser.choose("encoder", "name", default, reason))
    if name.startswith(("timm:vit", "timm:deit")):
        edge = _patch(size)
        chooser.choose("encoder", "patch", edge, f"{(size // edge) ** 2} patches of an image")
        if tokens:
            chooser.choose("encoder", "pool", "avg", "no loss shapes the class token")
    elif name in SEVEN_BY_SEVEN and size <= 64:
        chooser.choose("encoder", "small_stem", True, "keeps resolution on small images")
    if name == "timm:resnet18":
        _narrow(chooser, request)


SEVEN_BY_SEVEN = frozenset(f"timm:resnet{depth}" for depth in (18, 34, 50, 101, 152))
"""Networks whose stem shrinks an image four times before they look at it."""


def _narrow(chooser: Chooser, request: Request) -> None:
    """Choose a network that sees every image several times within the budget of a CPU."""
    seconds = _short(request)
    options = presets.network(seconds) if seconds is not None else {}
    if options:
        why = f"{duration.words(seconds or 0)} of a CPU: a smaller network sees more images"
        chooser.choose("encoder", "options", options, why)


def _preset(chooser: Chooser, method: str, request: Request) -> presets.Preset | None:
    """Set what suits short runs of a method, where something was found."""
    preset = presets.SHORT.get(method) if _short(request) is not None else None
    if preset is not None:
        for name, value in preset.options.items():
            chooser.choose("method", name, value, f"better in short runs ({preset.evidence})")
    return preset


def _short(request: Request) -> float | None:
    """Return the seconds of a short run on a CPU, None for any other."""
    from unlabeled import device

    seconds = request.seconds if request.seconds is not None else DEFAULT_SECONDS
    short = device.device().type == "cpu" and seconds <= presets.FULL_SECONDS
    return seconds if short else None


def _patch(size: int) -> int:
    """Return the edge of a patch: the largest that tiles the image with at least 7 a side."""
    return max(edge for edge in range(1, size + 1) if size % edge == 0 and size // edge >= 7)


def _text(chooser: Chooser, seen: Look, method: str) -> None:
    configs.check_section("modality", chooser.tree.get("modality", {}), configs.TextConfig)
    causal = catalogue.describe(method).needs == "causal"
    chooser.choose(
        "modality", "tokenizer", "bpe" if causal else "wordpiece",
        "trained on this text; " + ("lossless" if causal else "as BERT's"),
    )  # fmt: skip
    entries = 2048 if seen.size < 2_000_000 else 4096 if seen.size < 20_000_000 else 8192
    chooser.choose("modality", "vocab_size", entries, f"for {seen.size / 1e6:.1f} MB of text")
    chooser.choose("modality", "length", 128, "short rows train fastest")
    if seen.count == 1:
        chooser.choose("modality", "split", "tail", "one document: its tail is held out")
        chooser.choose("data", "held_out", 0.1, "the last tenth, as is usual for one text")
    chooser.choose(
        "encoder", "name", "hf:gpt2-mini" if causal else "hf:bert-mini", "fits minutes on a CPU"
    )


def _recipe(chooser: Chooser, method: str, preset: presets.Preset | None) -> None:
    """Take the optimiser from the method's paper, with its rate scaled to the batch."""
    from unlabeled.methods import load

    recipe = dict(load(method).recipe)
    samples = "rows" if chooser.tree["data"]["kind"] == "text" else "images"
    batch = int(chooser.choose("loop", "batch", int(recipe.pop("batch", 256)), f"{samples} a step"))
    rule = recipe.pop("lr_rule", "none")
    base = float(recipe.pop("lr", 1e-3))
    source = f"{method}'s recipe"
    if preset is not None and preset.lr is not None:
        base, source = preset.lr, f"better in short runs ({preset.evidence})"
    scale = {"linear": batch / 256, "sqrt": (batch / 256) ** 0.5, "none": 1.0}[rule]
    asked = chooser.tree.get("optim", {}).get("name")
    if asked is not None and asked != recipe.get("name", "adamw"):
        recipe, base, scale, rule = {}, configs.OptimConfig().lr, 1.0, "none"
    reason = source + (f", {rule} rule at batch {batch}" if rule != "none" else "")
    chooser.choose("optim", "lr", float(f"{base * scale:.4g}"), reason)
    for name, value in recipe.items():
        chooser.choose("optim", name, value, f"{method}'s recipe")


def _machine(chooser: Chooser, request: Request, seen: Look) -> float | None:
    """Choose precision, threads, workers and length by the machine."""
    from unlabeled import device

    unit, where = device.fast_bf16(), device.device()
    chooser.choose(
        "loop", "precision", "bf16" if unit else "fp32",
        f"{unit} makes bf16 products fast" if unit else "no fast bf16 unit here",
    )  # fmt: skip
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    threads = max(1, cores // ranks)
    gpu = where.type == "cuda"
    chooser.choose("loop", "threads", threads, f"{cores} cores, {ranks} process(es)")
    workers = min(8, max(0, cores // ranks - 1)) if gpu else 0
    chooser.choose("loop", "workers", workers, "cores beside the GPU" if gpu else "cores train")
    if seen.kind == "image":
        chooser.choose("loop", "channels_last", True, "the fast layout for convolutions")
    length = min(chooser.tree["loop"]["batch"], seen.count)
    if length < chooser.tree["loop"]["batch"] and seen.kind == "image":
        chooser.tree["loop"]["batch"] = length
        chooser.choices.append(Choice("loop.batch", length, f"there are only {seen.count} samples"))
    if "steps" in chooser.tree["loop"]:
        return None
    seconds = request.seconds if request.seconds is not None else DEFAULT_SECONDS
    why = "asked for" if request.seconds is not None else "the default budget"
    chooser.choices.append(Choice("time", f"{seconds:.0f} s", f"{why}; steps are measured from it"))
    return seconds
