"""What a method's file says of itself, read from its source, without running it.

Listing methods and checking ``method.temperature=0.2`` must not cost the seconds that importing
torch takes, and options must not be written twice. So the module docstring and the literal
fields of the class ``Config`` are read with `ast`; a test compares the result with the class.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from unlabeled.methods import table, where
from unlabeled.methods.source import assignments, find_class, literal, python_type, source

_BOUNDS = ("ge", "gt", "le", "lt")


@dataclass(frozen=True)
class OptionCard:
    """One option of a method."""

    name: str
    type: str
    default: Any
    description: str
    bounds: Mapping[str, float]

    @property
    def range(self) -> str:
        """Say the range in symbols, such as ``> 0, <= 1``."""
        signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
        return ", ".join(f"{signs[k]} {v:g}" for k, v in self.bounds.items())


@dataclass(frozen=True)
class MethodCard:
    """What is known of a method without importing it."""

    name: str
    summary: str
    citation: str
    text: str
    modalities: tuple[str, ...]
    needs: str
    class_token: bool
    couples_samples: bool
    scored: str
    options: tuple[OptionCard, ...]


def names() -> list[str]:
    """Return the names of all methods, sorted."""
    return sorted(table())


@cache
def describe(name: str) -> MethodCard:
    """Read the card of a method.

    Raises:
        UsageError: there is no such method.
    """
    module, _, attribute = where(name).partition(":")
    tree = ast.parse(source(module))
    method = find_class(tree.body, attribute)
    text = ast.get_docstring(tree) or ""
    paragraphs = [" ".join(p.split()) for p in text.split("\n\n")]
    values = {target: value for target, _, value in assignments(method.body)}
    config = find_class(method.body, "Config")
    return MethodCard(
        name=name,
        summary=paragraphs[0],
        citation=paragraphs[1] if len(paragraphs) > 1 else "",
        text=text,
        modalities=literal(values.get("modalities"), ("image", "audio", "series", "video")),
        needs=literal(values.get("needs"), "feature"),
        class_token=literal(values.get("class_token"), False),
        couples_samples=literal(values.get("couples_samples"), False),
        scored=literal(values.get("scored"), ""),
        options=tuple(_options(config)),
    )


def writes(name: str | None) -> bool:
    """Return whether a method, if there is one of that name, trains a model that writes text."""
    return name in table() and describe(str(name)).scored == "text"


def scores(name: str | None) -> bool:
    """Return whether a method, if there is one of that name, says what held-out text costs."""
    return name == "combine" or (name in table() and bool(describe(str(name)).scored))


def model(name: str) -> type[BaseModel]:
    """Return a model with the same fields as the method's ``Config``."""
    fields: dict[str, Any] = {
        card.name: (python_type(card.type), _field(card)) for card in describe(name).options
    }
    return create_model(
        f"{name}_options", __config__=ConfigDict(frozen=True, extra="forbid"), **fields
    )


def _field(card: OptionCard) -> Any:
    bounds: dict[str, Any] = dict(card.bounds)
    return Field(card.default, description=card.description, **bounds)


def _options(config: ast.ClassDef) -> list[OptionCard]:
    cards = []
    for target, annotation, value in assignments(config.body):
        if not isinstance(value, ast.Call):
            continue
        keywords = {k.arg: literal(k.value, None) for k in value.keywords if k.arg}
        default = literal(value.args[0], None) if value.args else keywords.get("default")
        bounds = {k: float(keywords[k]) for k in _BOUNDS if k in keywords}
        cards.append(
            OptionCard(target, annotation, default, str(keywords.get("description", "")), bounds)
        )
    return cards
