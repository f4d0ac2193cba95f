"""Every method cites its paper, and what is said of it without importing it is true."""

from __future__ import annotations

import ast
import re

import pytest
from pydantic.fields import FieldInfo

from unlabeled.methods import METHODS, load

CITATION = re.compile(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4,}/\S+|https://doi\.org/10\.\d{4,}/\S+")
NUMBERS = {int, float}


def bounds(field: FieldInfo) -> dict[str, float]:
    names = ("ge", "gt", "le", "lt")
    return {n: getattr(m, n) for m in field.metadata for n in names if hasattr(m, n)}


def test_every_file_of_a_method_is_in_the_table(modules):
    """A file with a class that has a `loss` and is not in the table would never be tested."""
    known = {where.partition(":")[0].rpartition(".")[2] for where in METHODS.values()}
    files = set()
    for module in modules:
        if module.name.startswith("methods/"):
            bases = {
                getattr(base, "id", "")
                for node in module.tree.body
                if isinstance(node, ast.ClassDef)
                for base in node.bases
            }
            if "Method" in bases:
                files.add(module.name.removeprefix("methods/").removesuffix(".py"))
    assert files == known


def test_methods_cite_their_paper(method_files):
    silent = [m.name for m in method_files if not CITATION.search(ast.get_docstring(m.tree) or "")]
    assert not silent


@pytest.mark.parametrize("name", METHODS)
def test_catalogue_equals_the_class(name):
    from unlabeled.methods import catalogue

    card, method = catalogue.describe(name), load(name)
    fields = method.Config.model_fields
    assert card.modalities == method.modalities
    assert card.needs == method.needs
    assert card.couples_samples == method.couples_samples
    assert [option.name for option in card.options] == list(fields)
    for option in card.options:
        field = fields[option.name]
        assert option.default == field.default
        assert option.description == field.description
        assert dict(option.bounds) == bounds(field)


@pytest.mark.parametrize("name", METHODS)
def test_options_have_descriptions_and_ranges(name):
    for option, field in load(name).Config.model_fields.items():
        assert field.description, option
        if field.annotation in NUMBERS:
            assert bounds(field), f"{name}: {option} has no range"
