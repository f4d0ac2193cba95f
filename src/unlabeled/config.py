"""The configuration of a run: frozen, typed, built once, and alone enough to repeat the run.

This module imports neither torch nor transformers, so that a wrong option is answered at once.
"""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, Field, ValidationError, field_validator

from unlabeled.errors import ConfigError, UsageError, nearest
from unlabeled.modality_config import MODALITIES as MODALITIES
from unlabeled.modality_config import AudioConfig as AudioConfig
from unlabeled.modality_config import Frozen
from unlabeled.modality_config import ImageConfig as ImageConfig
from unlabeled.modality_config import SeriesConfig as SeriesConfig
from unlabeled.modality_config import TextConfig as TextConfig
from unlabeled.modality_config import VideoConfig as VideoConfig

FORMAT = 1
"""Version of the run folder and of its files; raised when their meaning changes."""


class DataConfig(Frozen):
    """Which samples are pre-trained on."""

    path: str = Field(description="folder, file (parquet, csv, jsonl, txt list) or hf://dataset")
    kind: Literal["image", "text", "audio", "series", "video"] = Field(
        description="what the samples are"
    )
    column: str | None = Field(None, description="column of a table that holds the samples")
    held_out: float = Field(0.05, ge=0, lt=1, description="share kept out of pre-training")
    bad_budget: float = Field(
        0.01, ge=0, le=1, description="share of unreadable samples above which a run fails"
    )
    deduplicate: bool = Field(True, description="drop exact duplicates before the split")
    apart: bool = Field(True, description="near copies of held-out samples leave the pool")
    exclude: str | None = Field(None, description="data not to train on, such as a test set")
    group: str | None = Field(
        None,
        description="what stays on one side of the held-out split: a column of the table, such as "
        "speaker, `folder`, or a table with the columns path and group",
    )
    window: int | None = Field(
        None, ge=8, description="steps above which an episode is cut into several samples (series)"
    )
    near_duplicates: float | None = Field(
        None, ge=0.5, le=1,
        description="share of common phrases from which a later text is dropped, such as 0.8",
    )  # fmt: skip
    languages: tuple[str, ...] = Field(
        (), description="languages that are kept (text), such as en or [en, de]; all if absent"
    )
    quality: Literal["any", "gopher"] = Field(
        "any", description="drop what is no running text, by Gopher's rules for web pages"
    )
    mix: dict[str, float] = Field(
        {},
        description="other text to train on beside this, such as general text against forgetting: "
        "each path with its share of the rows; a path alone has a share of 0.2",
    )

    @field_validator("languages", mode="before")
    @classmethod
    def _one_language(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("mix", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {value: 0.2} if isinstance(value, str) else value

    @field_validator("mix")
    @classmethod
    def _shares(cls, value: dict[str, float]) -> dict[str, float]:
        if any(share <= 0 for share in value.values()) or sum(value.values()) >= 1:
            raise ValueError("shares above 0 that together stay below 1")
        return value


class EncoderConfig(Frozen):
    """Which network is trained."""

    name: str = Field(description="timm:NAME or hf:FAMILY-SIZE, such as hf:bert-mini")
    init: str | None = Field(None, description="local folder with weights to start from")
    small_stem: bool = Field(
        False, description="3x3 stem without pooling, for images below 64 pixels (CNNs)"
    )
    patch: int | None = Field(None, ge=1, description="patch edge in pixels (ViTs)")
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth of the student")
    lora: int = Field(
        0, ge=0, le=256, description="rank of matrices added to frozen weights; 0 trains all"
    )
    options: dict[str, Any] = Field(
        {}, description="arguments for the library's network, such as channels=[32, 64, 128, 256]"
    )
    pool: Literal["avg", "token", "last"] | None = Field(
        None, description="feature: mean of the tokens, the first (class) token, or a text's last"
    )
    layer: int | None = Field(
        None, ge=0, le=1000, description="layer of a text encoder that features are of; 0 is none"
    )


class OptimConfig(Frozen):
    """How parameters are moved."""

    name: Literal["adamw", "sgd", "lars", "muon"] = Field("adamw", description="optimiser")
    lr: float = Field(1e-3, gt=0, description="peak learning rate, after batch scaling")
    weight_decay: float = Field(0.05, ge=0, description="decay of matrices at the start")
    weight_decay_end: float | None = Field(None, ge=0, description="decay at the end (cosine)")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Adam's averages")
    eps: float = Field(1e-8, gt=0, description="Adam's epsilon")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd and lars")
    trust: float = Field(
        0.001, gt=0, description="lars: step of a matrix as a share of its norm, times the rate"
    )
    muon_lr: float = Field(0.02, gt=0, description="peak rate of matrices under muon")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the run in which the rate rises")
    final_lr: float = Field(0.0, ge=0, le=1, description="last rate as a share of the peak")
    shape: Literal["cosine", "linear", "constant"] = Field("cosine", description="decay shape")
    clip: float | None = Field(None, gt=0, description="largest gradient norm")
    new_rows: float = Field(
        0.0, ge=0, lt=1, description="share of the run in which only added tokens' rows move"
    )
    layer_decay: float = Field(1.0, gt=0, le=1, description="of the rate, from block to block down")
    hold: float = Field(0.0, ge=0, le=1, description="share of the run: the encoder stays")


class LoopConfig(Frozen):
    """How long, how wide and how exactly the run goes."""

    steps: int = Field(1000, ge=1, description="optimiser steps")
    batch: int = Field(256, ge=1, description="samples a step, over all ranks")
    accumulate: int = Field(1, ge=1, description="micro-batches a step")
    workers: int = Field(0, ge=0, le=64, description="data worker processes")
    seed: int = Field(0, ge=0, description="of initialisation, order, views and masks")
    threads: int = Field(1, ge=1, description="torch threads; part of what makes a run exact")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of matrix products")
    channels_last: bool = Field(False, description="memory layout of images")
    compile: bool = Field(False, description="torch.compile the method")
    save_every: float = Field(120.0, gt=0, description="seconds between checkpoints")
    save_steps: int | None = Field(None, ge=1, description="steps between checkpoints instead")
    keep: int = Field(2, ge=2, description="checkpoints kept")
    log_steps: int = Field(10, ge=1, description="steps between journal lines")
    health_steps: int = Field(50, ge=1, description="steps between health checks")
    stop_on_collapse: bool = Field(True, description="stop when features collapse")


class RunConfig(Frozen):
    """Everything that a run depends on."""

    format: Literal[1] = 1
    data: DataConfig
    modality: ImageConfig | TextConfig | AudioConfig | SeriesConfig | VideoConfig
    encoder: EncoderConfig
    method: dict[str, Any] = Field(description="name and options of the pretext task")
    optim: OptimConfig = OptimConfig()
    loop: LoopConfig = LoopConfig()


SECTIONS: Mapping[str, type[BaseModel]] = {
    "data": DataConfig,
    "encoder": EncoderConfig,
    "optim": OptimConfig,
    "loop": LoopConfig,
}


def parse_value(text: str) -> Any:
    """Read the right side of ``key=value`` as TOML, a table also as JSON, else as a plain string.

    >>> parse_value("0.2"), parse_value("true"), parse_value("timm:resnet18"), parse_value("[1, 2]")
    (0.2, True, 'timm:resnet18', [1, 2])
    >>> parse_value("{a = 1}"), parse_value('{"a": 1}')
    ({'a': 1}, {'a': 1})
    """
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        pass
    if text.startswith("{"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return text


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Turn ``["optim.lr=1e-3"]`` into ``{"optim": {"lr": 0.001}}``; more dots go deeper.

    Raises:
        UsageError: a word has no ``=`` or no section.
    """
    tree: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        section, dot, name = key.partition(".")
        if not equals or not dot or not name:
            raise UsageError(
                f"'{word}' is not an option. Write section.name=value, for example optim.lr=0.001 "
                f"(sections: {', '.join([*SECTIONS, 'modality', 'method'])})."
            )
        inside: dict[str, Any] = {}
        place, (*outer, last) = inside, name.split(".")
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = parse_value(value)
        merge(tree.setdefault(section, {}), inside)
    return tree


def sections(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by section, from sections, from dotted names, or from both.

    >>> sections({"optim.lr": 0.1, "method": {"temperature": 0.5}, "method.crop": 0.2})
    {'optim': {'lr': 0.1}, 'method': {'temperature': 0.5, 'crop': 0.2}}
    """
    tree: dict[str, Any] = {}
    for name, value in options.items():
        parts = name.split(".")
        if len(parts) == 1 and not isinstance(value, Mapping):
            raise UsageError(
                f"The option {name}={value!r} has no section: write for example "
                f"{{'optim.{name}': {value!r}}} (sections: "
                f"{', '.join([*SECTIONS, 'modality', 'method'])})."
            )
        inside: Any = dict(value) if isinstance(value, Mapping) else value
        for part in reversed(parts):
            inside = {part: inside}
        merge(tree, inside)
    return tree


def merge(tree: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Set values in a tree in place; tables are merged, everything else is replaced.

    >>> tree = {"options": {"a": 1, "b": 2}, "x": 1}
    >>> merge(tree, {"options": {"b": 3}, "x": 4})
    >>> tree
    {'options': {'a': 1, 'b': 3}, 'x': 4}
    """
    for key, value in values.items():
        there = tree.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            inner = dict(there)
            merge(inner, value)
            tree[key] = inner
        else:
            tree[key] = value


def explain(error: ValidationError, where: str, model: type[BaseModel] | None = None) -> str:
    """Say in a sentence what pydantic found: the option, the value given, what is allowed."""
    found = error.errors()
    first = next((one for one in found if one["type"] != "missing"), found[0])
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{where + '.' if where else ''}{path} is missing: give it a value."
    name = f"{where}.{path}" if where and path else where or path
    if first["type"] == "extra_forbidden":
        options = list(model.model_fields) if model is not None else []
        return f"There is no option {name}.{nearest(path.split('.')[-1], options)}" + (
            f" Options of {where}: {', '.join(options)}." if options else ""
        )
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{name}={first.get('input')!r} is not possible: it must be {message}."


def check_section(name: str, values: Mapping[str, Any], model: type[BaseModel]) -> None:
    """Check the names and values of one section without requiring it to be complete.

    Raises:
        UsageError: an unknown option or a value out of range, with the sentence to print.
    """
    for key in values:
        if key not in model.model_fields:
            raise UsageError(
                f"There is no option {name}.{key}.{nearest(key, model.model_fields)} "
                f"Options of {name}: {', '.join(model.model_fields)}."
            )
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        real = [e for e in error.errors() if e["type"] != "missing"]
        if real:
            raise UsageError(explain(error, name, model)) from None


def build(tree: Mapping[str, Any]) -> RunConfig:
    """Build the frozen configuration.

    Raises:
        ConfigError: with the sentence to print.
    """
    tree = dict(tree)
    kind = dict(tree.get("data", {})).get("kind")
    if isinstance(tree.get("modality"), Mapping):
        model = MODALITIES.get(str(kind), ImageConfig)
        try:
            tree["modality"] = model.model_validate(tree["modality"])
        except ValidationError as error:
            raise ConfigError(explain(error, "modality", model)) from None
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        section = str(error.errors()[0]["loc"][0]) if error.errors()[0]["loc"] else ""
        raise ConfigError(explain(error, "", SECTIONS.get(section))) from None


def load(path: Path) -> dict[str, Any]:
    """Read a TOML tree.

    Raises:
        UsageError: the file is missing, too large or not TOML.
    """
    try:
        if path.stat().st_size > 1_000_000:
            raise UsageError(f"{path} has more than 1 MB; a configuration is a short TOML file.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}.") from None


def _without_none(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {k: _without_none(v) for k, v in tree.items() if v is not None}
    if isinstance(tree, list | tuple):
        return [_without_none(v) for v in tree]
    return tree


def dump(config: RunConfig) -> str:
    """Return the configuration as TOML (absent means None)."""
    return tomli_w.dumps(_without_none(config.model_dump()))
