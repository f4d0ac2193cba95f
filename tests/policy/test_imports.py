"""The import rule, and that what is imported is declared."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

STDLIB = sys.stdlib_module_names
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}
NOT_IMPORTED = {
    "torchvision": "timm imports it; named so that pip picks the release that fits torch",
}


class Where(NamedTuple):
    package: str
    module: str


def imports(modules) -> list[Where]:
    """Top-level packages imported anywhere, third parties only."""
    found = []
    for module in modules:
        for node in ast.walk(module.tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            tops = {name.partition(".")[0] for name in names} - STDLIB - {"unlabeled", ""}
            found += [Where(top, module.name) for top in tops]
    return found


def declared(root: Path) -> dict[str, set[str]]:
    """Distribution names of each group of requirements; `core` are the always installed."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    groups = {"core": project["dependencies"], **project["optional-dependencies"]}
    return {
        group: {re.split(r"[\[<>=!~; ]", line)[0].lower().replace("_", "-") for line in lines}
        for group, lines in groups.items()
    }


def distribution_of(package: str) -> str:
    return DISTRIBUTIONS.get(package, package).lower().replace("_", "-")


def test_import_rule(root):
    """The contracts of `[tool.importlinter]`; a module without a place breaks them too."""
    code = "import sys; from importlinter.cli import lint_imports as check; sys.exit(check("
    done = subprocess.run(
        [sys.executable, "-c", f"{code}no_cache=True))"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "0 broken" in done.stdout


def test_every_import_is_declared(modules, root):
    groups = declared(root)
    allowed = set().union(*(names for group, names in groups.items() if group not in {"dev"}))
    allowed -= groups["test"]
    allowed |= groups["onnx"]
    missing = [w for w in imports(modules) if distribution_of(w.package) not in allowed]
    assert not missing, f"not in pyproject.toml: {missing}"


def test_every_requirement_is_imported(modules, root):
    used = {distribution_of(where.package) for where in imports(modules)}
    unused = declared(root)["core"] - used - set(NOT_IMPORTED)
    assert not unused, f"nobody imports {unused}; drop them from pyproject.toml"


def test_oracles_of_tests_are_not_imported(modules):
    assert not [w for w in imports(modules) if w.package in {"lightly", "pytest", "importlinter"}]
