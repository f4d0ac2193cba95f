"""What a method's file says of itself, read from its source, without running it.

Listing methods and checking ``method.temperature=0.2`` must not cost the seconds that importing
torch takes, and options must not be written twice. So the module docstring and the literal
fields of the class ``Config`` are read with `ast`; a test compares the result with the class.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from unlabeled.config import check_section
from unlabeled.errors import UsageError, nearest
from unlabeled.methods import table, where

_TYPES: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "dict[str, Any]": dict[str, Any],
}
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
    tree = ast.parse(_source(module))
    method = _find_class(tree.body, attribute)
    text = ast.get_docstring(tree) or ""
    paragraphs = [" ".join(p.split()) for p in text.split("\n\n")]
    values = {target: value for target, _, value in _assignments(method.body)}
    config = _find_class(method.body, "Config")
    return MethodCard(
        name=name,
        summary=paragraphs[0],
        citation=paragraphs[1] if len(paragraphs) > 1 else "",
        text=text,
        modalities=_literal(values.get("modalities"), ("image", "audio")),
        needs=_literal(values.get("needs"), "feature"),
        class_token=_literal(values.get("class_token"), False),
        couples_samples=_literal(values.get("couples_samples"), False),
        scored=_literal(values.get("scored"), ""),
        options=tuple(_options(config)),
    )


def writes(name: str | None) -> bool:
    """Return whether a method, if there is one of that name, trains a model that writes text."""
    return name in table() and describe(str(name)).scored == "text"


def check(name: str, options: Mapping[str, Any]) -> None:
    """Check names, types and ranges of a method's options without importing it.

    Raises:
        UsageError: with the sentence to print.
    """
    check_section("method", options, model(name))
    if name == "combine":
        _check_combined(options)


def parts(name: str, options: Mapping[str, Any]) -> list[str]:
    """Return the methods that a method is made of: itself alone, or the tasks of `combine`."""
    return list(options.get("tasks", _default("tasks"))) if name == "combine" else [name]


def lead(name: str, options: Mapping[str, Any]) -> str:
    """Return the part that asks most of an encoder, or the first if all ask alike."""
    found = parts(name, options)
    asking = [part for part in found if describe(part).needs != "feature"]
    return (asking or found)[0]


def _default(option: str) -> Any:
    return next(card.default for card in describe("combine").options if card.name == option)


def _check_combined(options: Mapping[str, Any]) -> None:
    """Check what `combine` is asked for: tasks, weights, and the options of each task.

    Raises:
        UsageError: with the sentence to print.
    """
    tasks = parts("combine", options)
    if not tasks or len(set(tasks)) < len(tasks) or "combine" in tasks:
        raise UsageError(
            f"method.tasks={tasks} is not possible: name one or more methods, each once, and not "
            'combine itself, such as method.tasks=\'["simclr", "mae"]\'.'
        )
    weights = list(options.get("weights", ()))
    if weights and (len(weights) != len(tasks) or min(weights) < 0 or max(weights) == 0):
        raise UsageError(
            f"method.weights={weights} does not fit method.tasks={tasks}: give one weight >= 0 "
            "for each task, not all 0, or leave weights out."
        )
    common = set(describe("combine").modalities)
    for task in tasks:  # `describe` answers unknown names
        common &= set(describe(task).modalities)
    if not common:
        raise UsageError(f"method.tasks={tasks}: there is no kind of data that all of them fit.")
    given = options.get("options", {})
    for task in given:
        if task not in tasks:
            raise UsageError(
                f"method.options.{task} is for no task of method.tasks={tasks}."
                f"{nearest(task, tasks)} Name the task, or leave its options out."
            )
        check_section(f"method.options.{task}", given[task], model(task))


def model(name: str) -> type[BaseModel]:
    """Return a model with the same fields as the method's ``Config``."""
    fields: dict[str, Any] = {
        card.name: (_python_type(card.type), _field(card)) for card in describe(name).options
    }
    return create_model(
        f"{name}_options", __config__=ConfigDict(frozen=True, extra="forbid"), **fields
    )


def _field(card: OptionCard) -> Any:
    bounds: dict[str, Any] = dict(card.bounds)
    return Field(card.default, description=card.description, **bounds)


def similar(name: str) -> list[str]:
    """Return method names close to a misspelt one."""
    return difflib.get_close_matches(name, names(), n=3)


def _source(module: str) -> str:
    """Return a module's source; parents are imported, the module is not."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"the source of {module} is not to be found")
    return Path(spec.origin).read_text(encoding="utf-8")


def _find_class(body: list[ast.stmt], name: str) -> ast.ClassDef:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    return ast.ClassDef(name, [], [], [], [])


def _assignments(body: list[ast.stmt]) -> list[tuple[str, str, ast.expr]]:
    """Return (target, annotation, value) of each assignment in a class body."""
    found = []
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found.append((node.target.id, ast.unparse(node.annotation), node.value))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.append((node.targets[0].id, "", node.value))
    return found


def _literal(node: ast.expr | None, default: Any) -> Any:
    if node is None:
        return default
    try:
        return ast.literal_eval(node)
    except ValueError:
        return default


def _options(config: ast.ClassDef) -> list[OptionCard]:
    cards = []
    for target, annotation, value in _assignments(config.body):
        if not isinstance(value, ast.Call):
            continue
        keywords = {k.arg: _literal(k.value, None) for k in value.keywords if k.arg}
        default = _literal(value.args[0], None) if value.args else keywords.get("default")
        bounds = {k: float(keywords[k]) for k in _BOUNDS if k in keywords}
        cards.append(
            OptionCard(target, annotation, default, str(keywords.get("description", "")), bounds)
        )
    return cards


def _python_type(annotation: str) -> Any:
    """Turn the annotation's text into a type; knows scalars, tuples, Literal and ``| None``."""
    text = annotation.strip()
    if text.endswith("| None"):
        return _python_type(text.removesuffix("| None")) | None
    if text.startswith("Literal["):
        return Literal[ast.literal_eval(f"({text[8:-1]},)")]
    if text.startswith("tuple["):
        parts = [part.strip() for part in text[6:-1].split(",")]
        if parts[-1] == "...":
            return types.GenericAlias(tuple, (_python_type(parts[0]), ...))
        return types.GenericAlias(tuple, tuple(_python_type(part) for part in parts))
    return _TYPES[text]
