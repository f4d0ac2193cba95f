"""Small modules, short functions, names that say what a file is about."""

from __future__ import annotations

import ast
import re

LARGEST_METHOD = 150
LARGEST_MODULE = 400
LONGEST_FUNCTION = 60
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "tools", "stuff", "core"}
VERSIONED = re.compile(r"(_v|V)\d+$")


def test_modules_are_small(modules):
    large = {m.name: m.lines for m in modules if m.lines > LARGEST_MODULE}
    assert not large


def test_a_method_fits_a_page(method_files):
    large = {m.name: m.lines for m in method_files if m.lines > LARGEST_METHOD}
    assert not large


def test_functions_are_short(modules):
    long = {}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long[f"{module.name}:{node.name}"] = lines
    assert not long


def test_no_file_is_called_nothing(modules):
    parts = {(m.name, part) for m in modules for part in m.name.removesuffix(".py").split("/")}
    empty = [name for name, part in parts if part in EMPTY_NAMES or VERSIONED.search(part)]
    assert not empty


def test_no_name_carries_a_version(modules):
    named = (ast.FunctionDef, ast.ClassDef)
    found = [
        f"{module.name}:{node.name}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, named) and VERSIONED.search(node.name)
    ]
    assert not found


def test_every_module_says_what_it_is(modules):
    silent = [m.name for m in modules if not ast.get_docstring(m.tree)]
    assert not silent
