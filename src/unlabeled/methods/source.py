"""Literals of a module's source, read without running it."""

from __future__ import annotations

import ast
import importlib.util
import types
from pathlib import Path
from typing import Any, Literal

_TYPES: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "dict[str, Any]": dict[str, Any],
}


def source(module: str) -> str:
    """Return a module's source; parents are imported, the module is not."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"the source of {module} is not to be found")
    return Path(spec.origin).read_text(encoding="utf-8")


def find_class(body: list[ast.stmt], name: str) -> ast.ClassDef:
    """Return the class of that name in a body, or an empty one."""
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
    return ast.ClassDef(name, [], [], [], [])


def assignments(body: list[ast.stmt]) -> list[tuple[str, str, ast.expr]]:
    """Return (target, annotation, value) of each assignment in a class body."""
    found = []
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found.append((node.target.id, ast.unparse(node.annotation), node.value))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.append((node.targets[0].id, "", node.value))
    return found


def literal(node: ast.expr | None, default: Any) -> Any:
    """Return the value of a literal, or the default where there is none."""
    if node is None:
        return default
    try:
        return ast.literal_eval(node)
    except ValueError:
        return default


def python_type(annotation: str) -> Any:
    """Turn the annotation's text into a type; knows scalars, tuples, Literal and ``| None``."""
    text = annotation.strip()
    if text.endswith("| None"):
        return python_type(text.removesuffix("| None")) | None
    if text.startswith("Literal["):
        return Literal[ast.literal_eval(f"({text[8:-1]},)")]
    if text.startswith("tuple["):
        parts = [part.strip() for part in text[6:-1].split(",")]
        if parts[-1] == "...":
            return types.GenericAlias(tuple, (python_type(parts[0]), ...))
        return types.GenericAlias(tuple, tuple(python_type(part) for part in parts))
    return _TYPES[text]
