"""The source files of the package, parsed once."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "unlabeled"


class Module(NamedTuple):
    name: str
    lines: int
    tree: ast.Module


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def modules() -> list[Module]:
    """Every module of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = str(path.relative_to(PACKAGE))
        found.append(Module(name, text.count("\n"), ast.parse(text)))
    assert len(found) > 10, "the package was not found"
    return found


@pytest.fixture(scope="session")
def method_files(modules: list[Module]) -> list[Module]:
    """The files that hold a pretext task, by the table of methods."""
    from unlabeled.methods import METHODS

    names = {where.partition(":")[0].removeprefix("unlabeled.") for where in METHODS.values()}
    files = {name.replace(".", "/") + ".py" for name in names}
    return [module for module in modules if module.name in files]


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """The files under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("this is not a git checkout")
    return [root / name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
